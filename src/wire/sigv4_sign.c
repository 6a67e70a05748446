/* Making signatures: the client's side. It fills in the structs that a server would have read and
 * lets the server's code sign them. */
#include "wire/sigv4.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define HEADERS_MAX HTTP1_HEADERS_MAX
#define PRESIGN_PARAMS 5

struct signing {
    struct sigv4_auth auth;
    struct uri uri;
    struct http1_header *headers;
    size_t header_count;
};

static int too_large(struct err *err) {
    return err_set(err, ERR_LIMIT, "the request is too large to be signed");
}

static int compare_headers(const void *a, const void *b) {
    const struct http1_header *x = a, *y = b;
    return span_compare(x->name, y->name);
}

static bool lower_name(struct http1_header *header, struct arena *arena) {
    char *name = arena_strndup(arena, header->name.data, header->name.size);
    if (name == NULL)
        return false;
    for (size_t i = 0; i < header->name.size; i++)
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] |= 0x20;
    header->name.data = name;
    return true;
}

/* The request's headers and ours, lower case and sorted, and the list of their names. */
static int set_headers(struct signing *signing, const struct sigv4_request *request,
                       const struct http1_header *ours, size_t our_count, struct arena *arena,
                       struct err *err) {
    size_t count = request->header_count + our_count;
    struct http1_header *headers = arena_array(arena, struct http1_header, count);
    if (headers == NULL || count > HEADERS_MAX)
        return too_large(err);
    memcpy(headers, ours, our_count * sizeof *ours);
    if (request->header_count > 0)
        memcpy(headers + our_count, request->headers, request->header_count * sizeof *headers);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (!lower_name(&headers[i], arena))
            return too_large(err);
        size += headers[i].name.size + 1;
    }
    qsort(headers, count, sizeof *headers, compare_headers);
    char *names = arena_alloc(arena, size), *at = names;
    if (names == NULL)
        return too_large(err);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *at++ = ';';
        memcpy(at, headers[i].name.data, headers[i].name.size);
        at += headers[i].name.size;
    }
    signing->headers = headers;
    signing->header_count = count;
    signing->auth.signed_headers = (struct span){names, (size_t)(at - names)};
    return 0;
}

static int set_scope(struct sigv4_auth *auth, const struct sigv4_credentials *credentials,
                     int64_t now_s, struct arena *arena, struct err *err) {
    char *time_text = arena_alloc(arena, TIME_BASIC_SIZE);
    if (time_text == NULL)
        return too_large(err);
    auth->time_text = span_of(time_print_basic(now_s, time_text));
    auth->date = (struct span){time_text, 8};
    auth->scope =
        span_of(arena_printf(arena, "%.*s/%.*s/%.*s/aws4_request", SPAN_ARGS(auth->date),
                             SPAN_ARGS(credentials->region), SPAN_ARGS(credentials->service)));
    return auth->scope.data != NULL ? 0 : too_large(err);
}

static int make_signature(const struct signing *signing, const struct sigv4_request *request,
                          const struct sigv4_credentials *credentials, const uint8_t *key,
                          char ret_signature[SIGV4_SIGNATURE_SIZE], struct err *err) {
    uint8_t made[SHA256_SIZE];
    if (key == NULL) {
        sigv4_signing_key(credentials->secret_key, signing->auth.date, credentials->region,
                          credentials->service, made);
        key = made;
    }
    return sigv4_signature(&signing->auth, request->method, &signing->uri, signing->headers,
                           signing->header_count, key, ret_signature, err);
}

/* "/path?query", and the signature at its end when there is one. */
static const char *print_target(const struct uri *uri, const char *signature, struct arena *arena) {
    _cleanup_(buf_finip) struct buf buf = BUF_INIT;
    uri_encode(&buf, uri->path, true /* keep slashes */);
    if (uri->param_count > 0)
        buf_putc(&buf, '?');
    if (uri_print_canonical_query(uri, NULL, &buf, NULL) != 0)
        return NULL;
    if (signature != NULL) {
        buf_puts(&buf, "&X-Amz-Signature=");
        buf_puts(&buf, signature);
    }
    return buf.failed ? NULL : arena_strndup(arena, buf.data, buf.size);
}

