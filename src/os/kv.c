/* The state store over RocksDB's C interface: one column family, small buffers, two background
 * threads. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/file.h"
#include "os/kv_impl.h"
#include "os/space.h"

#define BUFFER_BYTES_DEFAULT ((uint64_t)16 << 20)
#define OPEN_FILES_MAX 512
#define LOG_FILE_BYTES_MAX ((size_t)1 << 20) /* RocksDB's own log of its doings */
#define BLOOM_BITS_PER_KEY 10
/* A compaction writes anew what it reads before that goes: small files and levels keep it below
 * SPACE_COMPACT_BYTES. */
#define TABLE_BYTES ((uint64_t)8 << 20)
#define LEVEL_BYTES ((uint64_t)64 << 20)

struct kv_batch {
    struct kv *kv;
    rocksdb_writebatch_wi_t *writes;
};

struct kv_snapshot {
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
};

struct kv_iter {
    const struct kv *kv;
    rocksdb_iterator_t *iter;
};

int kv_mark_corrupt(const struct kv *kv, struct err *err) {
    ASSERT(kv->mark != NULL);
    return file_replace(kv->mark, 0600, (struct span){"", 0}, err);
}

/* A process that goes on would only find it again. */
static noreturn void end_corrupt(const struct kv *kv, const char *message) {
    struct err err = {0};
    if (kv_mark_corrupt(kv, &err) != 0)
        panic("the store is corrupt (%s), and this cannot be noted: %s", message, err.text);
    panic("the store is corrupt and is made anew at the next start: %s", message);
}

int kv_error_take(const struct kv *kv, char *message, const char *doing, struct err *err) {
    int code = ERR_IO;
    if (strstr(message, "No space left") != NULL || strstr(message, "quota exceeded") != NULL)
        code = ERR_NOSPACE;
    else if (strncmp(message, "Corruption", strlen("Corruption")) == 0)
        code = ERR_CORRUPT;
    bool replaceable = code == ERR_CORRUPT && kv != NULL && kv->mark != NULL;
    if (replaceable && kv->corrupt == NULL)
        end_corrupt(kv, message);
    struct err story = {0};
    err_set(&story, code, "%s: %s", doing, message);
    rocksdb_free(message);
    if (replaceable)
        kv->corrupt(kv->context, &story);
    return err_set(err, code, "%s", story.text);
}

void kv_give_up(const struct kv *kv, const struct err *why) {
    if (kv->mark != NULL)
        end_corrupt(kv, why->text);
}

static void *allocated(void *memory) {
    if (memory == NULL)
        panic("out of memory in the state store");
    return memory;
}

static rocksdb_options_t *options_new(const struct kv_options *wanted) {
    uint64_t buffer =
        wanted->write_buffer_bytes > 0 ? wanted->write_buffer_bytes : BUFFER_BYTES_DEFAULT;
    uint64_t cache =
        wanted->block_cache_bytes > 0 ? wanted->block_cache_bytes : BUFFER_BYTES_DEFAULT;
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_write_buffer_size(options, buffer);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_target_file_size_base(options, TABLE_BYTES);
    rocksdb_options_set_max_bytes_for_level_base(options, LEVEL_BYTES);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_max_file_opening_threads(options, 1);
    rocksdb_options_set_info_log_level(options, 2 /* warnings */);
    rocksdb_options_set_max_log_file_size(options, LOG_FILE_BYTES_MAX);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);

    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *blocks = rocksdb_cache_create_lru(cache);
    rocksdb_block_based_options_set_block_cache(table, blocks);
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_cache_destroy(blocks); /* the table factory holds its own references */
    rocksdb_block_based_options_destroy(table);
    return options;
}

static char *mark_of(const char *path) {
    char *mark;
    if (asprintf(&mark, "%s.corrupt", path) < 0)
        panic("out of memory for a path");
    return mark;
}

/* ---- room ---- */

/* Also when it is not known. */
static bool has_bytes(const char *path, uint64_t bytes) {
    uint64_t free_bytes, total_bytes;
    return space_get(path, &free_bytes, &total_bytes, NULL) != 0 || free_bytes >= bytes;
}

bool kv_has_room(struct kv *kv) {
    space_make_room(kv->ballast);
    return has_bytes(kv->path, SPACE_NONE_BYTES);
}

