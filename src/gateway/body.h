/* The body of a request as one stream of payload, whatever its framing (Content-Length, chunked)
 * and encoding (aws-chunked with or without signatures and trailers). Payload is verified as it
 * passes: its announced length, x-amz-content-sha256, chunk signatures, x-amz-checksum-* headers
 * and trailers. Only when body->is_ended has become true is it whole and true. */
#ifndef QUERN_GATEWAY_BODY_H
#define QUERN_GATEWAY_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "wire/checksum.h"
#include "wire/chunked.h"
#include "wire/http1.h"

#define BODY_LENGTH_UNKNOWN UINT64_MAX
#define BODY_DRAIN_BYTES_MAX ((uint64_t)256 << 10)

struct request;

struct body {
    uint64_t length;   /* of the payload as announced, or BODY_LENGTH_UNKNOWN */
    uint64_t received; /* payload given out */
    uint64_t raw_left; /* with Content-Length: raw bytes still to come */
    struct http1_chunks framing;
    struct span raw;     /* out of the framing, not yet decoded; in request->input, as payload is */
    struct span payload; /* decoded, not yet given out */
    struct chunked *aws; /* NULL: the payload is the raw body */
    bool is_framed;      /* Transfer-Encoding: chunked */
    bool expects_continue; /* "100 Continue" has not been sent yet */
    bool is_ended;
    bool has_sha256;
    bool has_md5; /* Content-MD5: for body_check_md5() */
    struct digest sha256;
    uint8_t sha256_wanted[SHA256_SIZE];
    uint8_t md5_wanted[MD5_SIZE];
    struct checksum checksum;
    char checksum_wanted[CHECKSUM_TEXT_SIZE]; /* empty: the trailer says */
};

/* Once the head is there. */
void body_init(struct request *request);
/* Once its signature was verified. Errors: INVALID_DIGEST, INVALID, MISSING_LENGTH. */
int body_open(struct request *request);
void body_close(struct request *request);

/* Fills data unless the body ends first; *ret_size is what was put there. Call until
 * body->is_ended. Errors: INCOMPLETE_BODY, SHA256_MISMATCH, BAD_DIGEST, SIGNATURE_MISMATCH,
 * REQUEST_TIMEOUT and other 4xx. */
int body_read(struct request *request, void *data, size_t size, size_t *ret_size);

/* All of a small body, Content-MD5 checked. ERR_ENTITY_TOO_LARGE beyond limit. */
int body_read_whole(struct request *request, size_t limit, struct buf *buf);

/* ERR_BAD_DIGEST unless the request had no Content-MD5 or this one. */
int body_check_md5(const struct request *request, const uint8_t md5[MD5_SIZE]);

/* Into the reply: the checksum that the body was verified against, if there was one. */
void body_reply_checksum(struct request *request);

/* Whether all that was read is what was promised; body_read() asks it at the end. */
int body_check_end(struct request *request);

/* Throws away what the handler did not read, so that the next request can follow; false when that
 * is too much. */
bool body_drain(struct request *request);

#endif