int sigv4_sign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
               const uint8_t *key, int64_t now_s, struct arena *arena,
               struct sigv4_signed *ret_signed, struct err *err) {
    const char *payload = request->payload != NULL ? request->payload : SIGV4_UNSIGNED;
    struct sigv4_signed made = {.content_sha256 = arena_strdup(arena, payload)};
    if (made.content_sha256 == NULL)
        return too_large(err);
    struct signing signing = {
        .auth.payload_text = span_of(made.content_sha256),
        .uri = {.path = request->path,
                .params = (struct uri_param *)(uintptr_t)request->params,
                .param_count = request->param_count},
    };
    int code = set_scope(&signing.auth, credentials, now_s, arena, err);
    if (code != 0)
        return code;
    made.amz_date = signing.auth.time_text.data;
    const struct http1_header ours[] = {
        {SPAN_LITERAL("host"), request->host},
        {SPAN_LITERAL("x-amz-content-sha256"), signing.auth.payload_text},
        {SPAN_LITERAL("x-amz-date"), signing.auth.time_text},
    };
    code = set_headers(&signing, request, ours, sizeof ours / sizeof *ours, arena, err);
    if (code == 0)
        code = make_signature(&signing, request, credentials, key, made.signature, err);
    if (code != 0)
        return code;
    made.target = print_target(&signing.uri, NULL, arena);
    made.authorization = arena_printf(
        arena, SIGV4_ALGORITHM " Credential=%.*s/%.*s, SignedHeaders=%.*s, Signature=%s",
        SPAN_ARGS(credentials->access_key), SPAN_ARGS(signing.auth.scope),
        SPAN_ARGS(signing.auth.signed_headers), made.signature);
    if (made.target == NULL || made.authorization == NULL)
        return too_large(err);
    *ret_signed = made;
    return 0;
}

/* The request's parameters and those of a presigned query. */
static int set_params(struct signing *signing, const struct sigv4_request *request,
                      const struct sigv4_credentials *credentials, int64_t expires_s,
                      struct arena *arena, struct err *err) {
    size_t count = request->param_count;
    struct uri_param *params = arena_array(arena, struct uri_param, count + PRESIGN_PARAMS);
    char *credential = arena_printf(arena, "%.*s/%.*s", SPAN_ARGS(credentials->access_key),
                                    SPAN_ARGS(signing->auth.scope));
    char *expires = arena_printf(arena, "%lld", (long long)expires_s);
    if (params == NULL || credential == NULL || expires == NULL ||
        count + PRESIGN_PARAMS > URI_PARAMS_MAX)
        return too_large(err);
    if (count > 0)
        memcpy(params, request->params, count * sizeof *params);
    const struct uri_param ours[PRESIGN_PARAMS] = {
        {SPAN_LITERAL("X-Amz-Algorithm"), SPAN_LITERAL(SIGV4_ALGORITHM)},
        {SPAN_LITERAL("X-Amz-Credential"), span_of(credential)},
        {SPAN_LITERAL("X-Amz-Date"), signing->auth.time_text},
        {SPAN_LITERAL("X-Amz-Expires"), span_of(expires)},
        {SPAN_LITERAL("X-Amz-SignedHeaders"), signing->auth.signed_headers},
    };
    memcpy(params + count, ours, sizeof ours);
    signing->uri.params = params;
    signing->uri.param_count = count + PRESIGN_PARAMS;
    return 0;
}

int sigv4_presign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
                  int64_t now_s, int64_t expires_s, struct arena *arena,
                  struct sigv4_signed *ret_signed, struct err *err) {
    struct sigv4_signed made = {.content_sha256 = SIGV4_UNSIGNED};
    struct signing signing = {
        .auth = {.is_presigned = true, .payload_text = SPAN_LITERAL(SIGV4_UNSIGNED)},
        .uri.path = request->path};
    int code = set_scope(&signing.auth, credentials, now_s, arena, err);
    if (code != 0)
        return code;
    made.amz_date = signing.auth.time_text.data;
    const struct http1_header host = {SPAN_LITERAL("host"), request->host};
    code = set_headers(&signing, request, &host, 1, arena, err);
    if (code == 0)
        code = set_params(&signing, request, credentials, expires_s, arena, err);
    if (code == 0)
        code = make_signature(&signing, request, credentials, NULL, made.signature, err);
    if (code != 0)
        return code;
    made.target = print_target(&signing.uri, made.signature, arena);
    if (made.target == NULL)
        return too_large(err);
    *ret_signed = made;
    return 0;
}
