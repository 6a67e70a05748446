/* What goes between nodes: the header of a frame, the hello that opens a connection, and the body
 * of an error.
 *
 *      header  0 magic  4 type  6 flags (0)  8 length of the body  12 crc32c of the body  16 crc32c
 * of bytes 0..15 hello   0 protocol version  4 node id  8 cluster id  24 incarnation error   0 code
 * (of tbl/errors.h, negative)  4 text to the end of the body */
#ifndef QUERN_WIRE_FRAME_H
#define QUERN_WIRE_FRAME_H

#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "base/span.h"

#define FRAME_HEADER_SIZE 20
#define FRAME_PROTOCOL_VERSION 4u

struct frame {
    uint16_t type;
    uint32_t length;
    uint32_t body_crc32c;
};

void frame_encode(const struct frame *frame, uint8_t ret_header[FRAME_HEADER_SIZE]);
/* Errors: CORRUPT (magic, flags or checksum), LIMIT (a body longer than length_max). */
int frame_decode(const uint8_t header[FRAME_HEADER_SIZE], uint32_t length_max,
                 struct frame *ret_frame, struct err *err);

#define FRAME_HELLO_SIZE 40

struct frame_hello {
    uint32_t version;
    uint32_t node_id;
    struct id128 cluster_id;
    struct id128 incarnation;
};

void frame_encode_hello(const struct frame_hello *hello, uint8_t ret_body[FRAME_HELLO_SIZE]);
int frame_decode_hello(struct span body, struct frame_hello *ret_hello,
                       struct err *err); /* CORRUPT */

#define FRAME_ERROR_HEAD_SIZE 4

void frame_encode_error(int code,
                        uint8_t ret_head[FRAME_ERROR_HEAD_SIZE]); /* the text follows it */
/* Sets err to the error that the body tells and returns its code; CORRUPT when it tells none. */
int frame_decode_error(struct span body, struct err *err);

#endif
