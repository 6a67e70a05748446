/* Replicas come and go while the node runs. The table of replicas is written first, in the caller's
 * thread; then the replica thread begins or ends to use the replica. */
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/call.h"
#include "meta/engine.h"
#include "meta/state.h"
#include "os/clock.h"
#include "os/random.h"

struct make_order {
    uint32_t born;
    struct catalog *catalog;
};

static int ask(struct meta *meta, enum call_kind kind, uint32_t group, struct span command) {
    struct call *call = call_new(kind, group, command);
    mailbox_post_call(&meta->mailbox, call);
    int r = call_wait(call, DEADLINE_NONE);
    call_unref(call);
    return r;
}

/* ---- any other thread ---- */

int host_open_catalog(struct meta *meta, uint32_t space, struct catalog **ret_catalog,
                      struct err *err) {
    struct state_reader reader = {.kv = meta->kv, .snapshot = kv_snapshot_new(meta->kv)};
    struct catalog_kv view = state_reader_view(&reader);
    int r = catalog_open(space, &view, ret_catalog, err);
    kv_snapshot_free(meta->kv, reader.snapshot);
    return r;
}

/* A state that was being received when the last replica was dropped may be left over. */
static int erase_states(struct meta *meta, uint32_t group, struct err *err) {
    int r = 0;
    for (uint32_t generation = 0; r == 0 && generation <= 1; generation++)
        r = state_erase(meta->kv, group, generation, err);
    return r;
}

static int make(struct meta *meta, uint32_t group, uint32_t *ret_born, struct err *err) {
    struct wal_status status;
    struct make_order order;
    wal_get_status(meta->wal, &status);
    int r = erase_states(meta, group, err);
    if (r != 0)
        return r;
    r = host_open_catalog(meta, catalog_space(group, 0), &order.catalog, err);
    if (r == 0)
        r = replicas_make(&meta->replicas, group, status.batch_seq, &order.born, err);
    if (r == 0)
        r = ask(meta, CALL_MAKE, group, (struct span){(const char *)&order, sizeof order});
    if (r != 0)
        catalog_close(order.catalog);
    *ret_born = order.born;
    return r;
}

int host_make(struct meta *meta, uint32_t group, uint32_t *ret_born, struct err *err) {
    if (group >= meta->group_count)
        return err_set(err, ERR_INVALID, "there is no group %u", group);
    int r = 0;
    pthread_mutex_lock(&meta->host_mutex);
    *ret_born = replicas_get(&meta->replicas, group).born;
    const struct group *there = &meta->groups[group];
    if (atomic_load(&there->erasing) || atomic_load(&there->receiving))
        r = err_set(err, ERR_BUSY, "group %u: its last replica is still being removed", group);
    else if (*ret_born == 0)
        r = make(meta, group, ret_born, err);
    pthread_mutex_unlock(&meta->host_mutex);
    return r;
}

int host_drop(struct meta *meta, uint32_t group, uint32_t born, struct err *err) {
    if (group >= meta->group_count)
        return err_set(err, ERR_INVALID, "there is no group %u", group);
    int r = 0;
    pthread_mutex_lock(&meta->host_mutex);
    if (replicas_get(&meta->replicas, group).born == born) {
        r = replicas_drop(&meta->replicas, group, err);
        if (r == 0)
            r = ask(meta, CALL_DROP, group, (struct span){0});
    }
    pthread_mutex_unlock(&meta->host_mutex);
    return r;
}

struct paxos_config meta_config(struct meta *meta, uint32_t number) {
    struct group *group = &meta->groups[number];
    pthread_mutex_lock(&group->mutex);
    struct paxos_config config = group->config;
    pthread_mutex_unlock(&group->mutex);
    return config;
}

/* ---- the replica thread ---- */

static int begin(struct group *group, const struct make_order *order) {
    struct meta *meta = group->meta;
    struct id128 seed = random_id128();
    struct paxos_options options = {.group = group->number,
                                    .node = meta->identity.node_id,
                                    .born = order->born,
                                    .boot = meta->boot};
    struct drive_io io = replica_io(group);
    memcpy(&options.seed, seed.bytes, sizeof options.seed);
    int r = drive_new(&options, &io, &group->drive, NULL);
    if (r != 0)
        return r;
    group->drive_born = order->born;
    group->catalog = order->catalog;
    group->applied_told = group->check_told = group->last_slot = group->durable_seq = 0;
    group->wants_state = false;
    group->state = (struct state_applied){0};
    group->check = (struct paxos_check){0};
    atomic_store(&group->space, catalog_space(group->number, 0));
    atomic_store(&group->applied, 0);
    atomic_store(&group->flushed, 0);
    atomic_store(&group->hosted, true);
    log_info("group %u: a replica is made here, born %u", group->number, order->born);
    return 0;
}

