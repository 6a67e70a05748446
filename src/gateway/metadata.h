/* What a client says about an object, kept with it and given back: Content-* headers and
 * x-amz-meta-*. Inside gateway/ only. */
#ifndef QUERN_GATEWAY_METADATA_H
#define QUERN_GATEWAY_METADATA_H

#include <stddef.h>

#include "wire/pb.h"

struct request;

struct metadata {
    Pb__Pair **headers;
    size_t header_count;
    Pb__Pair **pairs; /* x-amz-meta-*, without that prefix, in lower case */
    size_t pair_count;
};

/* In the request's arena. METADATA_TOO_LARGE beyond 2 KiB; NOT_IMPLEMENTED for headers that ask for
 * what we do not do (encryption, tags, locks, other storage classes, access for others). */
int metadata_read(struct request *request, struct metadata *ret_metadata);

/* Into the reply; response-* parameters of the query win. */
void metadata_reply(struct request *request, const Pb__Object *object);

#endif
