/* A catalogue in memory and a store in memory behind the real client interfaces, for tests of the
 * gateway alone: the real state machine, but no consensus, no disk, no network. */
#ifndef QUERN_GATEWAY_FAKES_TEST_H
#define QUERN_GATEWAY_FAKES_TEST_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc.h"
#include "core/catalog.h"
#include "core/catalog_memory.h"
#include "meta/client.h"
#include "meta/meta.h"
#include "os/random.h"
#include "store/client.h"
#include "store/store.h"

#define FAKE_SHARDS 4
#define FAKE_CHUNKS_MAX 256

struct meta_client {
    pthread_mutex_t lock;
    struct place_map *map;
    struct catalog_memory *memory[1 + FAKE_SHARDS];
    struct catalog *catalogs[1 + FAKE_SHARDS];
    uint64_t slot;
};

struct fake_chunk {
    struct id128 id;
    char *data;
    size_t size;
};

struct store_client {
    pthread_mutex_t lock;
    struct fake_chunk chunks[FAKE_CHUNKS_MAX];
    unsigned count;
    unsigned writes_open;
    bool corrupt; /* reads fail half way */
};

struct store_write {
    struct store_client *client;
    struct fake_chunk chunk;
};

/* ---- catalogue ---- */

static void fake_meta_init(struct meta_client *meta) {
    *meta = (struct meta_client){.slot = 1};
    pthread_mutex_init(&meta->lock, NULL);
    meta->map = place_map_new(1, 4, 1);
    meta->map->epoch = 1;
    meta->map->shards = FAKE_SHARDS;
    meta->map->nodes[0] =
        (struct place_node){.id = 1, .name = "node1", .roles = ROLE_ALL, .weight = 1};
    ASSERT(place_assign(meta->map, NULL, NULL) == 0);
    for (uint32_t group = 0; group <= FAKE_SHARDS; group++) {
        meta->memory[group] = catalog_memory_new();
        struct catalog_kv kv = catalog_memory_kv(meta->memory[group]);
        ASSERT(catalog_open(group, &kv, &meta->catalogs[group], NULL) == 0);
    }
}

static void fake_meta_fini(struct meta_client *meta) {
    for (uint32_t group = 0; group <= FAKE_SHARDS; group++) {
        catalog_close(meta->catalogs[group]);
        catalog_memory_free(meta->memory[group]);
    }
    place_map_unref(meta->map);
    pthread_mutex_destroy(&meta->lock);
}

static int fake_reply(struct buf *bytes, struct arena *arena, Pb__Reply **ret_reply,
                      struct err *err) {
    int rc = pb_unpack(&pb__reply__descriptor, buf_span(bytes), arena, ret_reply, err);
    buf_fini(bytes);
    if (rc != 0 || (*ret_reply)->code == 0)
        return rc;
    return err_set(err, (*ret_reply)->code, "%s", (*ret_reply)->message);
}

int meta_submit(struct meta_client *meta, uint32_t group, const Pb__Command *command,
                uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    (void)deadline_ns;
    struct buf bytes = BUF_INIT, reply = BUF_INIT;
    pb_pack(&bytes, &command->base);
    struct span span = buf_span(&bytes);
    pthread_mutex_lock(&meta->lock);
    struct catalog_kv kv = catalog_memory_kv(meta->memory[group]);
    int rc = catalog_apply(meta->catalogs[group], &kv, meta->slot++, &span, 1, &reply, err);
    pthread_mutex_unlock(&meta->lock);
    buf_fini(&bytes);
    return rc != 0 ? rc : fake_reply(&reply, arena, ret_reply, err);
}

int meta_query(struct meta_client *meta, uint32_t group, const Pb__Query *query,
               uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    (void)deadline_ns;
    struct buf bytes = BUF_INIT, reply = BUF_INIT;
    pb_pack(&bytes, &query->base);
    pthread_mutex_lock(&meta->lock);
    struct catalog_kv kv = catalog_memory_kv(meta->memory[group]);
    int rc = catalog_query(group, &kv, buf_span(&bytes), &reply, err);
    pthread_mutex_unlock(&meta->lock);
    buf_fini(&bytes);
    return rc != 0 ? rc : fake_reply(&reply, arena, ret_reply, err);
}

struct place_map *meta_map(struct meta_client *meta) {
    return place_map_ref(meta->map);
}

unsigned meta_status(struct meta *meta, struct meta_group_status *ret_groups, unsigned count) {
    (void)meta, (void)ret_groups, (void)count;
    return 0;
}

int meta_remote_status(struct rpc_client *client, uint32_t node, uint64_t deadline_ns,
                       struct meta_group_status *ret_groups, unsigned room, unsigned *ret_count,
                       struct err *err) {
    (void)client, (void)node, (void)deadline_ns, (void)ret_groups, (void)room, (void)ret_count;
    return err_set(err, ERR_REFUSED, "there are no other nodes");
}

