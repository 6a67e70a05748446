/* Where each chunk is, and which are dead: an ordered map in os/kv, without a log of its own. What
 * a crash takes from it is always the newest part, and is found again in the volumes; all of it can
 * be.
 *
 * Keys sort by the chunk's place on the ring, so that a slice is a range. For each slice there is a
 * digest of the ids of its sound chunks, kept in memory: two holders of a slice compare them. Any
 * thread. */
#ifndef QUERN_STORE_INDEX_H
#define QUERN_STORE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"

enum chunk_state {
    CHUNK_NONE, /* never heard of; not stored */
    CHUNK_LIVE,
    CHUNK_BAD,  /* this copy fails its checksums; to be fetched again */
    CHUNK_DEAD, /* deleted: a tombstone, so that nobody brings it back */
};

#define INDEX_VOLUME_NONE UINT64_MAX /* a tombstone whose space was given back */

struct index_entry {
    uint64_t volume; /* number; 0 = its own */
    uint64_t offset; /* of its header */
    uint64_t length;
    uint64_t time_ms; /* wall clock: written, or deleted */
    uint32_t crc32c;
    uint32_t room_bytes; /* from header to data */
    uint32_t state;      /* enum chunk_state */
    uint32_t reserved;
};

struct index_item {
    struct id128 id;
    struct index_entry entry;
};

struct index;

/* Opens or makes it; one that is corrupt is made anew, from the volumes. Follow with index_load,
 * before other threads. ballast: os/kv.h. */
int index_open(const char *path, const char *ballast, struct index **ret_index, struct err *err);
/* As kv_has_room: a deletion is durable only once it is flushed. */
bool index_has_room(struct index *index);
struct index *index_close(struct index *index); /* flushes first; NULL is fine */

/* Calls for every chunk, and keeps what visit makes of item->entry; CHUNK_NONE forgets it. Builds
 * the digests. */
typedef int index_visit(void *context, struct index_item *item, struct err *err);
int index_load(struct index *index, index_visit *visit, void *context, struct err *err);

/* Forgets tombstones whose space was given back and that are older than INDEX_TOMBSTONE_MS. */
#define INDEX_TOMBSTONE_MS ((uint64_t)7 * 24 * 3600 * 1000)
int index_expire(struct index *index, uint64_t now_ms, struct err *err);

/* entry->state is CHUNK_NONE when it was never heard of. */
int index_get(struct index *index, struct id128 id, struct index_entry *ret_entry, struct err *err);

/* Adds a chunk, or replaces a bad copy; *ret_previous is what was there. ERR_EXISTS when there is a
 * live one, ERR_CONFLICT when it was deleted; *ret_previous is set then, too. */
int index_put(struct index *index, struct id128 id, const struct index_entry *entry,
              struct index_entry *ret_previous, struct err *err);

/* Takes a live copy for bad. */
int index_mark_bad(struct index *index, struct id128 id, struct err *err);

/* Makes tombstones, durable when it returns. ret_items (count of them) are those that had space to
 * give back; their number goes to *ret_dead. The ids of chunks never seen are remembered, too. */
int index_kill(struct index *index, const struct id128 *ids, unsigned count, uint64_t now_ms,
               struct index_item *ret_items, unsigned *ret_dead, struct err *err);
/* Notes that the space of a dead chunk was given back. */
int index_freed(struct index *index, const struct index_item *item, struct err *err);

/* Volumes all of whose chunks the index has: recovery need not look into them. */
int index_note_volume(struct index *index, uint64_t number, struct err *err);
int index_forget_volume(struct index *index, uint64_t number, struct err *err);
bool index_has_volume(struct index *index, uint64_t number);

int index_flush(struct index *index, struct err *err);

/* ---- slices; a slice is one of 2^slice_bits ---- */

/* 2^slice_bits digests. */
void index_digests(struct index *index, unsigned slice_bits, uint64_t *ret_digests);
/* Chunks of a slice in a fixed order, also bad and dead ones: those after *after, or from the first
 * if it is zero. */
int index_list(struct index *index, unsigned slice_bits, uint32_t slice, struct id128 after,
               struct index_item *ret_items, unsigned room, unsigned *ret_count, struct err *err);

void index_totals(struct index *index, uint64_t *ret_chunks,
                  uint64_t *ret_bytes); /* of live ones */

#endif