/* A compaction that fails for want of room stops RocksDB's background work for good. */
static void mind_room(struct kv *kv) {
    bool compacts = has_bytes(kv->path, SPACE_COMPACT_BYTES);
    const char *key = "disable_auto_compactions", *value = compacts ? "false" : "true";
    char *message = NULL;
    space_make_room(kv->ballast);
    if (atomic_exchange(&kv->compacts, compacts) == compacts)
        return;
    rocksdb_set_options(kv->db, 1, &key, &value, &message);
    if (message != NULL)
        atomic_store(&kv->compacts, !compacts); /* the next flush tries again */
    rocksdb_free(message);
}

/* ---- opening ---- */

int kv_destroy(const char *path, struct err *err) {
    _cleanup_(freep) char *mark = mark_of(path);
    rocksdb_options_t *options = rocksdb_options_create();
    char *message = NULL;
    rocksdb_destroy_db(options, path, &message);
    rocksdb_options_destroy(options);
    if (message != NULL)
        return kv_error_take(NULL, message, "removing the state store", err);
    if (unlink(mark) != 0 && errno != ENOENT)
        return err_errno(err, errno, "%s", mark);
    return 0;
}

int kv_open(const char *path, const struct kv_options *wanted, struct kv **ret_kv,
            struct err *err) {
    _cleanup_(freep) char *mark = mark_of(path);
    if (access(mark, F_OK) == 0)
        return err_set(err, ERR_CORRUPT, "opening the state store: it was found corrupt before");
    space_make_room(wanted->ballast);
    bool compacts = has_bytes(path, SPACE_COMPACT_BYTES);
    rocksdb_options_t *options = options_new(wanted);
    rocksdb_options_set_disable_auto_compactions(options, !compacts);
    char *message = NULL;
    rocksdb_t *db = rocksdb_open(options, path, &message);
    rocksdb_options_destroy(options);
    if (message != NULL)
        return kv_error_take(NULL, message, "opening the state store", err);

    struct kv *kv = allocated(calloc(1, sizeof *kv));
    kv->db = db;
    kv->path = allocated(strdup(path));
    kv->ballast = wanted->ballast != NULL ? allocated(strdup(wanted->ballast)) : NULL;
    kv->compacts = compacts;
    if (wanted->replaceable) {
        kv->mark = mark;
        mark = NULL;
        kv->corrupt = wanted->corrupt;
        kv->context = wanted->context;
    }
    kv->read = rocksdb_readoptions_create();
    kv->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(kv->write, !wanted->wal);
    rocksdb_writeoptions_set_sync(kv->write, wanted->wal);
    kv->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(kv->flush, 1);
    *ret_kv = kv;
    return 0;
}

struct kv *kv_close(struct kv *kv) {
    if (kv == NULL)
        return NULL;
    rocksdb_close(kv->db);
    free(kv->path);
    free(kv->mark);
    free(kv->ballast);
    rocksdb_readoptions_destroy(kv->read);
    rocksdb_writeoptions_destroy(kv->write);
    rocksdb_flushoptions_destroy(kv->flush);
    free(kv);
    return NULL;
}

static int appended(struct buf *buf, const char *value, size_t size, struct err *err) {
    buf_append(buf, value, size);
    return buf->failed ? err_set(err, ERR_NOMEM, "a value of %zu bytes", size) : 0;
}

int kv_get(struct kv *kv, const struct kv_snapshot *snapshot, struct span key,
           struct buf *ret_value, struct err *err) {
    char *message = NULL;
    const rocksdb_readoptions_t *read = snapshot != NULL ? snapshot->read : kv->read;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(kv->db, read, key.data, key.size, &message);
    if (message != NULL)
        return kv_error_take(kv, message, "reading the state store", err);
    if (slice == NULL)
        return err_set(err, ERR_NOT_FOUND, "no such key");
    size_t size;
    const char *value = rocksdb_pinnableslice_value(slice, &size);
    int r = appended(ret_value, value, size, err);
    rocksdb_pinnableslice_destroy(slice);
    return r;
}

struct kv_batch *kv_batch_new(struct kv *kv) {
    struct kv_batch *batch = allocated(malloc(sizeof *batch));
    batch->kv = kv;
    batch->writes =
        rocksdb_writebatch_wi_create(0, 1 /* a key's later write replaces the earlier */);
    return batch;
}

struct kv_batch *kv_batch_free(struct kv_batch *batch) {
    if (batch == NULL)
        return NULL;
    rocksdb_writebatch_wi_destroy(batch->writes);
    free(batch);
    return NULL;
}

