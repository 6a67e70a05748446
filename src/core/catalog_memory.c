/* An ordered map in memory: an array of entries sorted by key. */
#include "core/catalog_memory.h"

#include <stdlib.h>

#include "base/assert.h"

struct entry {
    size_t key_size;
    size_t value_size;
    char bytes[]; /* key, value */
};

struct catalog_memory {
    struct entry **entries;
    size_t count;
    size_t room;
    unsigned iterators;
    unsigned fail_read;
};

struct iter {
    struct catalog_memory *memory;
    size_t at;
};

static struct span entry_key(const struct entry *entry) {
    return (struct span){entry->bytes, entry->key_size};
}

static struct span entry_value(const struct entry *entry) {
    return (struct span){entry->bytes + entry->key_size, entry->value_size};
}

static struct entry *entry_new(struct span key, struct span value) {
    struct entry *entry = malloc(sizeof *entry + key.size + value.size);
    if (entry == NULL)
        panic("out of memory");
    entry->key_size = key.size;
    entry->value_size = value.size;
    memcpy(entry->bytes, key.data, key.size);
    if (value.size > 0)
        memcpy(entry->bytes + key.size, value.data, value.size);
    return entry;
}

struct catalog_memory *catalog_memory_new(void) {
    struct catalog_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        panic("out of memory");
    return memory;
}

struct catalog_memory *catalog_memory_free(struct catalog_memory *memory) {
    if (memory == NULL)
        return NULL;
    ASSERT(memory->iterators == 0);
    for (size_t i = 0; i < memory->count; i++)
        free(memory->entries[i]);
    free(memory->entries);
    free(memory);
    return NULL;
}

/* The first entry not before key. */
static size_t find(const struct catalog_memory *memory, struct span key) {
    size_t low = 0, high = memory->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (span_compare(entry_key(memory->entries[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct catalog_memory *memory, size_t at, struct span key) {
    return at < memory->count && span_equal(entry_key(memory->entries[at]), key);
}

static void insert(struct catalog_memory *memory, size_t at, struct entry *entry) {
    if (memory->count == memory->room) {
        memory->room = memory->room > 0 ? memory->room * 2 : 64;
        memory->entries = realloc(memory->entries, memory->room * sizeof(struct entry *));
        if (memory->entries == NULL)
            panic("out of memory");
    }
    memmove(memory->entries + at + 1, memory->entries + at,
            (memory->count - at) * sizeof(struct entry *));
    memory->entries[at] = entry;
    memory->count++;
}

static int memory_get(void *context, struct span key, struct buf *ret_value, struct err *err) {
    struct catalog_memory *memory = context;
    if (memory->fail_read > 0 && --memory->fail_read == 0)
        return err_set(err, ERR_IO, "injected");
    size_t at = find(memory, key);
    if (!is_at(memory, at, key))
        return ERR_NOT_FOUND;
    struct span value = entry_value(memory->entries[at]);
    buf_append(ret_value, value.data, value.size);
    return ret_value->failed ? err_set(err, ERR_NOMEM, "no memory for a value") : 0;
}

static void memory_put(void *context, struct span key, struct span value) {
    struct catalog_memory *memory = context;
    ASSERT(memory->iterators == 0);
    struct entry *entry = entry_new(key, value);
    size_t at = find(memory, key);
    if (is_at(memory, at, key)) {
        free(memory->entries[at]);
        memory->entries[at] = entry;
    } else {
        insert(memory, at, entry);
    }
}

static void memory_del(void *context, struct span key) {
    struct catalog_memory *memory = context;
    ASSERT(memory->iterators == 0);
    size_t at = find(memory, key);
    if (!is_at(memory, at, key))
        return;
    free(memory->entries[at]);
    memmove(memory->entries + at, memory->entries + at + 1,
            (memory->count - at - 1) * sizeof(struct entry *));
    memory->count--;
}

static void *memory_iter_new(void *context) {
    struct iter *iter = calloc(1, sizeof *iter);
    if (iter == NULL)
        panic("out of memory");
    iter->memory = context;
    iter->memory->iterators++;
    return iter;
}

static void memory_iter_free(void *iter) {
    ((struct iter *)iter)->memory->iterators--;
    free(iter);
}

static void memory_iter_seek(void *context, struct span key) {
    struct iter *iter = context;
    iter->at = find(iter->memory, key);
}

static bool memory_iter_valid(void *context) {
    struct iter *iter = context;
    return iter->at < iter->memory->count;
}

static void memory_iter_next(void *context) {
    struct iter *iter = context;
    ASSERT(memory_iter_valid(iter));
    iter->at++;
}

static struct span memory_iter_key(void *context) {
    struct iter *iter = context;
    return entry_key(iter->memory->entries[iter->at]);
}

static struct span memory_iter_value(void *context) {
    struct iter *iter = context;
    return entry_value(iter->memory->entries[iter->at]);
}

static int memory_iter_error(void *context, struct err *err) {
    (void)context;
    (void)err;
    return 0;
}

struct catalog_kv catalog_memory_kv(struct catalog_memory *memory) {
    return (struct catalog_kv){
        .context = memory,
        .get = memory_get,
        .put = memory_put,
        .del = memory_del,
        .iter_new = memory_iter_new,
        .iter_free = memory_iter_free,
        .iter_seek = memory_iter_seek,
        .iter_valid = memory_iter_valid,
        .iter_next = memory_iter_next,
        .iter_key = memory_iter_key,
        .iter_value = memory_iter_value,
        .iter_error = memory_iter_error,
    };
}

struct catalog_memory *catalog_memory_copy(const struct catalog_memory *memory) {
    struct catalog_memory *copy = catalog_memory_new();
    for (size_t i = 0; i < memory->count; i++) {
        const struct entry *entry = memory->entries[i];
        insert(copy, i, entry_new(entry_key(entry), entry_value(entry)));
    }
    return copy;
}

size_t catalog_memory_count(const struct catalog_memory *memory) {
    return memory->count;
}

bool catalog_memory_equal(const struct catalog_memory *a, const struct catalog_memory *b) {
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = span_equal(entry_key(a->entries[i]), entry_key(b->entries[i])) &&
                span_equal(entry_value(a->entries[i]), entry_value(b->entries[i]));
    return equal;
}

void catalog_memory_fail_read(struct catalog_memory *memory, unsigned n) {
    memory->fail_read = n;
}
