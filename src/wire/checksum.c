/* The checksums of S3: a table of their names, CRCs by carry-less multiplication or ISA-L, digests
 * by OpenSSL. */
#include "wire/checksum.h"

#include <isa-l/crc.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/crc.h"

static const struct {
    const char *name;
    const char *header;
    const char *element;
    size_t size;
} kinds[CHECKSUM_END] = {
    [CHECKSUM_NONE] = {"", "", "", 0},
    [CHECKSUM_CRC32] = {"CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4},
    [CHECKSUM_CRC32C] = {"CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4},
    [CHECKSUM_CRC64NVME] = {"CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8},
    [CHECKSUM_SHA1] = {"SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20},
    [CHECKSUM_SHA256] = {"SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32},
};

size_t checksum_size(enum checksum_kind kind) {
    return kinds[kind].size;
}

const char *checksum_name(enum checksum_kind kind) {
    return kinds[kind].name;
}

const char *checksum_header(enum checksum_kind kind) {
    return kinds[kind].header;
}

const char *checksum_element(enum checksum_kind kind) {
    return kinds[kind].element;
}

static bool equal_ignoring_case(struct span a, const char *b) {
    return a.size == strlen(b) && strncasecmp(a.data, b, a.size) == 0;
}

enum checksum_kind checksum_by_name(struct span name) {
    enum checksum_kind kind = CHECKSUM_END;
    while (--kind > CHECKSUM_NONE && !equal_ignoring_case(name, kinds[kind].name))
        ;
    return kind;
}

enum checksum_kind checksum_by_header(struct span name) {
    enum checksum_kind kind = CHECKSUM_END;
    while (--kind > CHECKSUM_NONE && !equal_ignoring_case(name, kinds[kind].header))
        ;
    return kind;
}

bool checksum_is_valid(enum checksum_kind kind, struct span text) {
    uint8_t value[CHECKSUM_SIZE_MAX];
    return kind != CHECKSUM_NONE && base64_decode(text, value, kinds[kind].size);
}

void checksum_init(struct checksum *checksum, enum checksum_kind kind) {
    ASSERT(kind < CHECKSUM_END);
    *checksum = (struct checksum){.kind = kind};
    if (kind == CHECKSUM_SHA1)
        digest_init(&checksum->digest, DIGEST_SHA1);
    else if (kind == CHECKSUM_SHA256)
        digest_init(&checksum->digest, DIGEST_SHA256);
}

void checksum_fini(struct checksum *checksum) {
    digest_fini(&checksum->digest);
}

void checksum_update(struct checksum *checksum, const void *data, size_t size) {
    if (checksum->kind == CHECKSUM_CRC32)
        checksum->crc = crc32_update((uint32_t)checksum->crc, data, size);
    else if (checksum->kind == CHECKSUM_CRC32C)
        checksum->crc = crc32c_update((uint32_t)checksum->crc, data, size);
    else if (checksum->kind == CHECKSUM_CRC64NVME)
        checksum->crc = crc64nvme_update(checksum->crc, data, size);
    else if (checksum->kind != CHECKSUM_NONE)
        digest_update(&checksum->digest, data, size);
}

size_t checksum_final(struct checksum *checksum, uint8_t ret_value[CHECKSUM_SIZE_MAX]) {
    size_t size = kinds[checksum->kind].size;
    if (checksum->digest.context != NULL)
        digest_final(&checksum->digest, ret_value);
    else
        for (size_t i = 0; i < size; i++)
            ret_value[i] = (uint8_t)(checksum->crc >> 8 * (size - 1 - i));
    return size;
}

char *checksum_final_text(struct checksum *checksum, char text[CHECKSUM_TEXT_SIZE]) {
    uint8_t value[CHECKSUM_SIZE_MAX];
    size_t size = checksum_final(checksum, value);
    return base64_encode(value, size, text);
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t size) {
    return crc32_gzip_refl(crc, data, size);
}
