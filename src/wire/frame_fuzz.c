/* Any bytes as header, hello and error: no crash, and what decodes encodes to the same bytes. */
#include "base/assert.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span body = {(const char *)data, size};
    struct frame frame;
    uint8_t header[FRAME_HEADER_SIZE];
    if (size >= FRAME_HEADER_SIZE && frame_decode(data, UINT32_MAX, &frame, NULL) == 0) {
        frame_encode(&frame, header);
        ASSERT(memcmp(header, data, sizeof header) == 0);
    }
    struct frame_hello hello;
    uint8_t bytes[FRAME_HELLO_SIZE];
    if (frame_decode_hello(body, &hello, NULL) == 0) {
        frame_encode_hello(&hello, bytes);
        ASSERT(memcmp(bytes, data, sizeof bytes) == 0);
    }
    struct err err;
    ASSERT(frame_decode_error(body, &err) < 0);
    return 0;
}
