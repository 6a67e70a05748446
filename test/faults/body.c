/* Objects' bytes out of seeds. */
#include "faults/body.h"

#include <string.h>

#include "base/rng.h"

#define BLOCK_BYTES 4096u

/* Blocks are independent of each other, so that a part can be compared without what is before it.
 */
static void fill_block(uint64_t seed, uint64_t block, char *bytes) {
    struct rng rng;
    rng_init(&rng, seed ^ block * 0x9e3779b97f4a7c15u);
    for (size_t i = 0; i < BLOCK_BYTES; i += sizeof(uint64_t)) {
        uint64_t draw = i == 0 ? seed : rng_next(&rng);
        memcpy(bytes + i, &draw, sizeof draw);
    }
}

void body_fill(uint64_t seed, char *ret_bytes, size_t size) {
    char block[BLOCK_BYTES];
    for (size_t at = 0; at < size; at += BLOCK_BYTES) {
        fill_block(seed, at / BLOCK_BYTES, block);
        memcpy(ret_bytes + at, block, size - at < BLOCK_BYTES ? size - at : BLOCK_BYTES);
    }
}

bool body_is(uint64_t seed, struct span bytes) {
    char block[BLOCK_BYTES];
    for (size_t at = 0; at < bytes.size; at += BLOCK_BYTES) {
        size_t size = bytes.size - at < BLOCK_BYTES ? bytes.size - at : BLOCK_BYTES;
        fill_block(seed, at / BLOCK_BYTES, block);
        if (memcmp(bytes.data + at, block, size) != 0)
            return false;
    }
    return true;
}

void body_etag(struct span bytes, uint8_t ret_etag[MD5_SIZE]) {
    digest_of(DIGEST_MD5, bytes, ret_etag);
}

uint64_t body_value(const uint8_t etag[MD5_SIZE]) {
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof value; i++)
        value = value << 8 | etag[i];
    return value;
}
