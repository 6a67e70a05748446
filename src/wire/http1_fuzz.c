/* Fuzzes request heads and chunked bodies: what is parsed whole must parse the same when cut
 * anywhere before, and its spans must lie inside the bytes; bodies must decode the same in one
 * piece and byte by byte. */
#include <stdint.h>

#include "base/assert.h"
#include "wire/http1.h"

static void check_inside(struct span bytes, struct span part) {
    ASSERT(part.size == 0 ||
           (part.data >= bytes.data && part.data + part.size <= bytes.data + bytes.size));
}

static size_t fuzz_head(struct span bytes) {
    struct http1_request request;
    size_t size = 0, again = 0;
    if (http1_parse(bytes, &request, &size, NULL) != 0 || size == 0)
        return 0;
    ASSERT(size <= bytes.size && size <= HTTP1_HEAD_BYTES_MAX);
    ASSERT(request.header_count <= HTTP1_HEADERS_MAX);
    ASSERT(!(request.is_chunked && request.has_content_length));
    check_inside(bytes, request.target);
    for (size_t i = 0; i < request.header_count; i++) {
        check_inside(bytes, request.headers[i].name);
        check_inside(bytes, request.headers[i].value);
        ASSERT(request.headers[i].name.size > 0);
        struct span value = request.headers[i].value;
        ASSERT(value.size == 0 || (memchr(value.data, '\r', value.size) == NULL &&
                                   memchr(value.data, '\n', value.size) == NULL));
    }
    int code = http1_parse((struct span){bytes.data, size - 1}, &request, &again, NULL);
    ASSERT(code == 0 && again == 0);
    return size;
}

/* Returns the bytes of payload, or -1 when refused. */
static int64_t decode(struct span bytes, size_t step) {
    struct http1_chunks chunks = {0};
    while (bytes.size > 0 && !chunks.is_done) {
        struct span piece = {bytes.data, bytes.size < step ? bytes.size : step}, payload;
        size_t used = 0;
        if (http1_chunks_feed(&chunks, piece, &used, &payload, NULL) != 0)
            return -1;
        ASSERT(used > 0 && used <= piece.size);
        check_inside(piece, payload);
        bytes = (struct span){bytes.data + used, bytes.size - used};
    }
    return (int64_t)chunks.body_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span bytes = {(const char *)data, size};
    size_t head = fuzz_head(bytes);
    struct span body = {bytes.data + head, bytes.size - head};
    ASSERT(decode(body, SIZE_MAX) == decode(body, 1));
    return 0;
}
