/* Routing by two tables: S3 operations by method, level and sub-resource; the admin API by path. */
#include "gateway/route.h"

#include <string.h>

#include "gateway/api.h"
#include "gateway/ops.h"
#include "wire/utf8.h"

#define KEY_BYTES_MAX 1024u

enum level { LEVEL_SERVICE, LEVEL_BUCKET, LEVEL_OBJECT, LEVELS };

static const struct {
    enum level level;
    struct route route;
} operations[] = {
#define X(method_, level_, resource_, handler_, params_)                                           \
    {LEVEL_##level_,                                                                               \
     {.method = HTTP1_##method_, .resource = resource_, .params = params_, .handle = handler_}},
#include "tbl/s3_ops.h"
#undef X
};

static const struct route api_routes[] = {
#define X(method_, path_, handler_, public_)                                                       \
    {.method = HTTP1_##method_, .path = path_, .handle = handler_, .is_public = public_},
#include "tbl/api_routes.h"
#undef X
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- names ---- */

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool looks_like_ipv4(struct span name) {
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] != '.' && (name.data[i] < '0' || name.data[i] > '9'))
            return false;
    return memchr(name.data, '.', name.size) != NULL;
}

bool route_is_bucket_name(struct span name) {
    if (name.size < 3 || name.size > 63 || !is_name_char(name.data[0]) ||
        !is_name_char(name.data[name.size - 1]))
        return false;
    for (size_t i = 1; i < name.size; i++) {
        char c = name.data[i];
        if (!is_name_char(c) && c != '-' && c != '.')
            return false;
        if (c == '.' && name.data[i - 1] == '.')
            return false;
    }
    return !looks_like_ipv4(name);
}

static int check_names(struct request *request) {
    const struct uri *uri = &request->uri;
    if (uri->bucket.size > 0 && !route_is_bucket_name(uri->bucket))
        return err_set(&request->err, ERR_INVALID_BUCKET_NAME, "%s",
                       err_text(ERR_INVALID_BUCKET_NAME));
    if (uri->key.size > KEY_BYTES_MAX)
        return err_set(&request->err, ERR_KEY_TOO_LONG, "%s", err_text(ERR_KEY_TOO_LONG));
    if (!utf8_is_valid(uri->key))
        return err_set(&request->err, ERR_INVALID_KEY, "%s", err_text(ERR_INVALID_KEY));
    return 0;
}

/* ---- S3 ---- */

static bool is_resource(struct span name) {
    for (size_t i = 0; i < COUNT(operations); i++)
        if (operations[i].route.resource[0] != '\0' && span_is(name, operations[i].route.resource))
            return true;
    return false;
}

/* Parameters that belong to the signature or only name the operation. */
static bool is_common_param(struct span name) {
    return span_is(name, "x-id") || span_starts_with(name, SPAN_LITERAL("X-Amz-"));
}

static int check_params(struct request *request, const struct route *route) {
    for (size_t i = 0; i < request->uri.param_count; i++) {
        struct span name = request->uri.params[i].name;
        if (!is_common_param(name) && !span_is(name, route->resource) &&
            !span_in_words(name, route->params))
            return err_set(&request->err, ERR_NOT_IMPLEMENTED,
                           "the parameter \"%.*s\" is not implemented here",
                           (int)(name.size < 64 ? name.size : 64), name.data);
    }
    return 0;
}

static int find_operation(struct request *request, const struct route **ret_route) {
    const struct uri *uri = &request->uri;
    enum level level = uri->key.size > 0      ? LEVEL_OBJECT
                       : uri->bucket.size > 0 ? LEVEL_BUCKET
                                              : LEVEL_SERVICE;
    struct span resource = {"", 0};
    for (size_t i = 0; i < uri->param_count; i++)
        if (is_resource(uri->params[i].name))
            resource = uri->params[i].name;
    bool is_known = false;
    for (size_t i = 0; i < COUNT(operations); i++) {
        const struct route *route = &operations[i].route;
        if (operations[i].level != level || !span_is(resource, route->resource))
            continue;
        is_known = true;
        if (route->method == request->http.method) {
            *ret_route = route;
            return check_params(request, route);
        }
    }
    bool is_subresource = resource.size > 0 || !is_known;
    int code = is_subresource ? ERR_NOT_IMPLEMENTED : ERR_METHOD_NOT_ALLOWED;
    return err_set(&request->err, code, "%s", err_text(code));
}

/* ---- the admin API ---- */

static bool path_fits(struct span path, const char *pattern) {
    size_t size = strlen(pattern);
    if (size > 0 && pattern[size - 1] == '*')
        return span_starts_with(path, (struct span){pattern, size - 1});
    return span_is(path, pattern);
}

static int find_api(struct request *request, const struct route **ret_route) {
    bool is_known = false;
    for (size_t i = 0; i < COUNT(api_routes); i++) {
        if (!path_fits(request->uri.path, api_routes[i].path))
            continue;
        is_known = true;
        bool is_head = request->http.method == HTTP1_HEAD && api_routes[i].method == HTTP1_GET;
        if (request->http.method == api_routes[i].method || is_head) {
            *ret_route = &api_routes[i];
            return 0;
        }
    }
    return err_set(&request->err, is_known ? ERR_METHOD_NOT_ALLOWED : ERR_NOT_FOUND,
                   is_known ? "this path does not take that method" : "there is no such path");
}

int route_find(struct request *request, const struct route **ret_route) {
    if (span_starts_with(request->uri.path, SPAN_LITERAL("/-/")))
        return find_api(request, ret_route);
    int rc = check_names(request);
    return rc != 0 ? rc : find_operation(request, ret_route);
}
