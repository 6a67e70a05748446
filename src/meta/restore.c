/* At start the groups are restored: the state store says what was applied, the log what came after
 * it. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "meta/engine.h"
#include "meta/state.h"
#include "os/random.h"

#define RESTORE_SLOTS 64u /* applied at once while the log is read */

static void on_durable(void *context, uint64_t lsn) {
    struct meta *meta = context;
    mailbox_post_durable(&meta->mailbox, lsn);
}

static void restored_apply(struct meta *meta) {
    applier_drain(meta);
    for (uint32_t g = 0; g < meta->group_count; g++)
        replica_tell_applied(&meta->groups[g], 0);
}

static int on_replay(void *context, uint64_t lsn, struct span bytes, struct err *err) {
    struct meta *meta = context;
    struct paxos_record record;
    int r = paxos_record_decode(bytes, &record, err);
    if (r != 0)
        return r;
    struct group *group = meta_hosts(meta, record.group) ? &meta->groups[record.group] : NULL;
    if (group == NULL || record.born != group->drive_born) {
        r = 0; /* of a replica that is no more */
    } else {
        if (record.slot > group->state.void_upto)
            replica_note_slot(group, record.slot, lsn);
        r = drive_restore(group->drive, &record);
    }
    if (r != 0)
        err_set(err, r,
                "group %u: the log's record of slot %llu, when %llu were chosen, does not follow "
                "the state store's slot %llu",
                record.group, (unsigned long long)record.slot,
                (unsigned long long)record.chosen_upto,
                (unsigned long long)atomic_load(&meta->groups[record.group].applied));
    paxos_value_unref(record.value);
    if (lsn % RESTORE_SLOTS == 0)
        restored_apply(meta);
    meta->last_lsn = meta->durable_lsn = lsn;
    return r;
}

static void group_init(struct meta *meta, uint32_t number) {
    struct group *group = &meta->groups[number];
    group->meta = meta;
    group->number = number;
    list_init(&group->waiting);
    list_init(&group->proposals);
    list_init(&group->reads);
    pthread_mutex_init(&group->mutex, NULL);
}

/* What a group was founded with: nothing else can be its configuration before one was chosen. */
static struct paxos_config founders_of(const struct place_group *placed) {
    struct paxos_config config = {.count = placed->count};
    for (uint32_t i = 0; i < placed->count; i++)
        config.members[i] = (struct paxos_member){placed->nodes[i], REPLICA_FOUNDER, true};
    return config;
}

/* The log begins above what the state store holds: the store was lost, or put back from long ago.
 * With others to learn from the replica is given up for a new one (core/member.h); alone, it must
 * not begin anew as if nothing had been there. */
static int give_up(struct meta *meta, bool alone, uint32_t number, struct err *err) {
    if (alone)
        return err_set(err, ERR_CORRUPT, "%s/state has lost what the log no longer holds",
                       meta->dir);
    log_error("group %u: the state store has lost what the log no longer holds; another replica "
              "will be made here",
              number);
    int r = replicas_drop(&meta->replicas, number, err);
    return r != 0 ? r : state_forget(meta->kv, number, err);
}

static int options_fill(struct meta *meta, const struct place_map *genesis, uint32_t number,
                        struct paxos_options *ret_options, struct err *err) {
    struct id128 seed = random_id128();
    struct state_applied *state = &meta->groups[number].state;
    struct replica_row row = replicas_get(&meta->replicas, number);
    int r = state_get_applied(meta->kv, NULL, number, state, err);
    if (r == 0 && row.born != 0 && state->slot < row.trimmed_upto) {
        r = give_up(meta, genesis->node_count == 1, number, err);
        *state = (struct state_applied){0};
        row.born = 0;
    }
    for (uint32_t generation = 0; r == 0 && generation <= 1; generation++)
        if (state->slot == 0 || generation != state->generation)
            r = state_erase(meta->kv, number, generation, err); /* what a crash left over */
    if (state->config.count == 0 && row.born == REPLICA_FOUNDER)
        state->config = founders_of(&genesis->groups[number]);
    *ret_options = (struct paxos_options){.group = number,
                                          .node = meta->identity.node_id,
                                          .born = row.born,
                                          .boot = meta->boot,
                                          .applied = state->slot,
                                          .config = state->config};
    memcpy(&ret_options->seed, seed.bytes, sizeof ret_options->seed);
    return r;
}

static int group_recover(struct meta *meta, const struct place_map *genesis, uint32_t number,
                         struct err *err) {
    struct group *group = &meta->groups[number];
    struct paxos_options options;
    int r = options_fill(meta, genesis, number, &options, err);
    if (r != 0 || options.born == 0)
        return r;
    group->drive_born = options.born;
    group->applied_told = options.applied;
    group->config = options.config;
    group->check = group->state.check;
    atomic_store(&group->space, catalog_space(number, group->state.generation));
    atomic_store(&group->applied, options.applied);
    atomic_store(&group->flushed, options.applied);
    struct drive_io io = replica_io(group);
    r = drive_new(&options, &io, &group->drive, err);
    if (r == 0)
        atomic_store(&group->hosted, true);
    struct catalog_kv view = state_batch_view(meta->applier.batch);
    return r != 0 ? r : catalog_open(atomic_load(&group->space), &view, &group->catalog, err);
}

int replica_recover(struct meta *meta, const struct place_map *genesis, uint64_t segment_bytes,
                    struct err *err) {
    list_init(&meta->trims);
    for (uint32_t g = 0; g < meta->group_count; g++)
        group_init(meta, g);
    for (uint32_t g = 0; g < meta->group_count; g++) {
        int r = group_recover(meta, genesis, g, err);
        if (r != 0)
            return r;
    }
    uint32_t hosted = 0;
    for (uint32_t g = 0; g < meta->group_count; g++)
        hosted += meta_hosts(meta, g);
    if (hosted == 0)
        log_info("no Paxos group has a replica here; the others may place some");
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/log", meta->dir);
    uint64_t torn_bytes;
    struct wal_options options = {.dir = dir,
                                  .segment_bytes = segment_bytes,
                                  .replay = on_replay,
                                  .durable = on_durable,
                                  .context = meta};
    int r = wal_open(&options, &meta->wal, &torn_bytes, err);
    restored_apply(meta);
    if (r == 0 && torn_bytes > 0)
        log_info("the log's last write was cut off by a crash and never acknowledged: %llu bytes "
                 "discarded",
                 (unsigned long long)torn_bytes);
    return r;
}
