/* Transfer-Encoding: chunked, byte by byte in the lines and by spans in the data (RFC 9112, 7.1).
 */
#include "wire/http1.h"

#include "base/codec.h"

#define SIZE_DIGITS_MAX 14u                 /* of a chunk: below 2^56 */
#define LINE_BYTES_MAX HTTP1_HEAD_BYTES_MAX /* extensions and trailers of a body together */

enum {
    CHUNKS_SIZE,
    CHUNKS_EXTENSION,
    CHUNKS_SIZE_LF,
    CHUNKS_DATA,
    CHUNKS_DATA_CR,
    CHUNKS_DATA_LF,
    CHUNKS_TRAILER_START,
    CHUNKS_TRAILER,
    CHUNKS_TRAILER_LF,
    CHUNKS_END_LF,
};

static int malformed(struct err *err, const char *what) {
    return err_set(err, ERR_BAD_REQUEST, "the chunked body is malformed: %s", what);
}

static int expect(struct http1_chunks *chunks, char c, char wanted, int next, struct err *err) {
    if (c != wanted)
        return malformed(err, "a line end is missing");
    chunks->state = next;
    return 0;
}

static int feed_size(struct http1_chunks *chunks, char c, struct err *err) {
    int digit = hex_digit(c);
    if (digit >= 0 && ++chunks->digits <= SIZE_DIGITS_MAX) {
        chunks->left = chunks->left << 4 | (uint64_t)digit;
        return 0;
    }
    if (digit >= 0 || chunks->digits == 0)
        return malformed(err, "a chunk size");
    chunks->state = c == ';' ? CHUNKS_EXTENSION : CHUNKS_SIZE_LF;
    return c == ';' || c == '\r' ? 0 : malformed(err, "a chunk size");
}

/* Inside an extension or a trailer, which are dropped. */
static int feed_text(struct http1_chunks *chunks, char c, int next, struct err *err) {
    if (c == '\r')
        chunks->state = next;
    else if ((unsigned char)c < 0x20 && c != '\t')
        return malformed(err, "a control byte");
    else if (c == 0x7f)
        return malformed(err, "a control byte");
    else if (++chunks->line_bytes > LINE_BYTES_MAX)
        return malformed(err, "extensions or trailers are too long");
    return 0;
}

static int feed_byte(struct http1_chunks *chunks, char c, struct err *err) {
    switch (chunks->state) {
    case CHUNKS_SIZE:
        return feed_size(chunks, c, err);
    case CHUNKS_EXTENSION:
        return feed_text(chunks, c, CHUNKS_SIZE_LF, err);
    case CHUNKS_SIZE_LF:
        chunks->digits = 0;
        return expect(chunks, c, '\n', chunks->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER_START, err);
    case CHUNKS_DATA_CR:
        return expect(chunks, c, '\r', CHUNKS_DATA_LF, err);
    case CHUNKS_DATA_LF:
        return expect(chunks, c, '\n', CHUNKS_SIZE, err);
    case CHUNKS_TRAILER_START:
        chunks->state = c == '\r' ? CHUNKS_END_LF : CHUNKS_TRAILER;
        return c == '\r' ? 0 : feed_text(chunks, c, CHUNKS_TRAILER_LF, err);
    case CHUNKS_TRAILER:
        return feed_text(chunks, c, CHUNKS_TRAILER_LF, err);
    case CHUNKS_TRAILER_LF:
        return expect(chunks, c, '\n', CHUNKS_TRAILER_START, err);
    default:
        chunks->is_done = c == '\n';
        return expect(chunks, c, '\n', CHUNKS_END_LF, err);
    }
}

static struct span take_data(struct http1_chunks *chunks, struct span bytes) {
    if (bytes.size > chunks->left)
        bytes.size = (size_t)chunks->left;
    chunks->left -= bytes.size;
    chunks->body_bytes += bytes.size;
    if (chunks->left == 0)
        chunks->state = CHUNKS_DATA_CR;
    return bytes;
}

int http1_chunks_feed(struct http1_chunks *chunks, struct span bytes, size_t *ret_used,
                      struct span *ret_payload, struct err *err) {
    size_t used = 0;
    while (used < bytes.size && chunks->state != CHUNKS_DATA && !chunks->is_done) {
        int code = feed_byte(chunks, bytes.data[used++], err);
        if (code != 0)
            return code;
    }
    struct span payload = {bytes.data + used, bytes.size - used};
    if (chunks->state == CHUNKS_DATA)
        payload = take_data(chunks, payload);
    else
        payload.size = 0;
    *ret_used = used + payload.size;
    *ret_payload = payload;
    return 0;
}