void host_fini(struct group *group) {
    group->drive = drive_free(group->drive);
    slots_fini(&group->slots);
    group->slots = (struct slots){0};
}

/* Nothing of it is served from here on; the applier, which may have slots of it still, removes the
 * state behind them. */
static void end(struct group *group) {
    propose_fail_all(group, ERR_NOT_LEADER);
    for (struct list *node; (node = list_pop_head(&group->reads)) != NULL;)
        call_finish(LIST_ENTRY(node, struct call, node), ERR_NOT_LEADER);
    atomic_store(&group->hosted, false);
    atomic_store(&group->leads, false);
    atomic_store(&group->read_free, false);
    replica_publish_leader(group, 0);
    atomic_store(&group->erasing, true);
    host_fini(group);
    applier_queue_erase(group);
    log_info("group %u: the replica here is dropped", group->number);
}

int host_give_up(struct group *group, struct err *err) {
    int r = replicas_drop(&group->meta->replicas, group->number, err);
    if (r == 0)
        end(group);
    return r;
}

static void view(struct group *group, struct call *call) {
    const struct paxos *paxos = drive_paxos(group->drive);
    struct paxos_status status;
    struct host_view view = {.config = *paxos_config_of(paxos)};
    paxos_status(paxos, &status);
    view.settled = paxos_is_settled(paxos);
    for (uint32_t i = 0; i < view.config.count; i++)
        view.lags[i] =
            paxos_lag_of(paxos, view.config.members[i].node, view.config.members[i].born);
    buf_append(&call->reply, &view, sizeof view);
    call_finish(call, status.leads ? 0 : ERR_NOT_LEADER);
}

static void change(struct group *group, const struct call *call, uint64_t now_ns) {
    struct paxos_config config;
    ASSERT(call->command_size == sizeof config);
    memcpy(&config, call->command, sizeof config);
    propose_config(group, &config, now_ns);
}

static void transfer(struct group *group, const struct call *call, uint64_t now_ns) {
    uint32_t node;
    ASSERT(call->command_size == sizeof node);
    memcpy(&node, call->command, sizeof node);
    drive_transfer(group->drive, now_ns, node);
}

/* Begun: is the replica ready for another state? Nothing is applied from then on. Done: here it
 * is. Given up: it was not to be had. */
static int install(struct group *group, const struct call *call, uint64_t now_ns) {
    enum host_install step;
    struct paxos_status status;
    ASSERT(call->command_size == sizeof step);
    memcpy(&step, call->command, sizeof step);
    paxos_status(drive_paxos(group->drive), &status);
    if (!group->wants_state)
        return ERR_STALE; /* asked for by a replica before */
    if (step == HOST_INSTALL_BEGIN)
        return status.applied < status.chosen_upto ? ERR_BUSY : 0;
    group->wants_state = false;
    if (step == HOST_INSTALL_FAILED) {
        drive_snapshot(group->drive, now_ns, 0, NULL, NULL);
        return 0;
    }
    const struct state_applied *state = &group->state; /* the applier has nothing to do */
    group->applied_told = state->slot;
    group->check_told = state->check.slot;
    slots_drop(&group->slots, state->slot);
    group->last_slot = group->last_slot > state->slot ? group->last_slot : state->slot;
    drive_snapshot(group->drive, now_ns, state->slot, &state->config,
                   state->check.slot > 0 ? &state->check : NULL);
    atomic_store(&group->applied, state->slot); /* not before the drive knows of it */
    return 0;
}

void host_take_call(struct group *group, struct call *call, uint64_t now_ns) {
    if (call->kind == CALL_MAKE) {
        struct make_order order;
        ASSERT(group->drive == NULL && call->command_size == sizeof order);
        memcpy(&order, call->command, sizeof order);
        call_finish(call, begin(group, &order));
        return;
    }
    if (group->drive == NULL) {
        call_finish(call, call->kind == CALL_DROP ? 0 : ERR_NOT_LEADER);
        return;
    }
    if (call->kind == CALL_VIEW) {
        view(group, call);
        return;
    }
    if (call->kind == CALL_INSTALL) {
        call_finish(call, install(group, call, now_ns));
        return;
    }
    if (call->kind == CALL_DROP)
        end(group);
    else if (call->kind == CALL_CHANGE)
        change(group, call, now_ns);
    else
        transfer(group, call, now_ns);
    call_finish(call, 0);
}
