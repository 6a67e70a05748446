/* Frame headers, hellos and errors as bytes. */
#include "wire/frame.h"

#include <assert.h>

#include "base/crc.h"
#include "base/le.h"

#define FRAME_MAGIC 0x31524e51u /* "QNR1" */

static_assert(FRAME_HELLO_SIZE == 8 + 2 * sizeof(struct id128), "hello layout");

void frame_encode(const struct frame *frame, uint8_t ret_header[FRAME_HEADER_SIZE]) {
    le32_put(ret_header, FRAME_MAGIC);
    le16_put(ret_header + 4, frame->type);
    le16_put(ret_header + 6, 0);
    le32_put(ret_header + 8, frame->length);
    le32_put(ret_header + 12, frame->body_crc32c);
    le32_put(ret_header + 16, crc32c_update(0, ret_header, 16));
}

int frame_decode(const uint8_t header[FRAME_HEADER_SIZE], uint32_t length_max,
                 struct frame *ret_frame, struct err *err) {
    if (le32_get(header) != FRAME_MAGIC)
        return err_set(err, ERR_CORRUPT, "not a frame of ours");
    if (le32_get(header + 16) != crc32c_update(0, header, 16))
        return err_set(err, ERR_CORRUPT, "a frame's header is damaged");
    if (le16_get(header + 6) != 0)
        return err_set(err, ERR_CORRUPT, "a frame with unknown flags");
    uint32_t length = le32_get(header + 8);
    if (length > length_max)
        return err_set(err, ERR_LIMIT, "a frame of %u bytes; at most %u are allowed", length,
                       length_max);
    *ret_frame = (struct frame){
        .type = le16_get(header + 4), .length = length, .body_crc32c = le32_get(header + 12)};
    return 0;
}

void frame_encode_hello(const struct frame_hello *hello, uint8_t ret_body[FRAME_HELLO_SIZE]) {
    le32_put(ret_body, hello->version);
    le32_put(ret_body + 4, hello->node_id);
    memcpy(ret_body + 8, hello->cluster_id.bytes, sizeof hello->cluster_id);
    memcpy(ret_body + 24, hello->incarnation.bytes, sizeof hello->incarnation);
}

int frame_decode_hello(struct span body, struct frame_hello *ret_hello, struct err *err) {
    if (body.size != FRAME_HELLO_SIZE)
        return err_set(err, ERR_CORRUPT, "a hello of %zu bytes", body.size);
    struct frame_hello hello = {.version = le32_get(body.data), .node_id = le32_get(body.data + 4)};
    memcpy(hello.cluster_id.bytes, body.data + 8, sizeof hello.cluster_id);
    memcpy(hello.incarnation.bytes, body.data + 24, sizeof hello.incarnation);
    *ret_hello = hello;
    return 0;
}

void frame_encode_error(int code, uint8_t ret_head[FRAME_ERROR_HEAD_SIZE]) {
    le32_put(ret_head, (uint32_t)code);
}

int frame_decode_error(struct span body, struct err *err) {
    int32_t code = body.size >= FRAME_ERROR_HEAD_SIZE ? (int32_t)le32_get(body.data) : 0;
    if (code >= 0 || code <= -ERR_NUMBER_END)
        return err_set(err, ERR_CORRUPT, "an error frame that tells no error");
    struct span text = {body.data + FRAME_ERROR_HEAD_SIZE, body.size - FRAME_ERROR_HEAD_SIZE};
    if (text.size == 0)
        return err_set(err, code, "%s", err_text(code));
    return err_set(err, code, "%.*s", (int)(text.size < 255 ? text.size : 255), text.data);
}
