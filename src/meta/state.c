/* The state store behind the catalogue's table of functions. */
#include "meta/state.h"

#include <string.h>

#include "base/cleanup.h"

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

void state_put_applied(struct kv_batch *batch, uint32_t group, uint64_t slot) {
    char key[APPLIED_KEY_SIZE];
    kv_batch_put(batch, applied_key(group, key), (struct span){(const char *)&slot, sizeof slot});
}

int state_get_applied(struct kv *kv, uint32_t group, uint64_t *ret_slot, struct err *err) {
    char key[APPLIED_KEY_SIZE];
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    int r = kv_get(kv, NULL, applied_key(group, key), &value, err);
    if (r == ERR_NOT_FOUND) {
        *ret_slot = 0;
        return 0;
    }
    if (r != 0)
        return r;
    if (value.size != sizeof *ret_slot)
        return err_set(err, ERR_CORRUPT, "the applied slot of group %u has %zu bytes", group,
                       value.size);
    memcpy(ret_slot, value.data, sizeof *ret_slot);
    return 0;
}
