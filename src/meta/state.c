/* The state store behind the catalogue's table of functions. */
#include "meta/state.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/le.h"

/* ---- what catalogue iterators are: store iterators ---- */

static void iter_free(void *iter) {
    kv_iter_free(iter);
}

static void iter_seek(void *iter, struct span key) {
    kv_iter_seek(iter, key);
}

static bool iter_valid(void *iter) {
    return kv_iter_valid(iter);
}

static void iter_next(void *iter) {
    kv_iter_next(iter);
}

static struct span iter_key(void *iter) {
    return kv_iter_key(iter);
}

static struct span iter_value(void *iter) {
    return kv_iter_value(iter);
}

static int iter_error(void *iter, struct err *err) {
    return kv_iter_error(iter, err);
}

static struct catalog_kv view_of(void *context) {
    return (struct catalog_kv){.context = context,
                               .iter_free = iter_free,
                               .iter_seek = iter_seek,
                               .iter_valid = iter_valid,
                               .iter_next = iter_next,
                               .iter_key = iter_key,
                               .iter_value = iter_value,
                               .iter_error = iter_error};
}

/* ---- a batch ---- */

static int batch_get(void *context, struct span key, struct buf *ret_value, struct err *err) {
    return kv_batch_get(context, key, ret_value, err);
}

static void batch_put(void *context, struct span key, struct span value) {
    kv_batch_put(context, key, value);
}

static void batch_delete(void *context, struct span key) {
    kv_batch_delete(context, key);
}

static void *batch_iter(void *context) {
    return kv_batch_iter(context);
}

struct catalog_kv state_batch_view(struct kv_batch *batch) {
    struct catalog_kv view = view_of(batch);
    view.get = batch_get;
    view.put = batch_put;
    view.del = batch_delete;
    view.iter_new = batch_iter;
    return view;
}

/* ---- one moment ---- */

static int reader_get(void *context, struct span key, struct buf *ret_value, struct err *err) {
    struct state_reader *reader = context;
    return kv_get(reader->kv, reader->snapshot, key, ret_value, err);
}

static void *reader_iter(void *context) {
    struct state_reader *reader = context;
    return kv_iter_new(reader->kv, reader->snapshot);
}

struct catalog_kv state_reader_view(struct state_reader *reader) {
    struct catalog_kv view = view_of(reader);
    view.get = reader_get;
    view.iter_new = reader_iter;
    return view;
}

/* ---- the applied slot: behind all groups' keys ---- */

#define APPLIED_KEY_SIZE 4

static struct span applied_key(uint32_t group, char key[APPLIED_KEY_SIZE]) {
    key[0] = key[1] = (char)0xff;
    key[2] = (char)(group >> 8);
    key[3] = (char)group;
    return (struct span){key, APPLIED_KEY_SIZE};
}

#define APPLIED_HEAD 72u
#define APPLIED_MEMBER 12u

static_assert(APPLIED_HEAD + APPLIED_MEMBER * PAXOS_MEMBERS_MAX <= STATE_APPLIED_SIZE_MAX,
              "all members fit");

size_t state_encode(const struct state_applied *applied, uint8_t bytes[STATE_APPLIED_SIZE_MAX]) {
    le64_put(bytes, applied->slot);
    memcpy(bytes + 8, applied->chain, PAXOS_DIGEST);
    le64_put(bytes + 24, applied->check.slot);
    memcpy(bytes + 32, applied->check.digest, PAXOS_DIGEST);
    le64_put(bytes + 48, applied->config.slot);
    le32_put(bytes + 56, applied->config.count);
    le32_put(bytes + 60, applied->generation);
    le64_put(bytes + 64, applied->void_upto);
    uint8_t *to = bytes + APPLIED_HEAD;
    for (uint32_t i = 0; i < applied->config.count; i++, to += APPLIED_MEMBER) {
        le32_put(to, applied->config.members[i].node);
        le32_put(to + 4, applied->config.members[i].born);
        le32_put(to + 8, applied->config.members[i].voter);
    }
    return (size_t)(to - bytes);
}

