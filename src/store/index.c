/* The index: kv keys are 'c', the big-endian hash that places the chunk on the ring, and its id; or
 * 'v' and a volume. */
#include "store/index.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/cleanup.h"
#include "core/place.h"
#include "os/kv.h"
#include "os/space.h"

#define DIGEST_COUNT (1u << PLACE_SLICE_BITS_MAX)
#define KV_BUFFER_BYTES ((uint64_t)4 << 20)

static_assert(sizeof(struct index_entry) == 48, "on disk");

struct chunk_key {
    char kind;
    uint8_t hash[8];
    uint8_t id[16];
};
static_assert(sizeof(struct chunk_key) == 25, "on disk");

struct volume_key {
    char kind;
    uint8_t number[8];
};

struct index {
    struct kv *kv;
    pthread_mutex_t lock; /* of changes, and what is below */
    uint64_t chunks;
    uint64_t bytes;
    uint64_t digests[DIGEST_COUNT]; /* by the top bits of the hash: the sum, modulo 2, of another
                                       hash of the ids */
};

static void put_big_endian(uint64_t value, uint8_t bytes[8]) {
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
}

static struct chunk_key chunk_key(struct id128 id) {
    struct chunk_key key = {.kind = 'c'};
    put_big_endian(place_hash(id), key.hash);
    memcpy(key.id, id.bytes, sizeof key.id);
    return key;
}

static struct volume_key volume_key(uint64_t number) {
    struct volume_key key = {.kind = 'v'};
    put_big_endian(number, key.number);
    return key;
}

#define SPAN_OF(object) ((struct span){(const char *)&(object), sizeof(object)})

/* A full disk is final here: what the kv failed to write it may not write later. */
static int index_final(int rc, const struct err *why, struct err *err) {
    if (rc == ERR_NOSPACE)
        space_panic(why, "the index of chunks");
    return rc == 0 ? 0 : err_set(err, rc, "%s", why->text);
}

static int index_write(struct index *index, struct kv_batch *batch, struct err *err) {
    struct err why = {0};
    int rc = kv_write(index->kv, batch, &why);
    kv_batch_free(batch);
    return index_final(rc, &why, err);
}

/* ---- counts and digests; under the lock ---- */

static void count(struct index *index, struct id128 id, const struct index_entry *entry, bool add) {
    if (entry->state != CHUNK_LIVE)
        return;
    index->chunks += add ? 1 : (uint64_t)-1;
    index->bytes += add ? entry->length : -entry->length;
    index->digests[place_hash(id) >> (64 - PLACE_SLICE_BITS_MAX)] ^=
        XXH3_64bits_withSeed(id.bytes, sizeof id.bytes, 1 /* not the ring's */);
}

/* ---- changes ---- */

static int entry_decode(struct span value, struct index_entry *ret_entry, struct err *err) {
    if (value.size != sizeof *ret_entry)
        return err_set(err, ERR_CORRUPT, "an index entry of %zu bytes", value.size);
    memcpy(ret_entry, value.data, sizeof *ret_entry);
    return 0;
}

int index_get(struct index *index, struct id128 id, struct index_entry *ret_entry,
              struct err *err) {
    struct chunk_key key = chunk_key(id);
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    int rc = kv_get(index->kv, NULL, SPAN_OF(key), &value, err);
    if (rc == ERR_NOT_FOUND) {
        *ret_entry = (struct index_entry){.state = CHUNK_NONE};
        return 0;
    }
    return rc != 0 ? rc : entry_decode(buf_span(&value), ret_entry, err);
}

static void batch_set(struct kv_batch *batch, struct id128 id, const struct index_entry *entry) {
    struct chunk_key key = chunk_key(id);
    if (entry->state == CHUNK_NONE)
        kv_batch_delete(batch, SPAN_OF(key));
    else
        kv_batch_put(batch, SPAN_OF(key), SPAN_OF(*entry));
}

/* Under the lock. */
static int replace(struct index *index, struct id128 id, const struct index_entry *from,
                   const struct index_entry *to, struct err *err) {
    struct kv_batch *batch = kv_batch_new(index->kv);
    batch_set(batch, id, to);
    int rc = index_write(index, batch, err);
    if (rc == 0) {
        count(index, id, from, false);
        count(index, id, to, true);
    }
    return rc;
}

int index_put(struct index *index, struct id128 id, const struct index_entry *entry,
              struct index_entry *ret_previous, struct err *err) {
    ASSERT(entry->state == CHUNK_LIVE || entry->state == CHUNK_BAD);
    struct index_entry previous;
    pthread_mutex_lock(&index->lock);
    int rc = index_get(index, id, &previous, err);
    if (rc == 0 && previous.state == CHUNK_LIVE)
        rc = err_set(err, ERR_EXISTS, "the chunk exists");
    else if (rc == 0 && previous.state == CHUNK_DEAD)
        rc = err_set(err, ERR_CONFLICT, "the chunk was deleted");
    else if (rc == 0)
        rc = replace(index, id, &previous, entry, err);
    pthread_mutex_unlock(&index->lock);
    if (rc == 0 || rc == ERR_EXISTS || rc == ERR_CONFLICT)
        *ret_previous = previous;
    return rc;
}

