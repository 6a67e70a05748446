/* For the catalogue's tests: one group over memory, commands and queries in one call each. */
#ifndef QUERN_CORE_CATALOG_HARNESS_H
#define QUERN_CORE_CATALOG_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/catalog.h"
#include "core/catalog_memory.h"
#include "wire/pb.h"

struct world {
    uint32_t group;
    struct catalog_memory *memory;
    struct catalog_kv kv;
    struct catalog *catalog;
    struct arena arena; /* of replies */
    uint64_t slot;
    uint64_t requests;
    uint64_t now_ms;
};

static inline void world_open(struct world *world, uint32_t group) {
    *world = (struct world){.group = group, .memory = catalog_memory_new(), .now_ms = 1000};
    world->kv = catalog_memory_kv(world->memory);
    arena_init(&world->arena, (size_t)1 << 30);
    assert_int_equal(catalog_open(group, &world->kv, &world->catalog, NULL), 0);
}

static inline void world_close(struct world *world) {
    catalog_close(world->catalog);
    catalog_memory_free(world->memory);
    arena_fini(&world->arena);
}

static inline void world_reopen(struct world *world) {
    catalog_close(world->catalog);
    assert_int_equal(catalog_open(world->group, &world->kv, &world->catalog, NULL), 0);
}

/* Same bytes for the same n. */
static inline ProtobufCBinaryData make_id(struct world *world, uint64_t n) {
    uint8_t *bytes = arena_alloc(&world->arena, 16);
    memset(bytes, 0xa5, 16);
    memcpy(bytes, &n, sizeof n);
    return pb_bytes(bytes, 16);
}

static inline Pb__Reply *submit_bytes(struct world *world, struct span bytes) {
    struct buf reply = BUF_INIT;
    struct err err = {0};
    assert_int_equal(
        catalog_apply(world->catalog, &world->kv, ++world->slot, &bytes, 1, &reply, &err), 0);
    Pb__Reply *unpacked = NULL;
    assert_int_equal(
        pb_unpack(&pb__reply__descriptor, buf_span(&reply), &world->arena, &unpacked, &err), 0);
    buf_fini(&reply);
    return unpacked;
}

/* Gives the command a fresh request id unless it has one. */
static inline Pb__Reply *submit(struct world *world, Pb__Command *command) {
    struct buf packed = BUF_INIT;
    if (command->request_id.len == 0)
        command->request_id = make_id(world, ++world->requests << 32);
    if (command->now_ms == 0)
        command->now_ms = world->now_ms;
    pb_pack(&packed, &command->base);
    Pb__Reply *reply = submit_bytes(world, buf_span(&packed));
    buf_fini(&packed);
    return reply;
}

static inline Pb__Reply *query(struct world *world, const Pb__Query *query) {
    struct buf packed = BUF_INIT, reply = BUF_INIT;
    pb_pack(&packed, &query->base);
    assert_int_equal(catalog_query(world->group, &world->kv, buf_span(&packed), &reply, NULL), 0);
    Pb__Reply *unpacked = NULL;
    assert_int_equal(
        pb_unpack(&pb__reply__descriptor, buf_span(&reply), &world->arena, &unpacked, NULL), 0);
    buf_fini(&packed);
    buf_fini(&reply);
    return unpacked;
}

/* submit_op(world, put_object, PUT_OBJECT, &op), query_op likewise. */
#define submit_op(world, field, CASE, op)                                                          \
    ({                                                                                             \
        Pb__Command command_ = PB__COMMAND__INIT;                                                  \
        command_.op_case = PB__COMMAND__OP_##CASE;                                                 \
        command_.field = (op);                                                                     \
        submit((world), &command_);                                                                \
    })
#define query_op(world, field, CASE, op)                                                           \
    ({                                                                                             \
        Pb__Query query_ = PB__QUERY__INIT;                                                        \
        query_.op_case = PB__QUERY__OP_##CASE;                                                     \
        query_.field = (op);                                                                       \
        query((world), &query_);                                                                   \
    })

static inline Pb__ChunkRef **make_chunks(struct world *world, uint64_t first, size_t count,
                                         uint64_t length) {
    Pb__ChunkRef **chunks = arena_array(&world->arena, Pb__ChunkRef *, count + 1);
    for (size_t i = 0; i < count; i++) {
        chunks[i] = arena_new(&world->arena, Pb__ChunkRef);
        pb__chunk_ref__init(chunks[i]);
        chunks[i]->id = make_id(world, first + i);
        chunks[i]->length = length;
    }
    return chunks;
}

static inline Pb__Reply *set_gate(struct world *world, const char *bucket, uint64_t epoch,
                                  bool open, bool only_if_empty) {
    Pb__SetGate op = PB__SET_GATE__INIT;
    op.bucket = pb_text(bucket);
    op.epoch = epoch;
    op.open = open;
    op.only_if_empty = only_if_empty;
    return submit_op(world, set_gate, SET_GATE, &op);
}

static inline size_t garbage_count(struct world *world) {
    Pb__ListGarbage op = PB__LIST_GARBAGE__INIT;
    op.queued_before_ms = UINT64_MAX;
    const Pb__Reply *reply = query_op(world, list_garbage, LIST_GARBAGE, &op);
    size_t count = 0;
    for (size_t i = 0; i < reply->n_garbage; i++)
        count += reply->garbage[i]->n_chunks;
    return count;
}

#endif
