/* The handlers of S3 operations, one for each row of tbl/s3_ops.h. Inside gateway/ only. */
#ifndef QUERN_GATEWAY_OPS_H
#define QUERN_GATEWAY_OPS_H

struct request;

int list_buckets(struct request *request);
int create_bucket(struct request *request);
int head_bucket(struct request *request);
int delete_bucket(struct request *request);
int list_objects(struct request *request);
int delete_objects(struct request *request);
int get_object(struct request *request); /* and HEAD */
int put_object(struct request *request); /* and copy */
int delete_object(struct request *request);
int create_upload(struct request *request);
int put_part(struct request *request); /* and copy */
int complete_upload(struct request *request);
int abort_upload(struct request *request);
int list_uploads(struct request *request);
int list_parts(struct request *request);
int probe(struct request *request); /* what clients ask before they begin */

#endif