int index_mark_bad(struct index *index, struct id128 id, struct err *err) {
    struct index_entry entry;
    pthread_mutex_lock(&index->lock);
    int rc = index_get(index, id, &entry, err);
    if (rc == 0 && entry.state == CHUNK_LIVE) {
        struct index_entry bad = entry;
        bad.state = CHUNK_BAD;
        rc = replace(index, id, &entry, &bad, err);
    }
    pthread_mutex_unlock(&index->lock);
    return rc;
}

/* Under the lock. */
static int kill_one(struct index *index, struct id128 id, uint64_t now_ms,
                    struct index_item *ret_items, unsigned *ret_dead, struct err *err) {
    struct index_entry entry;
    int rc = index_get(index, id, &entry, err);
    if (rc != 0 || entry.state == CHUNK_DEAD)
        return rc;
    struct index_entry dead = entry;
    dead.state = CHUNK_DEAD;
    dead.time_ms = now_ms;
    if (entry.state == CHUNK_NONE)
        dead.volume = INDEX_VOLUME_NONE;
    rc = replace(index, id, &entry, &dead, err);
    if (rc == 0 && entry.state != CHUNK_NONE)
        ret_items[(*ret_dead)++] = (struct index_item){id, dead};
    return rc;
}

int index_flush(struct index *index, struct err *err) {
    struct err why = {0};
    int rc = kv_flush(index->kv, &why);
    return index_final(rc, &why, err);
}

int index_kill(struct index *index, const struct id128 *ids, unsigned id_count, uint64_t now_ms,
               struct index_item *ret_items, unsigned *ret_dead, struct err *err) {
    int rc = 0;
    *ret_dead = 0;
    pthread_mutex_lock(&index->lock);
    for (unsigned i = 0; rc == 0 && i < id_count; i++)
        rc = kill_one(index, ids[i], now_ms, ret_items, ret_dead, err);
    pthread_mutex_unlock(&index->lock);
    return rc != 0 ? rc : index_flush(index, err);
}

int index_freed(struct index *index, const struct index_item *item, struct err *err) {
    struct index_entry freed = item->entry;
    freed.volume = INDEX_VOLUME_NONE;
    pthread_mutex_lock(&index->lock);
    int rc = replace(index, item->id, &item->entry, &freed, err);
    pthread_mutex_unlock(&index->lock);
    return rc;
}

/* ---- volumes ---- */

int index_note_volume(struct index *index, uint64_t number, struct err *err) {
    struct volume_key key = volume_key(number);
    struct kv_batch *batch = kv_batch_new(index->kv);
    kv_batch_put(batch, SPAN_OF(key), SPAN_LITERAL(""));
    return index_write(index, batch, err);
}

int index_forget_volume(struct index *index, uint64_t number, struct err *err) {
    struct volume_key key = volume_key(number);
    struct kv_batch *batch = kv_batch_new(index->kv);
    kv_batch_delete(batch, SPAN_OF(key));
    return index_write(index, batch, err);
}

bool index_has_volume(struct index *index, uint64_t number) {
    struct volume_key key = volume_key(number);
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    return kv_get(index->kv, NULL, SPAN_OF(key), &value, NULL) == 0;
}

/* ---- opening ---- */

int index_open(const char *path, const char *ballast, struct index **ret_index, struct err *err) {
    struct index *index = calloc(1, sizeof *index);
    if (index == NULL)
        return err_set(err, ERR_NOMEM, "index");
    struct kv_options options = {.replaceable = true,
                                 .ballast = ballast,
                                 .write_buffer_bytes = KV_BUFFER_BYTES,
                                 .block_cache_bytes = KV_BUFFER_BYTES};
    int rc = kv_open(path, &options, &index->kv, err);
    if (rc == ERR_CORRUPT) {
        log_error("%s; the index is made anew from the volumes", err->text);
        rc = kv_destroy(path, err);
        if (rc == 0)
            rc = kv_open(path, &options, &index->kv, err);
    }
    if (rc != 0) {
        free(index);
        return rc;
    }
    pthread_mutex_init(&index->lock, NULL);
    *ret_index = index;
    return 0;
}

bool index_has_room(struct index *index) {
    return kv_has_room(index->kv);
}

struct index *index_close(struct index *index) {
    if (index == NULL)
        return NULL;
    (void)kv_flush(index->kv, NULL); /* what is lost is found again in the volumes */
    kv_close(index->kv);
    pthread_mutex_destroy(&index->lock);
    free(index);
    return NULL;
}

