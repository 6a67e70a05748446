/* At start the groups are restored: the state store says what was applied, the log what came after
 * it. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/engine.h"
#include "meta/state.h"
#include "os/random.h"

#define RESTORE_SLOTS 64u /* applied at once while the log is read */

static void on_durable(void *context, uint64_t lsn) {
    struct meta *meta = context;
    mailbox_post_durable(&meta->mailbox, lsn);
}

static int restored_apply(struct meta *meta, struct err *err) {
    int r = applier_drain(meta, err);
    for (uint32_t g = 0; r == 0 && g < meta->group_count; g++)
        replica_tell_applied(&meta->groups[g], 0);
    return r;
}

static struct group *group_of(struct meta *meta, const struct paxos_record *record) {
    struct group *group = meta_hosts(meta, record->group) ? &meta->groups[record->group] : NULL;
    return group != NULL && record->born == group->drive_born ? group : NULL; /* else long gone */
}

/* A record that does not follow what was before, although the log did not say that it has lost any:
 * a segment is gone, say. */
static void restore_record(struct group *group, const struct paxos_record *record) {
    if (drive_restore(group->drive, record) == 0)
        return;
    log_warn("group %u: the log's record of slot %llu, when %llu were chosen, does not follow the "
             "state store's slot %llu",
             record->group, (unsigned long long)record->slot,
             (unsigned long long)record->chosen_upto,
             (unsigned long long)atomic_load(&group->applied));
    drive_restore_lost(group->drive, true);
    if (drive_restore(group->drive, record) != 0)
        panic("group %u: a record that cannot be restored", record->group);
}

static int note_lost_value(struct group *group, uint64_t slot, struct err *err) {
    bool needed = slot > atomic_load(&group->flushed);
    if (needed && group->meta->alone)
        return err_set(err, ERR_CORRUPT, "group %u: the log has lost the value of slot %llu",
                       group->number, (unsigned long long)slot);
    log_warn("group %u: the log has lost the value of slot %llu%s", group->number,
             (unsigned long long)slot, needed ? "; the other nodes have it" : "");
    return 0;
}

static int replay_record(struct meta *meta, uint64_t lsn, const struct wal_item *item,
                         struct err *err) {
    struct paxos_record record;
    uint32_t size;
    int r = item->kind == WAL_ITEM_RECORD
                ? paxos_record_decode(item->bytes, &record, err)
                : paxos_record_decode_head(item->bytes, &record, &size, err);
    if (r != 0)
        return r;
    struct group *group = group_of(meta, &record);
    if (group != NULL) {
        if (lsn > 0 && record.slot > group->state.void_upto)
            replica_note_slot(group, record.slot, lsn);
        if (record.value == NULL && record.type != PAXOS_RECORD_PROMISE)
            r = note_lost_value(group, record.slot, err);
        if (r == 0)
            restore_record(group, &record);
    }
    paxos_value_unref(record.value);
    return r;
}

/* Any replica that was there may have written what is lost. */
static int replay_lost(struct meta *meta, uint64_t batch_seq, struct err *err) {
    if (meta->alone)
        return err_set(err, ERR_CORRUPT, "the log has lost records of write %llu or before",
                       (unsigned long long)batch_seq);
    log_warn("the log has lost records of write %llu or before", (unsigned long long)batch_seq);
    for (uint32_t g = 0; g < meta->group_count; g++)
        if (meta_hosts(meta, g) && replicas_get(&meta->replicas, g).since_seq < batch_seq)
            drive_restore_lost(meta->groups[g].drive, true);
    return 0;
}

static int on_replay(void *context, uint64_t lsn, const struct wal_item *item, struct err *err) {
    struct meta *meta = context;
    int r = item->kind == WAL_ITEM_LOST ? replay_lost(meta, item->batch_seq, err)
                                        : replay_record(meta, lsn, item, err);
    if (++meta->replayed % RESTORE_SLOTS == 0 && r == 0)
        r = restored_apply(meta, err);
    if (lsn > 0)
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
static int give_up(struct meta *meta, uint32_t number, struct err *err) {
    if (meta->alone)
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
        r = give_up(meta, number, err);
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

/* What it had promised may be lost: it must not vote again (PAXOS.md 2.13 T4). */
static int give_up_amnesic(struct meta *meta, struct err *err) {
    int r = 0;
    for (uint32_t g = 0; r == 0 && g < meta->group_count; g++) {
        struct paxos_status status = {0};
        if (meta_hosts(meta, g))
            paxos_status(drive_paxos(meta->groups[g].drive), &status);
        if (!status.amnesic)
            continue;
        log_error("group %u: the log has lost what the replica here had promised; another one will "
                  "be made",
                  g);
        r = host_give_up(&meta->groups[g], err);
    }
    return r;
}

static int log_open(struct meta *meta, uint64_t segment_bytes, struct err *err) {
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/log", meta->dir);
    uint64_t torn_bytes;
    struct wal_options options = {.dir = dir,
                                  .segment_bytes = segment_bytes,
                                  .replay = on_replay,
                                  .durable = on_durable,
                                  .context = meta};
    int r = wal_open(&options, &meta->wal, &torn_bytes, err);
    struct err story = {0};
    int applied = restored_apply(meta, &story);
    if (r == 0 && applied != 0)
        r = err_set(err, applied, "%s", story.text);
    if (r == 0 && torn_bytes > 0)
        log_info("the log's last write was cut off by a crash and never acknowledged: %llu bytes "
                 "discarded",
                 (unsigned long long)torn_bytes);
    return r;
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
    int r = log_open(meta, segment_bytes, err);
    return r != 0 ? r : give_up_amnesic(meta, err);
}
