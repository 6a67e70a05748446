/* The state of a group goes from one node to another when the log no longer holds what the latter
 * needs (PAXOS.md 2.10): record by record, of one moment, into a space of the store beside the
 * state that is there. One durable write then says that the new one counts.
 *
 * RPC_META_SNAPSHOT asks (u32 group); RPC_META_SNAPSHOT_PART holds records {u32 key size, u32 value
 * size, key behind its space, value}; RPC_META_SNAPSHOT_END {u64 records, what is applied}. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/le.h"
#include "base/log.h"
#include "meta/call.h"
#include "meta/engine.h"
#include "os/clock.h"
#include "os/space.h"

#define PART_BYTES ((size_t)1 << 20) /* a part is sent once it is this full */
#define RECORD_HEAD 8u
#define END_HEAD 8u
#define STEP_MS 5000      /* for each part to be sent or received */
#define IDLE_TRIES 200u   /* to wait until what is chosen is applied, */
#define IDLE_PAUSE_MS 10u /* at this interval */

/* ---- serving ---- */

struct sender {
    struct rpc_conn *conn;
    struct buf part;
    uint64_t records;
};

static int part_send(struct sender *sender, uint16_t type, struct err *err) {
    struct iovec iov = {sender->part.data, sender->part.size};
    int r = sender->part.failed ? err_set(err, ERR_NOMEM, "a part of a snapshot") : 0;
    if (r == 0)
        r = rpc_send(sender->conn, type, &iov, 1, clock_deadline_ms(STEP_MS), err);
    buf_clear(&sender->part);
    return r;
}

static int record_send(struct sender *sender, struct span key, struct span value, struct err *err) {
    uint8_t head[RECORD_HEAD];
    le32_put(head, (uint32_t)key.size);
    le32_put(head + 4, (uint32_t)value.size);
    buf_append(&sender->part, head, sizeof head);
    buf_append(&sender->part, key.data, key.size);
    buf_append(&sender->part, value.data, value.size);
    sender->records++;
    return sender->part.size >= PART_BYTES ? part_send(sender, RPC_META_SNAPSHOT_PART, err) : 0;
}

static int records_send(struct sender *sender, struct kv_iter *iter, uint32_t space,
                        struct err *err) {
    char prefix[2] = {(char)(space >> 8), (char)space};
    int r = 0;
    for (kv_iter_seek(iter, (struct span){prefix, sizeof prefix}); r == 0 && kv_iter_valid(iter);
         kv_iter_next(iter)) {
        struct span key = kv_iter_key(iter);
        if (key.size < sizeof prefix || memcmp(key.data, prefix, sizeof prefix) != 0)
            break;
        struct span rest = {key.data + sizeof prefix, key.size - sizeof prefix};
        r = record_send(sender, rest, kv_iter_value(iter), err);
    }
    return r != 0 ? r : kv_iter_error(iter, err);
}

static int end_send(struct sender *sender, const struct state_applied *applied, struct err *err) {
    uint8_t bytes[END_HEAD + STATE_APPLIED_SIZE_MAX];
    le64_put(bytes, sender->records);
    buf_append(&sender->part, bytes, END_HEAD + state_encode(applied, bytes + END_HEAD));
    return part_send(sender, RPC_META_SNAPSHOT_END, err);
}

static int snapshot_send(struct meta *meta, uint32_t group, struct sender *sender,
                         struct err *err) {
    uint32_t space;
    struct state_applied applied;
    struct kv_snapshot *snapshot = state_snapshot(meta, group, &space);
    int r = state_get_applied(meta->kv, snapshot, group, &applied, err);
    if (r == 0) {
        struct kv_iter *iter = kv_iter_new(meta->kv, snapshot);
        r = records_send(sender, iter, space, err);
        kv_iter_free(iter);
    }
    if (r == 0 && sender->part.size > 0)
        r = part_send(sender, RPC_META_SNAPSHOT_PART, err);
    if (r == 0)
        r = end_send(sender, &applied, err);
    kv_snapshot_free(meta->kv, snapshot);
    return r;
}

int snapshot_serve(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    struct meta *meta = context;
    struct err err = {0};
    uint32_t group = body->size == sizeof group ? le32_get(body->data) : UINT32_MAX;
    if (!meta_hosts(meta, group))
        return rpc_send_error(conn, ERR_NOT_FOUND, "there is no replica of the group here",
                              clock_deadline_ms(STEP_MS), NULL);
    struct sender sender = {.conn = conn, .part = {.limit = RPC_BODY_MAX}};
    int r = snapshot_send(meta, group, &sender, &err);
    if (r != 0)
        log_info("group %u: node %u did not get the state: %s", group, rpc_conn_node(conn),
                 err_message(&err, r));
    buf_fini(&sender.part);
    return r;
}

/* ---- fetching ---- */

struct want {
    uint32_t node; /* 0 = nothing is wanted */
    uint64_t slot;
};

