/* Volume files: DIR/NUMBER.volume, shared by many small chunks, and DIR/CHUNK.chunk, which has one
 * large chunk and ends where its data ends, so that a task can have it as its stdin. While a large
 * chunk is written its file is called CHUNK.new: whatever has that name at start was never
 * finished.
 *
 * Space of a shared volume is reserved by region, written by many threads at once, and given back
 * by punching holes. Any thread. Errors of the files themselves are ERR_IO, ERR_NOSPACE,
 * ERR_CORRUPT. */
#ifndef QUERN_STORE_VOLUME_H
#define QUERN_STORE_VOLUME_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "store/chunk.h"
#include "store/sync.h"

#define VOLUME_BYTES_MAX ((uint64_t)1 << 30)        /* of a shared one */
#define VOLUME_SHARED_BYTES_MAX ((uint64_t)4 << 20) /* chunks below it share a volume */
#define VOLUME_NAME_SIZE 48

struct volumes;

struct volume {
    struct volumes *set;
    atomic_uint refs;
    uint64_t number; /* its birth in ms since 1970; 0 = of one chunk */
    uint64_t key;
    int fd;
    char name[VOLUME_NAME_SIZE]; /* in the folder */
    struct sync_group sync;
    /* of a shared one, under the set's lock: */
    uint64_t end;     /* the next region begins here */
    uint64_t live;    /* regions in use */
    unsigned writers; /* regions being written */
    bool sealed;      /* takes no more regions */
    bool noted;       /* the index knows that it is complete */
};

/* ---- the set ---- */

/* Opens the shared volumes of a folder (made when absent) and removes unfinished files. A volume of
 * a newer format is refused with ERR_VERSION. */
int volumes_open(const char *dir, struct id128 incarnation, struct volumes **ret_set,
                 struct err *err);
struct volumes *volumes_close(struct volumes *set);

/* A region of a shared volume; the caller has a reference to it. End with volume_end_region. */
int volumes_reserve(struct volumes *set, uint64_t bytes, struct volume **ret_volume,
                    uint64_t *ret_offset, struct err *err);
/* A new volume for one chunk; ERR_EXISTS while another thread writes the same. End with
 * volume_publish or volume_discard. */
int volumes_create_own(struct volumes *set, struct id128 chunk_id, struct volume **ret_volume,
                       struct err *err);

/* The volume with that number, or the chunk's own if 0; ERR_NOT_FOUND. The caller has a reference.
 */
int volumes_get(struct volumes *set, uint64_t number, struct id128 chunk_id,
                struct volume **ret_volume, struct err *err);

/* The space of a dead chunk: its file goes, or a hole is made. The caller made the death durable
 * before. */
int volumes_free_chunk(struct volumes *set, uint64_t number, struct id128 chunk_id, uint64_t offset,
                       uint64_t bytes, struct err *err);

/* Removes a volume that takes no more chunks and has none; *ret_number is 0 when there is none
 * such. */
int volumes_drop_empty(struct volumes *set, uint64_t *ret_number, struct err *err);

/* The number of a volume that takes no more chunks and has no writers, once for each; 0 = none. */
uint64_t volumes_next_complete(struct volumes *set);

int volumes_disk_space(const struct volumes *set, uint64_t *ret_free, uint64_t *ret_total,
                       struct err *err);

/* ---- the set at start, before other threads ---- */

typedef int volumes_visit_shared(void *context, struct volume *volume, struct err *err);
typedef int volumes_visit_own(void *context, struct id128 chunk_id, struct err *err);
/* Calls for each; not 0 ends it with that code. */
int volumes_each_shared(struct volumes *set, volumes_visit_shared *visit, void *context,
                        struct err *err);
int volumes_each_own(struct volumes *set, volumes_visit_own *visit, void *context, struct err *err);
/* Counts a chunk that the index has; false when its volume is not there. */
bool volumes_count_chunk(struct volumes *set, uint64_t number, struct id128 chunk_id);
/* The end of recovery: the newest volume that is not sealed takes new chunks, all others are
 * sealed. */
void volumes_recovered(struct volumes *set);

/* ---- one volume ---- */

struct volume *volume_unref(struct volume *volume); /* NULL is fine */

/* Gives the volume of one chunk its final name, in place of an older one. Not yet durable:
 * volume_sync. */
int volume_publish(struct volume *volume, struct id128 chunk_id, struct err *err);
void volume_discard(struct volume *volume); /* it was never synced */

/* The data and, of one chunk, the name are on the disk. Shared by all that wait. A failure is
 * final for the volume, after ERR_NOSPACE for that one only: volume_give_up. */
int volume_sync(struct volume *volume, struct err *err);

/* What was written could not be synced for want of room, nor can it in future: a shared volume
 * takes no more chunks. The region, or the volume of one chunk, is still to be ended or discarded.
 */
void volume_give_up(struct volume *volume);

/* The end of writing a region. What is behind its first `used` bytes is given back: all of it, if
 * 0. */
void volume_end_region(struct volume *volume, uint64_t offset, uint64_t bytes, uint64_t used);

/* Best effort: what cannot be given back now goes with the volume. */
void volume_punch(const struct volume *volume, uint64_t offset, uint64_t bytes);

/* The sound header at offset, malloc'd; else ERR_CORRUPT. */
int volume_read_header(const struct volume *volume, uint64_t offset,
                       struct chunk_header **ret_header, struct err *err);

#endif
