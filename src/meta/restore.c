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
    if (record.group < meta->group_count) {
        struct group *group = &meta->groups[record.group];
        replica_note_slot(group, record.slot, lsn);
        r = drive_restore(group->drive, &record);
    } else {
        r = ERR_CORRUPT;
    }
    if (r != 0)
        err_set(err, r, "group %u slot %llu cannot be restored from the log", record.group,
                (unsigned long long)record.slot);
    paxos_value_unref(record.value);
    if (lsn % RESTORE_SLOTS == 0)
        restored_apply(meta);
    meta->last_lsn = meta->durable_lsn = lsn;
    return r;
}

static void paxos_options_fill(const struct meta *meta, uint32_t group,
                               struct paxos_options *ret_options) {
    struct id128 seed = random_id128();
    *ret_options = (struct paxos_options){
        .group = group, .node = meta->identity.node_id, .born = 1, .boot = meta->boot};
    memcpy(&ret_options->seed, seed.bytes, sizeof ret_options->seed);
    ret_options->config.count = meta->voter_count;
    for (uint32_t v = 0; v < meta->voter_count; v++)
        ret_options->config.members[v] = (struct paxos_member){meta->voters[v], 1, true};
}

static int group_recover(struct meta *meta, uint32_t number, struct err *err) {
    struct group *group = &meta->groups[number];
    struct paxos_options options;
    paxos_options_fill(meta, number, &options);
    int r = state_get_applied(meta->kv, number, &options.applied, err);
    if (r != 0)
        return r;
    group->meta = meta;
    group->number = number;
    group->applied_told = options.applied;
    atomic_store(&group->applied, options.applied);
    list_init(&group->waiting);
    list_init(&group->proposals);
    list_init(&group->reads);
    struct drive_io io = replica_io(group);
    r = drive_new(&options, &io, &group->drive, err);
    struct catalog_kv view = state_batch_view(meta->applier.batch);
    return r != 0 ? r : catalog_open(number, &view, &group->catalog, err);
}

int replica_recover(struct meta *meta, struct err *err) {
    list_init(&meta->trims);
    for (uint32_t g = 0; g < meta->group_count; g++) {
        int r = group_recover(meta, g, err);
        if (r != 0)
            return r;
    }
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/log", meta->dir);
    uint64_t torn_bytes;
    struct wal_options options = {
        .dir = dir, .replay = on_replay, .durable = on_durable, .context = meta};
    int r = wal_open(&options, &meta->wal, &torn_bytes, err);
    restored_apply(meta);
    if (r == 0 && torn_bytes > 0)
        log_info("the log's last write was cut off by a crash and never acknowledged: %llu bytes "
                 "discarded",
                 (unsigned long long)torn_bytes);
    return r;
}
