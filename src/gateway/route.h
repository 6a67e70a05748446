/* From method, path and query to the handler that deals with it. */
#ifndef QUERN_GATEWAY_ROUTE_H
#define QUERN_GATEWAY_ROUTE_H

#include <stdbool.h>

#include "gateway/request.h"
#include "wire/http1.h"

struct route {
    enum http1_method method;
    const char *path;     /* admin API only: the whole path, or a prefix that ends in '*' */
    const char *resource; /* S3 only: the sub-resource, "" for none */
    const char *params; /* S3 only: further parameters that the operation understands, separated by
                           spaces */
    request_handler *handle;
    bool is_public; /* without a signature */
};

/* Bucket names and keys are checked here, too. Errors: NOT_IMPLEMENTED (a sub-resource or parameter
 * we do not know), METHOD_NOT_ALLOWED, INVALID_BUCKET_NAME, KEY_TOO_LONG, INVALID_KEY, NOT_FOUND
 * (admin API). */
int route_find(struct request *request, const struct route **ret_route);

bool route_is_bucket_name(struct span name);

#endif