struct fetcher {
    struct meta *meta;
    pthread_t thread;
    pthread_mutex_t mutex; /* of the rest */
    pthread_cond_t wanted;
    struct want wants[GROUPS_MAX];
    bool stopping;
};

struct receiver {
    struct kv *kv;
    struct kv_batch *batch;
    uint32_t space;
    uint64_t records;
};

void fetcher_want(struct group *group, const struct paxos_fetch *fetch) {
    struct fetcher *fetcher = group->meta->fetcher;
    pthread_mutex_lock(&fetcher->mutex);
    fetcher->wants[group->number] = (struct want){fetch->node, fetch->slot};
    pthread_cond_signal(&fetcher->wanted);
    pthread_mutex_unlock(&fetcher->mutex);
}

static void record_put(struct receiver *receiver, struct span key, struct span value) {
    _cleanup_(buf_finip) struct buf full = BUF_INIT;
    char prefix[2] = {(char)(receiver->space >> 8), (char)receiver->space};
    buf_append(&full, prefix, sizeof prefix);
    buf_append(&full, key.data, key.size);
    if (full.failed)
        panic("out of memory for a record of a snapshot");
    kv_batch_put(receiver->batch, buf_span(&full), value);
    receiver->records++;
}

static int part_take(struct receiver *receiver, struct span part, struct err *err) {
    while (part.size > 0) {
        if (part.size < RECORD_HEAD)
            return err_set(err, ERR_PROTOCOL, "a record of a snapshot is cut off");
        uint32_t key_size = le32_get(part.data), value_size = le32_get(part.data + 4);
        part = (struct span){part.data + RECORD_HEAD, part.size - RECORD_HEAD};
        if (key_size > part.size || value_size > part.size - key_size)
            return err_set(err, ERR_PROTOCOL, "a record of a snapshot is cut off");
        record_put(receiver, (struct span){part.data, key_size},
                   (struct span){part.data + key_size, value_size});
        part = (struct span){part.data + key_size + value_size, part.size - key_size - value_size};
    }
    return kv_write(receiver->kv, receiver->batch, err);
}

static int end_take(const struct receiver *receiver, struct span end,
                    struct state_applied *ret_applied, struct err *err) {
    if (end.size < END_HEAD || le64_get(end.data) != receiver->records ||
        !state_decode((struct span){end.data + END_HEAD, end.size - END_HEAD}, ret_applied) ||
        ret_applied->config.count == 0)
        return err_set(err, ERR_PROTOCOL, "the end of a snapshot does not fit its parts");
    return 0;
}

static int parts_receive(struct receiver *receiver, struct rpc_conn *conn,
                         struct state_applied *ret_applied, struct err *err) {
    _cleanup_(buf_finip) struct buf body = {.limit = RPC_BODY_MAX};
    for (;;) {
        uint16_t type;
        int r = rpc_receive(conn, &type, &body, clock_deadline_ms(STEP_MS), err);
        if (r != 0)
            return r;
        if (type == RPC_META_SNAPSHOT_END)
            return end_take(receiver, buf_span(&body), ret_applied, err);
        if (type != RPC_META_SNAPSHOT_PART)
            return err_set(err, ERR_PROTOCOL, "a frame of type %u in a snapshot", type);
        r = part_take(receiver, buf_span(&body), err);
        if (r != 0)
            return r;
    }
}

static int state_receive(struct meta *meta, uint32_t group, uint32_t node,
                         struct receiver *receiver, struct state_applied *ret_applied,
                         struct err *err) {
    uint8_t request[4];
    struct rpc_conn *conn = NULL;
    le32_put(request, group);
    int r = rpc_open(meta->client, node, clock_deadline_ms(STEP_MS), &conn, err);
    if (r == 0)
        r = rpc_send(conn, RPC_META_SNAPSHOT, &(struct iovec){request, sizeof request}, 1,
                     clock_deadline_ms(STEP_MS), err);
    if (r == 0)
        r = parts_receive(receiver, conn, ret_applied, err);
    rpc_release(meta->client, conn, r == 0);
    return r;
}

static int ask_install(struct group *group, enum host_install step) {
    struct call *call =
        call_new(CALL_INSTALL, group->number, (struct span){(const char *)&step, sizeof step});
    mailbox_post_call(&group->meta->mailbox, call);
    int r = call_wait(call, DEADLINE_NONE);
    call_unref(call);
    return r;
}

/* Nothing is chosen while the core waits for the state: only what was is still applied. */
static int wait_idle(struct group *group, struct err *err) {
    int r = ERR_BUSY;
    for (uint32_t i = 0; i < IDLE_TRIES && r == ERR_BUSY; i++) {
        r = ask_install(group, HOST_INSTALL_BEGIN);
        if (r == ERR_BUSY)
            clock_sleep_until(clock_deadline_ms(IDLE_PAUSE_MS));
    }
    return r != 0 ? err_set(err, r, "the replica is not ready for another state") : 0;
}