static int item_decode(struct kv_iter *iter, struct index_item *ret_item, struct err *err) {
    struct span key = kv_iter_key(iter);
    if (key.size != sizeof(struct chunk_key))
        return err_set(err, ERR_CORRUPT, "an index key of %zu bytes", key.size);
    memcpy(ret_item->id.bytes, key.data + offsetof(struct chunk_key, id),
           sizeof ret_item->id.bytes);
    return entry_decode(kv_iter_value(iter), &ret_item->entry, err);
}

/* Calls with each item in the order of keys. */
static int for_each_item(struct index *index,
                         int (*visit)(struct index *index, struct index_item *item, void *context,
                                      struct err *err),
                         void *context, struct err *err) {
    struct kv_iter *iter = kv_iter_new(index->kv, NULL);
    int rc = 0;
    for (kv_iter_seek(iter, SPAN_LITERAL("c"));
         rc == 0 && kv_iter_valid(iter) && *kv_iter_key(iter).data == 'c'; kv_iter_next(iter)) {
        struct index_item item;
        rc = item_decode(iter, &item, err);
        if (rc == 0)
            rc = visit(index, &item, context, err);
    }
    if (rc == 0)
        rc = kv_iter_error(iter, err);
    kv_iter_free(iter);
    return rc;
}

struct load {
    index_visit *visit;
    void *context;
};

static int load_item(struct index *index, struct index_item *item, void *context, struct err *err) {
    const struct load *load = context;
    struct index_entry before = item->entry;
    int rc = load->visit(load->context, item, err);
    if (rc != 0)
        return rc;
    count(index, item->id, &before, true);
    bool same = memcmp(&before, &item->entry, sizeof before) == 0;
    return same ? 0 : replace(index, item->id, &before, &item->entry, err);
}

int index_load(struct index *index, index_visit *visit, void *context, struct err *err) {
    struct load load = {visit, context};
    return for_each_item(index, load_item, &load, err);
}

static int expire_item(struct index *index, struct index_item *item, void *context,
                       struct err *err) {
    uint64_t now_ms = *(const uint64_t *)context;
    const struct index_entry *entry = &item->entry;
    if (entry->state != CHUNK_DEAD || entry->volume != INDEX_VOLUME_NONE ||
        now_ms < entry->time_ms || now_ms - entry->time_ms <= INDEX_TOMBSTONE_MS)
        return 0;
    pthread_mutex_lock(&index->lock);
    int rc = replace(index, item->id, entry, &(struct index_entry){.state = CHUNK_NONE}, err);
    pthread_mutex_unlock(&index->lock);
    return rc;
}

int index_expire(struct index *index, uint64_t now_ms, struct err *err) {
    return for_each_item(index, expire_item, &now_ms, err);
}

/* ---- slices ---- */

void index_digests(struct index *index, unsigned slice_bits, uint64_t *ret_digests) {
    ASSERT(slice_bits <= PLACE_SLICE_BITS_MAX);
    unsigned shift = PLACE_SLICE_BITS_MAX - slice_bits;
    memset(ret_digests, 0, sizeof *ret_digests << slice_bits);
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < DIGEST_COUNT; i++)
        ret_digests[i >> shift] ^= index->digests[i];
    pthread_mutex_unlock(&index->lock);
}

int index_list(struct index *index, unsigned slice_bits, uint32_t slice, struct id128 after,
               struct index_item *ret_items, unsigned room, unsigned *ret_count, struct err *err) {
    ASSERT(slice_bits <= PLACE_SLICE_BITS_MAX && slice >> slice_bits == 0);
    struct chunk_key from = {.kind = 'c'};
    if (id128_is_zero(after))
        put_big_endian(slice_bits > 0 ? (uint64_t)slice << (64 - slice_bits) : 0, from.hash);
    else
        from = chunk_key(after);
    unsigned found = 0;
    int rc = 0;
    struct kv_iter *iter = kv_iter_new(index->kv, NULL);
    for (kv_iter_seek(iter, SPAN_OF(from)); rc == 0 && found < room && kv_iter_valid(iter);
         kv_iter_next(iter)) {
        struct index_item item;
        if (*kv_iter_key(iter).data != 'c')
            break;
        rc = item_decode(iter, &item, err);
        if (rc != 0 || id128_equal(item.id, after))
            continue;
        if (slice_bits > 0 && place_hash(item.id) >> (64 - slice_bits) != slice)
            break;
        ret_items[found++] = item;
    }
    if (rc == 0)
        rc = kv_iter_error(iter, err);
    kv_iter_free(iter);
    if (rc == 0)
        *ret_count = found;
    return rc;
}

void index_totals(struct index *index, uint64_t *ret_chunks, uint64_t *ret_bytes) {
    pthread_mutex_lock(&index->lock);
    *ret_chunks = index->chunks;
    *ret_bytes = index->bytes;
    pthread_mutex_unlock(&index->lock);
}
