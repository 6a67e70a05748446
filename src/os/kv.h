/* The state store: an ordered map of bytes, kept by RocksDB with its write-ahead log off or on (the
 * only user of that library). Any thread; snapshots and iterators belong to one thread. Keys sort
 * bytewise.
 *
 * A batch must not be written to while the current key of an iterator over it is looked at: copy
 * the key first. Any error of a write or flush is final: the caller stops (PAXOS.md 2.3 i). After
 * ERR_NOSPACE the store can be opened again once there is room. */
#ifndef QUERN_OS_KV_H
#define QUERN_OS_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct kv;
struct kv_batch;
struct kv_snapshot;
struct kv_iter;

struct kv_options {
    bool replaceable; /* what it holds is to be had again elsewhere: when it is found
                         corrupt it is marked so, and the process ends; */
    void (*corrupt)(void *context, const struct err *why); /* or, unless it is NULL, this is told,
                            by any thread, and who found it gets ERR_CORRUPT */
    void *context;
    bool wal;            /* false: what a crash finds is what was last flushed */
    const char *ballast; /* goes when opening or flushing lacks room (os/space.h); or NULL */
    uint64_t write_buffer_bytes; /* 0 = 16 MiB */
    uint64_t block_cache_bytes;  /* 0 = 16 MiB */
};

/* ERR_CORRUPT also when an earlier process has marked it. */
int kv_open(const char *path, const struct kv_options *options, struct kv **ret_kv,
            struct err *err);
/* Removes a store that is not open, and the mark. */
int kv_destroy(const char *path, struct err *err);

struct kv *kv_close(struct kv *kv);

/* 0, ERR_NOT_FOUND or an error; the value is appended to ret_value. snapshot may be NULL: the
 * newest state. */
int kv_get(struct kv *kv, const struct kv_snapshot *snapshot, struct span key,
           struct buf *ret_value, struct err *err);

/* Batches are atomic. They can be read through (own writes seen first): apply works on one. */
struct kv_batch *kv_batch_new(struct kv *kv);
struct kv_batch *kv_batch_free(struct kv_batch *batch);
void kv_batch_put(struct kv_batch *batch, struct span key, struct span value);
void kv_batch_delete(struct kv_batch *batch, struct span key);
int kv_batch_get(struct kv_batch *batch, struct span key, struct buf *ret_value, struct err *err);
struct kv_iter *kv_batch_iter(struct kv_batch *batch); /* over store and batch merged */
uint64_t kv_batch_count(const struct kv_batch *batch);
int kv_write(struct kv *kv, struct kv_batch *batch,
             struct err *err); /* the batch is empty afterwards */

struct kv_snapshot *kv_snapshot_new(struct kv *kv);
struct kv_snapshot *kv_snapshot_free(struct kv *kv, struct kv_snapshot *snapshot);

/* Iteration: seek, then while valid: key, value, next. Spans live until the next move. */
struct kv_iter *kv_iter_new(struct kv *kv, const struct kv_snapshot *snapshot);
struct kv_iter *kv_iter_free(struct kv_iter *iter);
void kv_iter_seek(struct kv_iter *iter, struct span key);
bool kv_iter_valid(const struct kv_iter *iter);
void kv_iter_next(struct kv_iter *iter);
struct span kv_iter_key(const struct kv_iter *iter);
struct span kv_iter_value(const struct kv_iter *iter);
int kv_iter_error(const struct kv_iter *iter, struct err *err); /* ask when it stops being valid */

/* What its files hold, and reading it for nothing but its checksums: on from *position (empty: from
 * the first key) about so many bytes; *position is empty again behind the last. What the cache of
 * blocks holds is not read. ERR_CORRUPT: unlike for all other readers, the process goes on. */
uint64_t kv_file_bytes(struct kv *kv);
int kv_scrub(struct kv *kv, struct buf *position, uint64_t bytes, uint64_t *ret_bytes,
             struct err *err);
/* What it holds is to be had anew: marked, so that it cannot be opened any more. Not of one that is
 * not replaceable. */
int kv_mark_corrupt(const struct kv *kv, struct err *err);
/* The like, and the process ends. Returns if it is not replaceable. */
void kv_give_up(const struct kv *kv, const struct err *why);

/* Whether a flush can be expected to find room; the ballast goes for it. True when it is not known.
 */
bool kv_has_room(struct kv *kv);

/* Everything written before is on the disk when it returns. Blocks; other threads go on. Goes by
 * the room there is: without much the store is not compacted until a later flush finds some. */
int kv_flush(struct kv *kv, struct err *err);

#endif
