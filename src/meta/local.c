/* The catalogue through this node's replica, in the caller's thread as far as may be. */
#include "base/cleanup.h"
#include "meta/batch.h"
#include "meta/call.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "meta/state.h"
#include "os/clock.h"
#include "os/random.h"

#define COMMAND_BYTES_MAX (PAXOS_VALUE_MAX - BATCH_HEAD - BATCH_COMMAND_HEAD)

static int ask(struct meta *meta, enum call_kind kind, uint32_t group, struct span command,
               uint64_t deadline_ns, struct buf *ret_reply, struct err *err) {
    struct call *call = call_new(kind, group, command);
    mailbox_post_call(&meta->mailbox, call);
    int r = call_wait(call, deadline_ns);
    if (r == 0 && ret_reply != NULL) {
        buf_append(ret_reply, call->reply.data, call->reply.size);
        r = ret_reply->failed ? ERR_NOMEM : 0;
    }
    call_unref(call);
    return r != 0 ? err_set(err, r, "group %u: %s", group, err_text(r)) : 0;
}

int meta_local_check_group(const struct meta *meta, uint32_t group, struct err *err) {
    return group < meta->group_count ? 0 : err_set(err, ERR_INVALID, "there is no group %u", group);
}

int meta_local_check_submit(const struct meta *meta, uint32_t group, struct span command,
                            struct err *err) {
    int r = meta_local_check_group(meta, group, err);
    if (r != 0)
        return r;
    if (command.size > COMMAND_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a command of %zu bytes", command.size);
    if (atomic_load(&meta->groups[group].full) && catalog_grows(command))
        return err_set(err, ERR_NOSPACE, "the disks of the catalogue are full");
    return 0;
}

int meta_local_submit(struct meta *meta, uint32_t group, struct span command, uint64_t deadline_ns,
                      struct buf *ret_reply, struct err *err) {
    int r = meta_local_check_submit(meta, group, command, err);
    return r != 0 ? r : ask(meta, CALL_SUBMIT, group, command, deadline_ns, ret_reply, err);
}

void meta_local_command(struct meta *meta, uint32_t group, Pb__Command *command,
                        uint64_t deadline_ns) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT, reply = BUF_INIT;
    struct id128 request_id = random_id128();
    command->request_id = pb_id(&request_id);
    command->now_ms = clock_wall_ms();
    command->since_slot = meta_local_applied(meta, group);
    pb_pack(&bytes, &command->base);
    if (!bytes.failed)
        meta_local_submit(meta, group, buf_span(&bytes), deadline_ns, &reply, NULL);
}

/* A state that was replaced is removed only after its successor's space was published. */
struct kv_snapshot *state_snapshot(struct meta *meta, uint32_t group, uint32_t *ret_space) {
    for (;;) {
        uint32_t space = atomic_load(&meta->groups[group].space);
        struct kv_snapshot *snapshot = kv_snapshot_new(meta->kv);
        *ret_space = space;
        if (atomic_load(&meta->groups[group].space) == space)
            return snapshot;
        kv_snapshot_free(meta->kv, snapshot);
    }
}

int meta_local_stale_query(struct meta *meta, uint32_t group, struct span query,
                           struct buf *ret_reply, struct err *err) {
    uint32_t space;
    struct state_reader reader = {.kv = meta->kv, .snapshot = state_snapshot(meta, group, &space)};
    struct catalog_kv view = state_reader_view(&reader);
    int r = catalog_query(space, &view, query, ret_reply, err);
    kv_snapshot_free(meta->kv, reader.snapshot);
    return r == ERR_CORRUPT ? err_set(err, ERR_BUSY, "its state store is damaged") : r;
}

/* A single voter that leads needs to ask nobody (core/paxos.h, "A reader on another thread"). */
int meta_local_query(struct meta *meta, uint32_t group, struct span query, uint64_t deadline_ns,
                     struct buf *ret_reply, struct err *err) {
    int r = meta_local_check_group(meta, group, err);
    if (r == 0 && !atomic_load(&meta->groups[group].read_free))
        r = ask(meta, CALL_READ, group, (struct span){0}, deadline_ns, NULL, err);
    return r != 0 ? r : meta_local_stale_query(meta, group, query, ret_reply, err);
}

uint64_t meta_local_applied(const struct meta *meta, uint32_t group) {
    return group < meta->group_count ? atomic_load(&meta->groups[group].applied) : 0;
}

uint32_t meta_local_leader(const struct meta *meta, uint32_t group) {
    return group < meta->group_count ? atomic_load(&meta->groups[group].leader) : 0;
}

void meta_watch_leaders(struct meta *meta,
                        void (*changed)(void *context, uint32_t group, uint32_t leader),
                        void *context) {
    pthread_mutex_lock(&meta->watch_mutex);
    meta->leader_changed = changed;
    meta->leader_context = context;
    pthread_mutex_unlock(&meta->watch_mutex);
}

bool meta_local_leads(const struct meta *meta, uint32_t group) {
    return group < meta->group_count && atomic_load(&meta->groups[group].leads);
}
