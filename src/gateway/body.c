/* Bodies: raw bytes from the connection, taken out of their framing, decoded, verified. */
#include "gateway/body.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/request.h"
#include "os/clock.h"
#include "os/net.h"

#define READ_MS_MAX 30000 /* for the next bytes */

/* ---- raw bytes ---- */

static int read_some(struct request *request, void *data, size_t size, size_t *ret_size) {
    struct body *body = &request->body;
    struct err *err = &request->err;
    if (body->expects_continue) {
        body->expects_continue = false;
        int rc = net_write(request->conn->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25,
                           clock_deadline_ms(READ_MS_MAX), err);
        if (rc != 0)
            return rc;
    }
    int rc = net_read(request->conn->fd, data, size, clock_deadline_ms(READ_MS_MAX), ret_size, err);
    if (rc == ERR_TIMEOUT)
        rc = err_set(err, ERR_REQUEST_TIMEOUT, "%s", err_text(ERR_REQUEST_TIMEOUT));
    if (rc == 0 && *ret_size == 0)
        rc = err_set(err, ERR_INCOMPLETE_BODY, "%s", err_text(ERR_INCOMPLETE_BODY));
    if (rc != 0)
        request->reply.must_close = true;
    return rc;
}

static int input_refill(struct request *request) {
    struct input *input = request->input;
    if (input->start < input->end)
        return 0;
    input->start = input->end = 0;
    return read_some(request, input->data, input->room, &input->end);
}

/* The next bytes out of the framing, into *ret_raw: a view of the input. Empty when they have
 * ended. */
static int next_raw(struct request *request, struct span *ret_raw) {
    struct body *body = &request->body;
    struct input *input = request->input;
    *ret_raw = (struct span){0};
    while (ret_raw->size == 0 && (body->is_framed ? !body->framing.is_done : body->raw_left > 0)) {
        int rc = input_refill(request);
        if (rc != 0)
            return rc;
        struct span bytes = {input->data + input->start, input->end - input->start};
        size_t used;
        if (body->is_framed) {
            rc = http1_chunks_feed(&body->framing, bytes, &used, ret_raw, &request->err);
            if (rc != 0) {
                request->reply.must_close = true;
                return rc;
            }
        } else {
            used = bytes.size < body->raw_left ? bytes.size : (size_t)body->raw_left;
            *ret_raw = (struct span){bytes.data, used};
            body->raw_left -= used;
        }
        input->start += used;
    }
    return 0;
}

/* ---- payload ---- */

/* Decodes until there is payload or the body is over. */
static int next_payload(struct request *request) {
    struct body *body = &request->body;
    while (body->payload.size == 0) {
        if (body->raw.size == 0) {
            int rc = next_raw(request, &body->raw);
            if (rc != 0)
                return rc;
            body->is_ended = body->raw.size == 0;
        }
        if (body->aws == NULL) {
            body->payload = body->raw;
            body->raw = (struct span){0};
        } else if (!body->is_ended) {
            size_t used;
            if (body->aws->is_done)
                return err_set(&request->err, ERR_PROTOCOL, "bytes after the last chunk");
            int rc = chunked_feed(body->aws, body->raw, &used, &body->payload, &request->err);
            if (rc != 0)
                return rc;
            body->raw = (struct span){body->raw.data + used, body->raw.size - used};
        }
        if (body->is_ended)
            return body->aws == NULL || body->aws->is_done
                       ? 0
                       : err_set(&request->err, ERR_INCOMPLETE_BODY, "%s",
                                 err_text(ERR_INCOMPLETE_BODY));
    }
    return 0;
}

static int read_decoded(struct request *request, void *data, size_t size, size_t *ret_size) {
    struct body *body = &request->body;
    int rc = next_payload(request);
    size_t take = body->payload.size < size ? body->payload.size : size;
    if (rc != 0)
        return rc;
    if (take > 0)
        memcpy(data, body->payload.data, take);
    body->payload = (struct span){body->payload.data + take, body->payload.size - take};
    *ret_size = take;
    return 0;
}

/* Without framing and encoding the bytes go straight from the socket to where they are wanted. */
static int read_plain(struct request *request, void *data, size_t size, size_t *ret_size) {
    struct body *body = &request->body;
    struct input *input = request->input;
    size_t held = input->end - input->start;
    if (size > body->raw_left)
        size = (size_t)body->raw_left;
    if (held > 0) {
        *ret_size = held < size ? held : size;
        memcpy(data, input->data + input->start, *ret_size);
        input->start += *ret_size;
    } else if (size > 0) {
        int rc = read_some(request, data, size, ret_size);
        if (rc != 0)
            return rc;
    }
    body->raw_left -= *ret_size;
    body->is_ended = body->raw_left == 0;
    return 0;
}