/* ---- store ---- */

static void fake_store_fini(struct store_client *store) {
    for (unsigned i = 0; i < store->count; i++)
        free(store->chunks[i].data);
    pthread_mutex_destroy(&store->lock);
}

static struct fake_chunk *fake_find(struct store_client *store, struct id128 id) {
    for (unsigned i = 0; i < store->count; i++)
        if (id128_equal(store->chunks[i].id, id))
            return &store->chunks[i];
    return NULL;
}

int store_write_begin(struct store_client *store, uint64_t length_max, uint64_t deadline_ns,
                      struct store_write **ret_write, struct err *err) {
    (void)deadline_ns, (void)err;
    ASSERT(length_max > 0 && length_max <= CHUNK_BYTES_MAX);
    struct store_write *write = calloc(1, sizeof *write);
    write->client = store;
    write->chunk.id = random_id128();
    pthread_mutex_lock(&store->lock);
    store->writes_open++;
    pthread_mutex_unlock(&store->lock);
    *ret_write = write;
    return 0;
}

int store_write_append(struct store_write *write, const void *data, size_t size,
                       uint64_t deadline_ns, struct err *err) {
    (void)deadline_ns, (void)err;
    struct fake_chunk *chunk = &write->chunk;
    ASSERT(chunk->size + size <= CHUNK_BYTES_MAX);
    chunk->data = realloc(chunk->data, chunk->size + size);
    memcpy(chunk->data + chunk->size, data, size);
    chunk->size += size;
    return 0;
}

struct store_write *store_write_abort(struct store_write *write) {
    if (write == NULL)
        return NULL;
    pthread_mutex_lock(&write->client->lock);
    write->client->writes_open--;
    pthread_mutex_unlock(&write->client->lock);
    free(write->chunk.data);
    free(write);
    return NULL;
}

int store_write_end(struct store_write *write, uint64_t deadline_ns, struct chunk_ref *ret_chunk,
                    struct err *err) {
    (void)deadline_ns, (void)err;
    struct store_client *store = write->client;
    struct fake_chunk chunk = write->chunk;
    ASSERT(chunk.size > 0);
    *ret_chunk = (struct chunk_ref){chunk.id, chunk.size, crc32c_update(0, chunk.data, chunk.size),
                                    chunk.data[chunk.size - 1] == '\n'};
    pthread_mutex_lock(&store->lock);
    ASSERT(store->count < FAKE_CHUNKS_MAX);
    store->chunks[store->count++] = chunk;
    pthread_mutex_unlock(&store->lock);
    write->chunk.data = NULL;
    store_write_abort(write);
    return 0;
}

int store_read(struct store_client *store, const struct chunk_ref *ref, uint64_t offset,
               uint64_t length, store_sink *sink, void *context, uint64_t deadline_ns,
               struct err *err) {
    (void)deadline_ns;
    pthread_mutex_lock(&store->lock);
    struct fake_chunk *chunk = fake_find(store, ref->id);
    const char *data = chunk != NULL ? chunk->data : NULL;
    bool corrupt = store->corrupt;
    pthread_mutex_unlock(&store->lock);
    if (data == NULL)
        return err_set(err, ERR_NOT_FOUND, "no such chunk");
    while (length > 0) {
        size_t part = length < CHUNK_BLOCK_BYTES ? (size_t)length : CHUNK_BLOCK_BYTES;
        int rc = sink(context, data + offset, part);
        if (rc != 0)
            return rc;
        offset += part;
        length -= part;
        if (corrupt)
            return err_set(err, ERR_CORRUPT, "a bad block everywhere");
    }
    return 0;
}

int store_delete(struct store_client *store, const struct id128 *chunk_ids, unsigned count,
                 uint64_t deadline_ns, struct err *err) {
    (void)deadline_ns, (void)err;
    pthread_mutex_lock(&store->lock);
    for (unsigned i = 0; i < count; i++) {
        struct fake_chunk *chunk = fake_find(store, chunk_ids[i]);
        if (chunk == NULL)
            continue;
        free(chunk->data);
        *chunk = store->chunks[--store->count];
    }
    pthread_mutex_unlock(&store->lock);
    return 0;
}

void store_get_status(struct store *store, struct store_status *ret_status) {
    (void)store;
    *ret_status = (struct store_status){0};
}

int store_remote_status(struct rpc_client *client, uint32_t node, uint64_t deadline_ns,
                        struct store_status *ret_status, struct err *err) {
    (void)client, (void)node, (void)deadline_ns, (void)ret_status;
    return err_set(err, ERR_REFUSED, "no other nodes here");
}

#endif
