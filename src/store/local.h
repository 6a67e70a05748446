/* The chunks of this node, by direct call: what the server and the client of a node with the store
 * role use. Any thread, one thread a write. */
#ifndef QUERN_STORE_LOCAL_H
#define QUERN_STORE_LOCAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/chunk.h"
#include "store/index.h"
#include "store/store.h"
#include "store/volume.h"

#define VERIFIED_MAX 2048u
#define LOCAL_PIECE_BYTES ((size_t)256 << 10) /* what is read, verified and handed on at once */

struct chunk_scrub;
struct repair;

struct store {
    struct rpc_identity identity;
    struct rpc_client *client;
    struct volumes *volumes;
    struct index *index;
    atomic_bool
        failed; /* a write or sync failed: the disk is not trusted, nothing more is written */
    struct meta_client *_Atomic meta; /* NULL until there is a catalogue */
    struct repair *_Atomic repair;    /* NULL until it begins */
    struct chunk_scrub *scrub;        /* the like */
    pthread_mutex_t lock;             /* guards what is below */
    struct id128
        verified[VERIFIED_MAX]; /* chunks written or wholly verified since the start; a lossy set */
};

/* ---- opening (recover.c, store.c) ---- */

/* Brings the index and the volumes into agreement, at start: what the index lost is read from the
 * volumes, what has no volume is forgotten, and deaths that were not carried out are. */
int store_recover(struct store *store, struct err *err);

/* Passes rc on; after an error of the disk the store takes no more writes. */
int store_check(struct store *store, int rc);

/* ---- writing (write.c) ---- */

struct local_write;

/* A chunk of at most length_max bytes. ERR_EXISTS, ERR_CONFLICT (it was deleted), ERR_NOSPACE,
 * ERR_LIMIT, ERR_IO. */
int local_write_begin(struct store *store, struct id128 id, uint64_t length_max,
                      struct local_write **ret_write, struct err *err);
int local_write_append(struct local_write *write, const void *data, size_t size, struct err *err);
/* Durable when it returns 0, also when another write of the same chunk won. ERR_CORRUPT when what
 * was written is not length bytes with that checksum. Frees the write either way. */
int local_write_end(struct local_write *write, uint64_t length, uint32_t crc32c, struct err *err);
struct local_write *local_write_abort(struct local_write *write); /* NULL is fine */

/* ---- reading (read.c) ---- */

/* As store_read, of this node's copy. ERR_NOT_FOUND, ERR_INVALID (beyond the end), ERR_CORRUPT:
 * then the copy is taken for bad. */
int local_read(struct store *store, struct id128 id, uint64_t offset, uint64_t length,
               store_sink *sink, void *context, struct err *err);
int local_open(struct store *store, struct id128 id, int *ret_fd, struct err *err);
/* The like, of all of it, as it is on the disk: what the kernel has of it in memory is forgotten
 * before and after. */
int local_verify(struct store *store, struct id128 id, struct err *err);
/* Reads the whole chunk behind a header and checks it. */
int chunk_verify(const struct volume *volume, const struct chunk_header *header, struct err *err);
void store_note_verified(struct store *store, struct id128 id);
bool store_is_verified(struct store *store, struct id128 id);

/* ---- deleting (delete.c) ---- */

/* Durable when it returns; the space is given back. ERR_NOSPACE: not even for that; try again. */
int local_delete(struct store *store, const struct id128 *ids, unsigned count, struct err *err);
/* Gives back the space of a dead chunk; that of volumes without chunks. */
int store_free_item(struct store *store, const struct index_item *item, struct err *err);
int store_drop_empty_volumes(struct store *store, struct err *err);

/* Bytes of its region. */
static inline uint64_t index_entry_bytes(const struct index_entry *entry) {
    return entry->room_bytes + volume_align(entry->length);
}

#endif
