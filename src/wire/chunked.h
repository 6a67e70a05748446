/* The aws-chunked content encoding: a body in chunks, each signed or not, with a trailer of
 * checksums or not.
 *
 *     10000;chunk-signature=SIG CRLF payload CRLF ... 0;chunk-signature=SIG CRLF [trailers] CRLF
 *
 * Incremental: bytes go in as they come, payload comes out as spans into them; a chunk's signature
 * is checked when its last byte has been seen, so the caller keeps nothing for good before is_done.
 */
#ifndef QUERN_WIRE_CHUNKED_H
#define QUERN_WIRE_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/checksum.h"
#include "wire/sigv4.h"

#define CHUNKED_LINE_BYTES_MAX 1024u
#define CHUNKED_CHUNK_BYTES_MAX (UINT64_C(5) << 30)

struct chunked {
    enum sigv4_payload payload;
    int state;
    bool is_done; /* the last chunk and the trailer have been read, and all signatures were right */
    bool is_signed; /* each chunk has a signature */
    bool has_trailer;
    bool has_trailer_signature;
    uint64_t chunk_left;    /* payload bytes of this chunk still to come */
    uint64_t decoded_bytes; /* payload given out so far */
    uint64_t decoded_limit; /* x-amz-decoded-content-length: no more, no less */
    size_t line_size;
    char line[CHUNKED_LINE_BYTES_MAX];
    char signature[SIGV4_SIGNATURE_SIZE]; /* of the chunk being read */
    struct digest hash;                   /* of its payload, or of the trailer's lines */
    struct sigv4_chain chain;
    /* The checksum of the trailer, if one came; compare it with your own. */
    enum checksum_kind trailer_kind;
    char trailer_checksum[CHECKSUM_TEXT_SIZE];
};

/* chain is NULL for SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER, else copied. decoded_bytes is
 * x-amz-decoded-content-length. */
void chunked_init(struct chunked *chunked, enum sigv4_payload payload,
                  const struct sigv4_chain *chain, uint64_t decoded_bytes);
void chunked_fini(struct chunked *chunked);

/* Takes *ret_used bytes (at least 1 of a non-empty span unless done; less than all when there is
 * payload to give out or the body has ended) and gives out at most one piece of payload, possibly
 * empty, which points into bytes. When the connection's body ends and is_done is false, it is
 * ERR_INCOMPLETE_BODY. Errors: ERR_SIGNATURE_MISMATCH, ERR_INCOMPLETE_BODY (chunks hold more or
 * less than announced), ERR_INVALID_DIGEST (a trailer checksum that is none), ERR_PROTOCOL
 * (anything else malformed). */
int chunked_feed(struct chunked *chunked, struct span bytes, size_t *ret_used,
                 struct span *ret_payload, struct err *err);

#endif
