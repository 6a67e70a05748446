/* Fuzzes aws-chunked bodies, signed and not, with and without trailers: the answer must not depend
 * on how the bytes are cut, and no more comes out than was announced. The first two bytes choose.
 */
#include <stdint.h>

#include "base/assert.h"
#include "wire/chunked.h"

struct outcome {
    int code;
    bool is_done;
    uint64_t decoded_bytes;
};

static struct outcome decode(enum sigv4_payload payload, uint64_t limit, struct span bytes,
                             size_t step) {
    static const struct sigv4_chain chain = {.key = {1},
                                             .scope = "20130524/us-east-1/s3/aws4_request"};
    struct chunked chunked;
    struct outcome outcome = {0};
    chunked_init(&chunked, payload,
                 payload == SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER ? NULL : &chain, limit);
    while (bytes.size > 0 && !chunked.is_done && outcome.code == 0) {
        struct span piece = {bytes.data, bytes.size < step ? bytes.size : step}, out;
        size_t used = 0;
        outcome.code = chunked_feed(&chunked, piece, &used, &out, NULL);
        if (outcome.code != 0)
            break;
        ASSERT(used > 0 && used <= piece.size);
        ASSERT(out.size == 0 ||
               (out.data >= piece.data && out.data + out.size <= piece.data + used));
        bytes = (struct span){bytes.data + used, bytes.size - used};
    }
    outcome.is_done = chunked.is_done;
    outcome.decoded_bytes = chunked.decoded_bytes;
    ASSERT(chunked.decoded_bytes <= limit);
    ASSERT(!chunked.is_done || chunked.decoded_bytes == limit);
    chunked_fini(&chunked);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct span bytes = {(const char *)data + 2, size - 2};
    enum sigv4_payload payload = SIGV4_PAYLOAD_STREAMING + data[0] % 3;
    struct outcome whole = decode(payload, data[1], bytes, SIZE_MAX);
    struct outcome pieces = decode(payload, data[1], bytes, 1 + data[0] / 3 % 7);
    ASSERT(whole.code == pieces.code && whole.is_done == pieces.is_done);
    ASSERT(whole.decoded_bytes == pieces.decoded_bytes);
    return 0;
}
