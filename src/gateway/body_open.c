/* What a request's head says of its body: framing, encoding, length, and what it promises to be. */
#include <string.h>

#include "base/codec.h"
#include "gateway/body.h"
#include "gateway/request.h"

void body_init(struct request *request) {
    struct body *body = &request->body;
    const struct http1_request *http = &request->http;
    body->is_framed = http->is_chunked;
    body->raw_left = http->content_length;
    body->length = http->is_chunked ? BODY_LENGTH_UNKNOWN : http->content_length;
    bool has_bytes = request->input->start < request->input->end;
    body->expects_continue = http->expect_continue && !has_bytes && body->length > 0;
}

static int open_aws(struct request *request) {
    struct body *body = &request->body;
    struct span text = http1_header(&request->http, "x-amz-decoded-content-length");
    uint64_t length = 0;
    if (text.size == 0 || text.size > 15)
        return err_set(&request->err, ERR_MISSING_LENGTH,
                       "x-amz-decoded-content-length is missing");
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return err_set(&request->err, ERR_INVALID,
                           "x-amz-decoded-content-length is not a number");
        length = length * 10 + (uint64_t)(text.data[i] - '0');
    }
    struct sigv4_chain chain;
    bool is_signed = request->auth.payload != SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER;
    int rc = is_signed
                 ? sigv4_chain_init(&chain, &request->auth, request->signing_key, &request->err)
                 : 0;
    body->aws = rc == 0 ? arena_new(&request->arena, struct chunked) : NULL;
    if (rc != 0 || body->aws == NULL)
        return rc != 0 ? rc : request_memory(request);
    chunked_init(body->aws, request->auth.payload, is_signed ? &chain : NULL, length);
    body->length = length;
    return 0;
}

static int open_md5(struct request *request) {
    struct span text;
    if (!http1_find(&request->http, "content-md5", &text))
        return 0;
    request->body.has_md5 = true;
    if (!base64_decode(text, request->body.md5_wanted, MD5_SIZE))
        return err_set(&request->err, ERR_INVALID_DIGEST,
                       "the Content-MD5 you specified is not valid");
    return 0;
}

static int open_checksum(struct request *request) {
    struct body *body = &request->body;
    enum checksum_kind kind = CHECKSUM_NONE;
    struct span value = {0};
    for (enum checksum_kind each = CHECKSUM_NONE + 1; each < CHECKSUM_END && kind == CHECKSUM_NONE;
         each++)
        if (http1_find(&request->http, checksum_header(each), &value))
            kind = each;
    if (kind != CHECKSUM_NONE) {
        if (!checksum_is_valid(kind, value))
            return err_set(&request->err, ERR_INVALID_DIGEST, "the value of %s is not valid",
                           checksum_header(kind));
        memcpy(body->checksum_wanted, value.data, value.size);
        body->checksum_wanted[value.size] = '\0';
    } else if (body->aws != NULL && http1_find(&request->http, "x-amz-trailer", &value)) {
        kind = checksum_by_header(value);
        if (kind == CHECKSUM_NONE)
            return err_set(&request->err, ERR_INVALID, "x-amz-trailer names no checksum we know");
    }
    checksum_init(&body->checksum, kind);
    return 0;
}

static int open_sha256(struct request *request) {
    struct body *body = &request->body;
    struct span text = request->auth.payload_text;
    if (request->auth.payload != SIGV4_PAYLOAD_SHA256 || text.size != 2 * SHA256_SIZE)
        return 0;
    if (!hex_decode(text, body->sha256_wanted, SHA256_SIZE))
        return err_set(&request->err, ERR_INVALID, "x-amz-content-sha256 is not valid");
    body->has_sha256 = true;
    digest_init(&body->sha256, DIGEST_SHA256);
    return 0;
}

/* Almost every GET: no body, and the hash of nothing as its promise. */
static bool is_nothing(const struct request *request) {
    return request->body.length == 0 && (request->auth.payload_text.size != 2 * SHA256_SIZE ||
                                         span_is(request->auth.payload_text, SIGV4_EMPTY_SHA256));
}

int body_open(struct request *request) {
    struct body *body = &request->body;
    int rc = open_md5(request);
    if (rc == 0 && sigv4_is_streaming(request->auth.payload))
        rc = open_aws(request);
    /* With POST ?uploadId the checksum headers are those of the object that is put together. */
    if (rc == 0 && !(request->http.method == HTTP1_POST && uri_has(&request->uri, "uploadId")))
        rc = open_checksum(request);
    if (rc == 0 && !is_nothing(request))
        rc = open_sha256(request);
    if (rc == 0 && body->aws == NULL && body->length == 0) {
        body->is_ended = true;
        rc = body_check_end(request);
    }
    return rc;
}

void body_close(struct request *request) {
    struct body *body = &request->body;
    if (body->has_sha256)
        digest_fini(&body->sha256);
    checksum_fini(&body->checksum);
    if (body->aws != NULL)
        chunked_fini(body->aws);
}
