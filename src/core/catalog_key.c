/* Keys and records of the catalogue's state. */
#include "base/assert.h"
#include "base/cleanup.h"
#include "core/catalog_impl.h"

/* ---- keys ---- */

struct catalog_key catalog_key(uint32_t group, enum catalog_table table) {
    struct catalog_key key = {.size = 0};
    catalog_key_number(&key, group, 2);
    catalog_key_number(&key, (uint64_t)table, 1);
    return key;
}

void catalog_key_bytes(struct catalog_key *key, const void *data, size_t size) {
    ASSERT(size <= sizeof key->data - key->size);
    if (size > 0)
        memcpy(key->data + key->size, data, size);
    key->size += size;
}

void catalog_key_string(struct catalog_key *key, const char *string) {
    catalog_key_bytes(key, string, strlen(string) + 1);
}

void catalog_key_text(struct catalog_key *key, const char *string) {
    catalog_key_bytes(key, string, strlen(string));
}

void catalog_key_number(struct catalog_key *key, uint64_t number, unsigned size) {
    ASSERT(size <= 8);
    uint8_t bytes[8];
    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)(number >> 8 * (size - 1 - i));
    catalog_key_bytes(key, bytes, size);
}

struct span catalog_key_span(const struct catalog_key *key) {
    return (struct span){key->data, key->size};
}

struct catalog_key catalog_key_object(const struct catalog_step *step, const char *bucket,
                                      const char *key) {
    struct catalog_key full = catalog_key(step->group, TABLE_OBJECT);
    catalog_key_string(&full, bucket);
    catalog_key_text(&full, key);
    return full;
}

/* ---- records ---- */

static void fail(struct catalog_step *step, int rc) {
    if (step->broken == 0)
        step->broken = rc;
}

static bool load_bytes(struct catalog_step *step, const struct catalog_key *key,
                       struct buf *value) {
    struct span wanted = catalog_key_span(key);
    int rc;
    if (step->cache != NULL && catalog_cache_get(step->cache, wanted, value, &rc))
        return rc == 0;
    rc = step->kv->get(step->kv->context, wanted, value, step->err);
    if (rc != 0 && rc != ERR_NOT_FOUND) {
        fail(step, rc);
    } else if (step->cache != NULL) {
        struct span bytes = buf_span(value);
        catalog_cache_keep(step->cache, wanted, rc == 0 ? &bytes : NULL);
    }
    return rc == 0;
}

static void *unpack(struct catalog_step *step, const ProtobufCMessageDescriptor *descriptor,
                    struct span bytes) {
    void *record = NULL;
    int rc = pb_unpack(descriptor, bytes, step->arena, &record, step->err);
    if (rc != 0)
        fail(step, rc);
    return record;
}

void *catalog_load(struct catalog_step *step, const struct catalog_key *key,
                   const ProtobufCMessageDescriptor *descriptor) {
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    return load_bytes(step, key, &value) ? unpack(step, descriptor, buf_span(&value)) : NULL;
}

bool catalog_has(struct catalog_step *step, const struct catalog_key *key) {
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    return load_bytes(step, key, &value);
}

void catalog_store(struct catalog_step *step, const struct catalog_key *key,
                   const ProtobufCMessage *record) {
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    pb_pack(&value, record);
    if (value.failed)
        fail(step, err_set(step->err, ERR_NOMEM, "no memory for a %s record",
                           record->descriptor->short_name));
    else
        catalog_store_bytes(step, key, value.data, value.size);
}

void catalog_store_bytes(struct catalog_step *step, const struct catalog_key *key, const void *data,
                         size_t size) {
    struct span bytes = {data, size};
    step->kv->put(step->kv->context, catalog_key_span(key), bytes);
    if (step->cache != NULL)
        catalog_cache_change(step->cache, catalog_key_span(key), &bytes);
}

void catalog_erase(struct catalog_step *step, const struct catalog_key *key) {
    step->kv->del(step->kv->context, catalog_key_span(key));
    if (step->cache != NULL)
        catalog_cache_change(step->cache, catalog_key_span(key), NULL);
}

uint64_t catalog_count(struct catalog_step *step, enum catalog_counter counter) {
    struct catalog_key key = catalog_key(step->group, TABLE_COUNTER);
    catalog_key_number(&key, counter, 1);
    _cleanup_(buf_finip) struct buf value = BUF_INIT;
    uint64_t last = 0;
    if (load_bytes(step, &key, &value) && value.size == sizeof last)
        memcpy(&last, value.data, sizeof last);
    last++;
    catalog_store_bytes(step, &key, &last,
                        sizeof last); /* little-endian, as every machine it runs on */
    return last;
}

/* ---- scans ---- */

void catalog_scan_open(struct catalog_scan *scan, struct catalog_step *step,
                       const struct catalog_key *prefix) {
    *scan = (struct catalog_scan){.step = step, .prefix = *prefix};
    scan->iter = step->kv->iter_new(step->kv->context);
    if (scan->iter == NULL)
        panic("out of memory for an iterator");
    catalog_scan_seek(scan, prefix);
}

void catalog_scan_close(struct catalog_scan *scan) {
    int rc = scan->step->kv->iter_error(scan->iter, scan->step->err);
    if (rc != 0)
        fail(scan->step, rc);
    scan->step->kv->iter_free(scan->iter);
}

void catalog_scan_seek(struct catalog_scan *scan, const struct catalog_key *key) {
    scan->step->kv->iter_seek(scan->iter, catalog_key_span(key));
}

bool catalog_scan_valid(struct catalog_scan *scan) {
    const struct catalog_kv *kv = scan->step->kv;
    return scan->step->broken == 0 && kv->iter_valid(scan->iter) &&
           span_starts_with(kv->iter_key(scan->iter), catalog_key_span(&scan->prefix));
}

void catalog_scan_next(struct catalog_scan *scan) {
    scan->step->kv->iter_next(scan->iter);
}

struct span catalog_scan_rest(struct catalog_scan *scan) {
    struct span key = scan->step->kv->iter_key(scan->iter);
    return (struct span){key.data + scan->prefix.size, key.size - scan->prefix.size};
}

struct span catalog_scan_value(struct catalog_scan *scan) {
    return scan->step->kv->iter_value(scan->iter);
}

void *catalog_scan_record(struct catalog_scan *scan, const ProtobufCMessageDescriptor *descriptor) {
    return unpack(scan->step, descriptor, catalog_scan_value(scan));
}
