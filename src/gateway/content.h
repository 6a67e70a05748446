/* Bytes on their way into the store: small ones are kept for the catalogue's record, others are cut
 * in chunks; MD5 and CRC32C are made as they pass. Inside gateway/ only.
 *
 * A chunk holds at most CHUNK_BYTES_MAX; where more follows, it ends with the last newline of its
 * last 64 KiB, if there is one, so that line records seldom straddle chunks. Memory does not grow
 * with the object (but for 100 bytes a chunk). */
#ifndef QUERN_GATEWAY_CONTENT_H
#define QUERN_GATEWAY_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "store/client.h"
#include "wire/pb.h"

#define CONTENT_INLINE_BYTES_MAX ((size_t)16 << 10)
#define CONTENT_BYTES_MAX ((uint64_t)5 << 30) /* of one PUT */
#define CONTENT_LENGTH_UNKNOWN UINT64_MAX

struct request;
struct hasher;

struct content {
    struct request *request;
    struct hasher *hasher; /* NULL: a small body, hashed here */
    struct digest md5_now;
    char *block; /* without hasher */
    size_t block_bytes;
    uint64_t length; /* as announced */
    bool may_inline;
    bool is_kept;
    struct store_write *chunk;
    uint64_t chunk_bytes; /* appended to it */
    size_t chunk_room;    /* of the array chunks */
    size_t copied;        /* content_copy(): into the block, of copy_room */
    size_t copy_room;
    /* The result. */
    uint64_t size;
    uint32_t crc32c;
    uint8_t md5[MD5_SIZE];
    const void *inline_data; /* in the request's arena; NULL: in chunks */
    size_t chunk_count;
    Pb__ChunkRef **chunks;
};

/* ENTITY_TOO_LARGE. Close it also when this failed. */
int content_open(struct content *content, struct request *request, uint64_t length,
                 bool may_inline);

/* Where the next bytes go, and how many may be put there: fill it, or end with less. */
void *content_block(struct content *content, size_t *ret_room);
/* The block holds size bytes; is_last: no more will come. */
int content_write(struct content *content, size_t size, bool is_last);

/* After the last block, which made everything durable in the store: the digest. */
void content_end(struct content *content);

/* The outcome of the command that names the chunks: they are dropped by content_close() if it
 * surely was refused. */
void content_settle(struct content *content, int rc);
void content_close(struct content *content);

/* A store_sink: instead of blocks, bytes of any size; the announced length must be known and not 0.
 */
int content_copy(void *content, const void *data, size_t size);

#endif
