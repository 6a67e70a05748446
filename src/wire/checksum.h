/* The checksums that S3 lets a client ask for, one interface. One thread an object. */
#ifndef QUERN_WIRE_CHECKSUM_H
#define QUERN_WIRE_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/span.h"

enum checksum_kind {
    CHECKSUM_NONE,
    CHECKSUM_CRC32,
    CHECKSUM_CRC32C,
    CHECKSUM_CRC64NVME,
    CHECKSUM_SHA1,
    CHECKSUM_SHA256,
    CHECKSUM_END
};

#define CHECKSUM_SIZE_MAX 32
#define CHECKSUM_TEXT_SIZE 45 /* the longest in base64, with the NUL */

struct checksum {
    enum checksum_kind kind;
    uint64_t crc;
    struct digest digest;
};

void checksum_init(struct checksum *checksum,
                   enum checksum_kind kind);   /* CHECKSUM_NONE: all below do nothing */
void checksum_fini(struct checksum *checksum); /* also of a zeroed one */
void checksum_update(struct checksum *checksum, const void *data, size_t size);
/* The value as S3 writes it, big-endian; returns its size. Then only checksum_fini. */
size_t checksum_final(struct checksum *checksum, uint8_t ret_value[CHECKSUM_SIZE_MAX]);
/* The same in base64, as in headers; returns text. */
char *checksum_final_text(struct checksum *checksum, char text[CHECKSUM_TEXT_SIZE]);

size_t checksum_size(enum checksum_kind kind); /* in bytes: 4, 8, 20, 32; 0 for NONE */
const char *checksum_name(
    enum checksum_kind kind); /* "CRC32C", as x-amz-checksum-algorithm and the XML have it */
const char *checksum_header(enum checksum_kind kind);  /* "x-amz-checksum-crc32c" */
const char *checksum_element(enum checksum_kind kind); /* "ChecksumCRC32C" */
/* Case-insensitive; CHECKSUM_NONE when it is none of ours. */
enum checksum_kind checksum_by_name(struct span name);
enum checksum_kind checksum_by_header(struct span name);
/* Whether text is a value of that kind: base64 of the right size. */
bool checksum_is_valid(enum checksum_kind kind, struct span text);

/* CRC-64/NVME and CRC-32 (IEEE 802.3); pass a result on to continue it, 0 to begin. */
uint64_t crc64nvme_update(uint64_t crc, const void *data, size_t size);
uint32_t crc32_update(uint32_t crc, const void *data, size_t size);

#endif
