/* HTTP/1.1 request heads and chunked bodies out of bytes (RFC 9112), strictly: what two servers
 * could read differently is refused, so that nobody can smuggle a request past a proxy.
 *
 * Refused: line ends other than CRLF, NUL and control bytes, folded lines, space before a colon,
 * names that are no tokens, no Host in 1.1, Host, Content-Length or Transfer-Encoding twice or both
 * of the latter, lengths that are no plain digits, transfer encodings other than chunked, versions
 * other than 1.0 and 1.1. */
#ifndef QUERN_WIRE_HTTP1_H
#define QUERN_WIRE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define HTTP1_HEAD_BYTES_MAX 16384u /* of the request line and headers, with the empty line */
#define HTTP1_HEADERS_MAX 100u
#define HTTP1_BODY_BYTES_MAX (UINT64_C(1) << 53) /* of a Content-Length */

enum http1_method { HTTP1_GET, HTTP1_HEAD, HTTP1_PUT, HTTP1_POST, HTTP1_DELETE, HTTP1_OPTIONS };

struct http1_header {
    struct span name;  /* as sent */
    struct span value; /* without the white space around it */
};

/* Every span points into the bytes that were parsed. */
struct http1_request {
    enum http1_method method;
    struct span target; /* as sent: uri_parse() takes it apart */
    unsigned minor;     /* of the version: 0 or 1 */
    struct span host;   /* empty when HTTP/1.0 sent none */
    bool keep_alive;
    bool expect_continue;
    bool is_chunked; /* Transfer-Encoding: chunked */
    bool has_content_length;
    uint64_t content_length; /* 0 without one */
    size_t header_count;
    struct http1_header headers[HTTP1_HEADERS_MAX];
};

/* Parses the head at the beginning of bytes. *ret_head_bytes is its size with the empty line: the
 * body or the next request begins there. It is 0 (and *ret_request undefined) while the head is not
 * whole: read more and call again. An empty line before the request line is skipped. Errors:
 * ERR_BAD_REQUEST, ERR_HEADER_TOO_LARGE (also without having the whole), ERR_METHOD_NOT_ALLOWED,
 * ERR_NOT_IMPLEMENTED (a transfer encoding or expectation we do not have). After one the connection
 * must be closed. */
int http1_parse(struct span bytes, struct http1_request *ret_request, size_t *ret_head_bytes,
                struct err *err);

/* The first header of that name, case-insensitively; false when there is none. An empty value is a
 * value. */
bool http1_find(const struct http1_request *request, const char *name, struct span *ret_value);
/* Its value, or an empty span. */
struct span http1_header(const struct http1_request *request, const char *name);

const char *http1_method_name(enum http1_method method);
bool http1_name_equal(struct span a, struct span b); /* ASCII letters of either case are equal */

/* The decoder of Transfer-Encoding: chunked. Zeroed memory is its beginning; it holds no resources.
 *
 *     while (!chunks.is_done) {
 *         read some bytes; while (bytes.size > 0 && !chunks.is_done) {
 *             http1_chunks_feed(&chunks, bytes, &used, &payload, err)  -> use payload; bytes +=
 * used
 */
struct http1_chunks {
    int state;
    bool is_done;        /* the trailer section has ended too */
    unsigned digits;     /* of the size being read */
    uint64_t left;       /* bytes of the chunk still to come */
    size_t line_bytes;   /* of extensions or trailers so far */
    uint64_t body_bytes; /* given out so far */
};

/* Takes *ret_used bytes (at least 1 of a non-empty span unless done) and gives out at most one
 * piece of payload, which points into bytes. Chunk extensions and trailers are checked, bounded and
 * dropped. Errors: ERR_BAD_REQUEST. */
int http1_chunks_feed(struct http1_chunks *chunks, struct span bytes, size_t *ret_used,
                      struct span *ret_payload, struct err *err);

#endif