void kv_batch_put(struct kv_batch *batch, struct span key, struct span value) {
    rocksdb_writebatch_wi_put(batch->writes, key.data, key.size, value.data, value.size);
}

void kv_batch_delete(struct kv_batch *batch, struct span key) {
    rocksdb_writebatch_wi_delete(batch->writes, key.data, key.size);
}

int kv_batch_get(struct kv_batch *batch, struct span key, struct buf *ret_value, struct err *err) {
    char *message = NULL;
    size_t size;
    char *value = rocksdb_writebatch_wi_get_from_batch_and_db(
        batch->writes, batch->kv->db, batch->kv->read, key.data, key.size, &size, &message);
    if (message != NULL)
        return kv_error_take(batch->kv, message, "reading the state store", err);
    if (value == NULL)
        return err_set(err, ERR_NOT_FOUND, "no such key");
    int r = appended(ret_value, value, size, err);
    rocksdb_free(value);
    return r;
}

uint64_t kv_batch_count(const struct kv_batch *batch) {
    return (uint64_t)rocksdb_writebatch_wi_count(batch->writes);
}

int kv_write(struct kv *kv, struct kv_batch *batch, struct err *err) {
    char *message = NULL;
    rocksdb_write_writebatch_wi(kv->db, kv->write, batch->writes, &message);
    rocksdb_writebatch_wi_clear(batch->writes);
    return message != NULL ? kv_error_take(kv, message, "writing the state store", err) : 0;
}

struct kv_snapshot *kv_snapshot_new(struct kv *kv) {
    struct kv_snapshot *snapshot = allocated(malloc(sizeof *snapshot));
    snapshot->snapshot = rocksdb_create_snapshot(kv->db);
    snapshot->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->snapshot);
    return snapshot;
}

struct kv_snapshot *kv_snapshot_free(struct kv *kv, struct kv_snapshot *snapshot) {
    if (snapshot == NULL)
        return NULL;
    rocksdb_readoptions_destroy(snapshot->read);
    rocksdb_release_snapshot(kv->db, snapshot->snapshot);
    free(snapshot);
    return NULL;
}

static struct kv_iter *iter_wrap(const struct kv *kv, rocksdb_iterator_t *rocks) {
    struct kv_iter *iter = allocated(malloc(sizeof *iter));
    iter->kv = kv;
    iter->iter = rocks;
    return iter;
}

struct kv_iter *kv_iter_new(struct kv *kv, const struct kv_snapshot *snapshot) {
    return iter_wrap(kv,
                     rocksdb_create_iterator(kv->db, snapshot != NULL ? snapshot->read : kv->read));
}

struct kv_iter *kv_batch_iter(struct kv_batch *batch) {
    rocksdb_iterator_t *store = rocksdb_create_iterator(batch->kv->db, batch->kv->read);
    return iter_wrap(batch->kv,
                     rocksdb_writebatch_wi_create_iterator_with_base(batch->writes, store));
}

struct kv_iter *kv_iter_free(struct kv_iter *iter) {
    if (iter == NULL)
        return NULL;
    rocksdb_iter_destroy(iter->iter);
    free(iter);
    return NULL;
}

void kv_iter_seek(struct kv_iter *iter, struct span key) {
    rocksdb_iter_seek(iter->iter, key.data, key.size);
}

bool kv_iter_valid(const struct kv_iter *iter) {
    return rocksdb_iter_valid(iter->iter);
}

void kv_iter_next(struct kv_iter *iter) {
    rocksdb_iter_next(iter->iter);
}

struct span kv_iter_key(const struct kv_iter *iter) {
    struct span key;
    key.data = rocksdb_iter_key(iter->iter, &key.size);
    return key;
}

struct span kv_iter_value(const struct kv_iter *iter) {
    struct span value;
    value.data = rocksdb_iter_value(iter->iter, &value.size);
    return value;
}

int kv_iter_error(const struct kv_iter *iter, struct err *err) {
    char *message = NULL;
    rocksdb_iter_get_error(iter->iter, &message);
    return message != NULL ? kv_error_take(iter->kv, message, "reading the state store", err) : 0;
}

int kv_flush(struct kv *kv, struct err *err) {
    char *message = NULL;
    mind_room(kv);
    rocksdb_flush(kv->db, kv->flush, &message);
    return message != NULL ? kv_error_take(kv, message, "flushing the state store", err) : 0;
}