static int switch_state(struct group *group, const struct state_applied *state, struct err *err) {
    struct meta *meta = group->meta;
    struct catalog *catalog;
    uint32_t space = catalog_space(group->number, state->generation);
    int r = host_open_catalog(meta, space, &catalog, err);
    if (r != 0)
        return r;
    struct kv_batch *batch = kv_batch_new(meta->kv);
    state_put_applied(batch, group->number, state);
    if (kv_write(meta->kv, batch, err) != 0 || kv_flush(meta->kv, err) != 0)
        space_panic(err, "a state from another node");
    kv_batch_free(batch);
    if (replicas_set_trimmed_of(&meta->replicas, group->number, state->slot, err) != 0)
        space_panic(err, "a state from another node");
    catalog_close(group->catalog);
    group->catalog = catalog;
    group->state = *state;
    pthread_mutex_lock(&group->mutex);
    group->check = state->check;
    pthread_mutex_unlock(&group->mutex);
    atomic_store(&group->space, space);
    return ask_install(group, HOST_INSTALL_DONE);
}

/* The replica must not be dropped under it. */
static int install(struct group *group, struct state_applied *state, struct err *err) {
    struct meta *meta = group->meta;
    pthread_mutex_lock(&meta->host_mutex);
    int r = wait_idle(group, err);
    uint32_t before = group->state.generation;
    if (r == 0 && state->slot <= group->state.slot)
        r = err_set(err, ERR_STALE, "it is of slot %llu", (unsigned long long)state->slot);
    if (r == 0) {
        state->generation = !before;
        state->void_upto = state->slot;
        r = switch_state(group, state, err);
    }
    if (r == 0 && state_erase(meta->kv, group->number, before, err) != 0)
        space_panic(err, "a state from another node");
    pthread_mutex_unlock(&meta->host_mutex);
    return r;
}

static void fetch(struct group *group, const struct want *want) {
    struct meta *meta = group->meta;
    struct err err = {0};
    uint32_t generation = catalog_space(0, 1) != (atomic_load(&group->space) & ~0xffu);
    struct receiver receiver = {.kv = meta->kv,
                                .batch = kv_batch_new(meta->kv),
                                .space = catalog_space(group->number, generation)};
    struct state_applied state;
    int r = state_erase(meta->kv, group->number, generation, &err);
    if (r == 0)
        r = state_receive(meta, group->number, want->node, &receiver, &state, &err);
    if (r == 0)
        r = install(group, &state, &err);
    kv_batch_free(receiver.batch);
    if (r == 0) {
        log_info("group %u: the state as of slot %llu came from node %u, %llu records",
                 group->number, (unsigned long long)state.slot, want->node,
                 (unsigned long long)receiver.records);
        return;
    }
    log_info("group %u: the state of node %u was not to be had: %s", group->number, want->node,
             err_message(&err, r));
    ask_install(group, HOST_INSTALL_FAILED);
}

/* A group that wants something, with the mutex held; NULL = none. */
static struct group *take_want(struct fetcher *fetcher, struct want *ret_want) {
    for (uint32_t g = 0; g < fetcher->meta->group_count; g++) {
        if (fetcher->wants[g].node == 0)
            continue;
        *ret_want = fetcher->wants[g];
        fetcher->wants[g] = (struct want){0};
        return &fetcher->meta->groups[g];
    }
    return NULL;
}

static void *fetch_wanted(void *argument) {
    struct fetcher *fetcher = argument;
    pthread_setname_np(pthread_self(), "fetcher");
    pthread_mutex_lock(&fetcher->mutex);
    while (!fetcher->stopping) {
        struct want want;
        struct group *group = take_want(fetcher, &want);
        if (group == NULL) {
            pthread_cond_wait(&fetcher->wanted, &fetcher->mutex);
            continue;
        }
        pthread_mutex_unlock(&fetcher->mutex);
        atomic_store(&group->receiving, true);
        fetch(group, &want);
        atomic_store(&group->receiving, false);
        pthread_mutex_lock(&fetcher->mutex);
    }
    pthread_mutex_unlock(&fetcher->mutex);
    return NULL;
}

void fetcher_start(struct meta *meta) {
    struct fetcher *fetcher = calloc(1, sizeof *fetcher);
    if (fetcher == NULL)
        panic("out of memory for the fetcher");
    fetcher->meta = meta;
    pthread_mutex_init(&fetcher->mutex, NULL);
    pthread_cond_init(&fetcher->wanted, NULL);
    meta->fetcher = fetcher;
    if (pthread_create(&fetcher->thread, NULL, fetch_wanted, fetcher) != 0)
        panic("cannot start the thread that fetches states");
}

void fetcher_stop(struct meta *meta) {
    struct fetcher *fetcher = meta->fetcher;
    if (fetcher == NULL)
        return;
    pthread_mutex_lock(&fetcher->mutex);
    fetcher->stopping = true;
    pthread_cond_signal(&fetcher->wanted);
    pthread_mutex_unlock(&fetcher->mutex);
    pthread_join(fetcher->thread, NULL);
    free(fetcher);
    meta->fetcher = NULL;
}
