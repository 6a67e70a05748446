/* The bytes of a volume file.
 *
 *     0        4096                 4096 + n*4096
 *     +--------+--------------------+----------------+--------------------+------
 *     | volume | chunk header, CRCs | data ...       | chunk header, CRCs | data
 *     +--------+--------------------+----------------+--------------------+------
 *
 * Chunk headers begin at multiples of 4 KiB and are written after their data: a region without a
 * valid header is not a chunk. A header names its own volume and offset (against misdirected
 * writes) and its checksum is seeded with the volume's random key, so that the bytes of another
 * volume, stored here as data, are never taken for a header. Integers are little-endian. Pure
 * functions. */
#ifndef QUERN_STORE_CHUNK_H
#define QUERN_STORE_CHUNK_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "store/client.h"

#define VOLUME_ALIGN ((uint64_t)4096)
#define VOLUME_VERSION 1u

struct volume_header { /* alone in its 4 KiB */
    char magic[8];
    uint32_t version;
    uint32_t crc;    /* of this struct with crc = 0 */
    uint64_t number; /* from 1; 0 = the volume of one chunk */
    uint64_t key;    /* random */
    struct id128 chunk_id;
    struct id128 incarnation; /* of the node's disk */
};
static_assert(sizeof(struct volume_header) == 64, "on disk");
static_assert(offsetof(struct volume_header, chunk_id) == 32, "on disk");

struct chunk_header {
    char magic[8];
    struct id128 id;
    uint64_t volume; /* number */
    uint64_t offset; /* of this header in its file */
    uint64_t length; /* of the data */
    uint64_t written_ms;
    uint32_t room_bytes; /* the data begins so far behind this header */
    uint32_t crc32c;     /* of the data */
    uint32_t flags;      /* 0 */
    uint32_t crc;        /* of what is before and behind it, seeded with the volume's key */
    uint32_t block_crcs[];
};
static_assert(sizeof(struct chunk_header) == 72, "on disk");
static_assert(offsetof(struct chunk_header, crc) == 68, "on disk");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "integers are written as they are");

static inline uint64_t volume_align(uint64_t bytes) {
    return (bytes + VOLUME_ALIGN - 1) & ~(VOLUME_ALIGN - 1);
}

static inline uint32_t chunk_block_count(uint64_t length) {
    return (uint32_t)((length + CHUNK_BLOCK_BYTES - 1) / CHUNK_BLOCK_BYTES);
}

/* Of the header and the checksums alone. */
static inline size_t chunk_header_bytes(uint64_t length) {
    return sizeof(struct chunk_header) + chunk_block_count(length) * sizeof(uint32_t);
}

/* What a header takes in the file for a chunk of at most this length. */
static inline uint32_t chunk_header_room(uint64_t length_max) {
    return (uint32_t)volume_align(chunk_header_bytes(length_max));
}

void volume_header_seal(struct volume_header *header); /* magic, version, checksum */
/* Errors: ERR_CORRUPT, ERR_VERSION (a newer format). */
int volume_header_check(const struct volume_header *header, struct err *err);

void chunk_header_seal(struct chunk_header *header, uint64_t volume_key); /* magic, checksum */

/* Whether these are the first bytes of some header of this format; it need not be sound. */
bool chunk_header_is_magic(const void *data);

/* Whether the fixed part can be believed far enough to read the rest: place and sizes fit. */
bool chunk_header_is_plausible(const struct chunk_header *header, uint64_t volume, uint64_t offset);

/* The whole check; header has room for its checksums. */
bool chunk_header_is_sound(const struct chunk_header *header, uint64_t volume_key, uint64_t volume,
                           uint64_t offset);

/* Checksums of blocks as the data arrives: adds size bytes at header->length, and to it. */
void chunk_header_add(struct chunk_header *header, const void *data, size_t size);

/* The checksum of the whole, from those of the blocks. */
uint32_t chunk_header_total_crc(const struct chunk_header *header);

/* data is block `block` of the chunk, whole (the last one is as long as it is). */
bool chunk_block_is_sound(const struct chunk_header *header, uint32_t block, const void *data);

/* Bytes of that block. */
static inline size_t chunk_block_bytes(uint64_t length, uint32_t block) {
    uint64_t left = length - (uint64_t)block * CHUNK_BLOCK_BYTES;
    return left < CHUNK_BLOCK_BYTES ? (size_t)left : CHUNK_BLOCK_BYTES;
}

#endif