bool state_decode(struct span value, struct state_applied *ret_applied) {
    const uint8_t *bytes = (const uint8_t *)value.data, *from = bytes + APPLIED_HEAD;
    if (value.size < APPLIED_HEAD)
        return false;
    struct state_applied applied = {.slot = le64_get(bytes)};
    memcpy(applied.chain, bytes + 8, PAXOS_DIGEST);
    applied.check.slot = le64_get(bytes + 24);
    memcpy(applied.check.digest, bytes + 32, PAXOS_DIGEST);
    applied.config.slot = le64_get(bytes + 48);
    applied.config.count = le32_get(bytes + 56);
    applied.generation = le32_get(bytes + 60);
    applied.void_upto = le64_get(bytes + 64);
    if (applied.config.count > PAXOS_MEMBERS_MAX ||
        value.size != APPLIED_HEAD + APPLIED_MEMBER * applied.config.count)
        return false;
    for (uint32_t i = 0; i < applied.config.count; i++, from += APPLIED_MEMBER)
        applied.config.members[i] =
            (struct paxos_member){le32_get(from), le32_get(from + 4), le32_get(from + 8) != 0};
    *ret_applied = applied;
    return applied.config.slot <= applied.slot && applied.check.slot <= applied.slot &&
           applied.void_upto <= applied.slot && applied.generation <= 1 &&
           (applied.config.count == 0 || paxos_config_is_sane(&applied.config));
}

void state_put_applied(struct kv_batch *batch, uint32_t group,
                       const struct state_applied *applied) {
    char key[APPLIED_KEY_SIZE];
    uint8_t bytes[STATE_APPLIED_SIZE_MAX];
    size_t size = state_encode(applied, bytes);
    kv_batch_put(batch, applied_key(group, key), (struct span){(const char *)bytes, size});
}

int state_get_applied(struct kv *kv, const struct kv_snapshot *snapshot, uint32_t group,
                      struct state_applied *ret_applied, struct err *err) {
    char key[APPLIED_KEY_SIZE];
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    *ret_applied = (struct state_applied){0};
    int r = kv_get(kv, snapshot, applied_key(group, key), &value, err);
    if (r == ERR_NOT_FOUND)
        return 0;
    if (r == 0 && !state_decode(buf_span(&value), ret_applied))
        r = err_set(err, ERR_CORRUPT, "what is said to be applied of group %u makes no sense",
                    group);
    return r;
}

void state_advance(struct state_applied *applied, const struct paxos_value *value, uint64_t slot,
                   const struct buf *replies, uint32_t count) {
    ASSERT(slot == applied->slot + 1);
    uint64_t sums[6] = {slot};
    for (uint32_t i = 0; i < count; i++)
        sums[1] = XXH3_64bits_withSeed(replies[i].data, replies[i].size, sums[1]);
    memcpy(sums + 2, applied->chain, PAXOS_DIGEST);
    memcpy(sums + 4, value->digest, PAXOS_DIGEST);
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(sums, sizeof sums));
    memcpy(applied->chain, digest.digest, PAXOS_DIGEST);
    applied->slot = slot;
    if (slot % STATE_CHECK_SLOTS != 0)
        return;
    applied->check.slot = slot;
    memcpy(applied->check.digest, applied->chain, PAXOS_DIGEST);
}

/* ---- a group that is not here any more ---- */

#define ERASE_KEYS 1024u /* in a batch */

/* Deletes some keys; *ret_more tells whether there may be others. */
static int erase_some(struct kv *kv, uint32_t space, struct kv_batch *batch, bool *ret_more,
                      struct err *err) {
    char prefix[2] = {(char)(space >> 8), (char)space};
    uint32_t count = 0;
    struct kv_iter *iter = kv_iter_new(kv, NULL);
    for (kv_iter_seek(iter, (struct span){prefix, sizeof prefix});
         kv_iter_valid(iter) && count < ERASE_KEYS; kv_iter_next(iter), count++) {
        struct span key = kv_iter_key(iter);
        if (key.size < sizeof prefix || memcmp(key.data, prefix, sizeof prefix) != 0)
            break;
        kv_batch_delete(batch, key);
    }
    int r = kv_iter_error(iter, err);
    kv_iter_free(iter);
    *ret_more = count == ERASE_KEYS;
    return r != 0 ? r : kv_write(kv, batch, err);
}

int state_erase(struct kv *kv, uint32_t group, uint32_t generation, struct err *err) {
    struct kv_batch *batch = kv_batch_new(kv);
    bool more = true;
    int r = 0;
    while (r == 0 && more)
        r = erase_some(kv, catalog_space(group, generation), batch, &more, err);
    kv_batch_free(batch);
    return r;
}

int state_forget(struct kv *kv, uint32_t group, struct err *err) {
    char key[APPLIED_KEY_SIZE];
    struct kv_batch *batch = kv_batch_new(kv);
    kv_batch_delete(batch, applied_key(group, key));
    int r = kv_write(kv, batch, err);
    kv_batch_free(batch);
    return r;
}
