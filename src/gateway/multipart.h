/* What the operations of multipart uploads share. Inside gateway/ only. */
#ifndef QUERN_GATEWAY_MULTIPART_H
#define QUERN_GATEWAY_MULTIPART_H

#include "base/id.h"

struct request;

#define PART_NUMBER_MAX 10000u

/* The uploadId of the query. NO_SUCH_UPLOAD when it is none. */
int multipart_upload_id(struct request *request, struct id128 *ret_id);

#endif
