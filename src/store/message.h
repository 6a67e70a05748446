/* The bodies of the store's rpc messages. Integers are little-endian.
 *
 *     CHUNK_WRITE   struct chunk_write_request, then CHUNK_DATA ..., then CHUNK_END struct
 * chunk_end
 *                     -> CHUNK_DONE. After an error the receiver skips to CHUNK_END.
 *     CHUNK_READ    struct chunk_read_request      -> CHUNK_DATA ..., CHUNK_END (empty)
 *     CHUNK_DELETE  ids                            -> CHUNK_DONE
 *     CHUNK_DIGESTS struct chunk_digests_request   -> u64 for each slice
 *     CHUNK_LIST    struct chunk_list_request      -> struct chunk_list_item ...; fewer than
 * LIST_ITEMS_MAX: the end STORE_STATUS  empty                          -> struct store_status_reply
 */
#ifndef QUERN_STORE_MESSAGE_H
#define QUERN_STORE_MESSAGE_H

#include <assert.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"
#include "core/place.h"

#define CHUNK_FRAME_BYTES ((size_t)256 << 10) /* of CHUNK_DATA, as sent */
#define DELETE_IDS_MAX 4096u
#define LIST_ITEMS_MAX 1024u

struct chunk_write_request {
    struct id128 id;
    uint64_t epoch; /* of the map by which the owners were chosen */
    uint64_t length_max;
    uint16_t owners[PLACE_REPLICAS_MAX]; /* in the table's order; 0 = none */
    uint16_t reserved[3];
};
static_assert(sizeof(struct chunk_write_request) == 48, "on the wire");

#define CHUNK_END_ABORT 1u

struct chunk_end {
    uint64_t length;
    uint32_t crc32c;
    uint32_t flags;
};
static_assert(sizeof(struct chunk_end) == 16, "on the wire");

struct chunk_read_request {
    struct id128 id;
    uint64_t offset;
    uint64_t length;
};
static_assert(sizeof(struct chunk_read_request) == 32, "on the wire");

struct chunk_digests_request {
    uint32_t slice_bits;
};

struct chunk_list_request {
    uint32_t slice_bits;
    uint32_t slice;
    struct id128 after; /* zero: from the first */
};
static_assert(sizeof(struct chunk_list_request) == 24, "on the wire");

struct chunk_list_item {
    struct id128 id;
    uint64_t length;
    uint64_t age_ms; /* since it was written, or deleted */
    uint32_t crc32c;
    uint32_t state; /* enum chunk_state */
};
static_assert(sizeof(struct chunk_list_item) == 40, "on the wire");

struct store_status_reply {
    uint64_t chunks;
    uint64_t bytes;
    uint64_t disk_free_bytes;
    uint64_t disk_total_bytes;
    uint64_t missing_chunks;
    uint64_t repaired_chunks;
    uint32_t failed;
    uint32_t reserved;
};
static_assert(sizeof(struct store_status_reply) == 56, "on the wire");

/* The body, if it has exactly that size. */
static inline bool message_take(const struct buf *body, void *ret_message, size_t size) {
    if (body->size != size)
        return false;
    memcpy(ret_message, body->data, size);
    return true;
}

#endif