/* ---- what was promised ---- */

static const char *checksum_wanted(const struct body *body) {
    bool in_trailer = body->checksum_wanted[0] == '\0' && body->aws != NULL &&
                      body->aws->trailer_kind == body->checksum.kind;
    return in_trailer ? body->aws->trailer_checksum : body->checksum_wanted;
}

void body_reply_checksum(struct request *request) {
    const struct body *body = &request->body;
    if (body->checksum.kind != CHECKSUM_NONE)
        reply_header(request, checksum_header(body->checksum.kind), checksum_wanted(body));
}

static int check_checksum(struct request *request) {
    struct body *body = &request->body;
    char text[CHECKSUM_TEXT_SIZE];
    if (body->checksum.kind == CHECKSUM_NONE)
        return 0;
    checksum_final_text(&body->checksum, text);
    if (strcmp(text, checksum_wanted(body)) == 0)
        return 0;
    return err_set(&request->err, ERR_BAD_DIGEST,
                   "the %s you specified did not match the calculated checksum",
                   checksum_name(body->checksum.kind));
}

int body_check_end(struct request *request) {
    struct body *body = &request->body;
    if (body->has_sha256) {
        uint8_t hash[SHA256_SIZE];
        digest_final(&body->sha256, hash);
        if (memcmp(hash, body->sha256_wanted, sizeof hash) != 0)
            return err_set(&request->err, ERR_SHA256_MISMATCH, "%s", err_text(ERR_SHA256_MISMATCH));
    }
    return check_checksum(request);
}

int body_check_md5(const struct request *request, const uint8_t md5[MD5_SIZE]) {
    return !request->body.has_md5 || memcmp(md5, request->body.md5_wanted, MD5_SIZE) == 0
               ? 0
               : ERR_BAD_DIGEST;
}

/* ---- reading ---- */

int body_read(struct request *request, void *data, size_t size, size_t *ret_size) {
    struct body *body = &request->body;
    char *to = data;
    size_t total = 0;
    bool is_plain = body->aws == NULL && !body->is_framed;
    while (total < size && !body->is_ended) {
        size_t got = 0;
        int rc = is_plain ? read_plain(request, to + total, size - total, &got)
                          : read_decoded(request, to + total, size - total, &got);
        if (rc != 0)
            return rc;
        total += got;
    }
    if (!body->is_ended && body->received + total == body->length) { /* the end of its encoding */
        size_t none;
        int rc = read_decoded(request, NULL, 0, &none);
        if (rc != 0)
            return rc;
    }
    if (body->has_sha256 && total > 0)
        digest_update(&body->sha256, data, total);
    checksum_update(&body->checksum, data, total);
    body->received += total;
    *ret_size = total;
    return body->is_ended ? body_check_end(request) : 0;
}

int body_read_whole(struct request *request, size_t limit, struct buf *buf) {
    struct body *body = &request->body;
    if (body->length != BODY_LENGTH_UNKNOWN && body->length > limit)
        return err_set(&request->err, ERR_ENTITY_TOO_LARGE, "%s", err_text(ERR_ENTITY_TOO_LARGE));
    while (!body->is_ended) {
        size_t got,
            step = body->length != BODY_LENGTH_UNKNOWN ? (size_t)body->length - buf->size : 16384;
        char *to = buf_reserve(buf, step);
        if (to == NULL)
            return err_set(&request->err, ERR_NOMEM, "a body of %zu bytes", buf->size);
        int rc = body_read(request, to, step, &got);
        if (rc != 0)
            return rc;
        buf->size += got;
        if (buf->size > limit)
            return err_set(&request->err, ERR_ENTITY_TOO_LARGE, "%s",
                           err_text(ERR_ENTITY_TOO_LARGE));
    }
    uint8_t md5[MD5_SIZE];
    if (!body->has_md5)
        return 0;
    digest_of(DIGEST_MD5, buf_span(buf), md5);
    int rc = body_check_md5(request, md5);
    return rc == 0 ? 0 : err_set(&request->err, rc, "%s", err_text(rc));
}

bool body_drain(struct request *request) {
    struct body *body = &request->body;
    if (body->is_ended || (!body->is_framed && body->raw_left == 0))
        return true;
    if (body->expects_continue || request->reply.must_close ||
        body->raw_left > BODY_DRAIN_BYTES_MAX)
        return false;
    uint64_t drained = 0;
    struct span raw = {0};
    do {
        if (next_raw(request, &raw) != 0)
            return false;
        drained += raw.size;
    } while (raw.size > 0 && drained <= BODY_DRAIN_BYTES_MAX);
    return raw.size == 0;
}
