/* Starting and stopping the meta role. */
#include "meta/meta.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "os/file.h"

static int genesis_check(const struct meta_options *options, struct err *err) {
    const struct place_map *genesis = options->genesis;
    if (genesis->shards == 0 || genesis->shards >= GROUPS_MAX)
        return err_set(err, ERR_INVALID, "%u shards; at least 1, at most %u", genesis->shards,
                       GROUPS_MAX - 1);
    for (uint32_t v = 0; v < genesis->voter_count; v++)
        if (genesis->voters[v] == options->identity.node_id)
            return 0;
    return err_set(err, ERR_INVALID, "node %u is none of the cluster's voters",
                   options->identity.node_id);
}

static struct meta *meta_new(const struct meta_options *options) {
    struct meta *meta = calloc(1, sizeof *meta);
    if (meta == NULL || (meta->dir = strdup(options->dir)) == NULL)
        panic("out of memory for the meta role");
    struct place_map *genesis = options->genesis;
    meta->identity = options->identity;
    meta->client = options->client;
    meta->boot = options->boot;
    meta->group_count = genesis->shards + 1;
    meta->voter_count = genesis->voter_count;
    memcpy(meta->voters, genesis->voters, sizeof meta->voters);
    meta->groups = calloc(meta->group_count, sizeof *meta->groups);
    if (meta->groups == NULL)
        panic("out of memory for the meta role");
    mailbox_init(&meta->mailbox);
    map_cache_init(&meta->maps, genesis);
    return meta;
}

static struct meta *meta_free(struct meta *meta) {
    if (meta->wal != NULL)
        wal_close(meta->wal);
    if (meta->kv != NULL) {
        replica_fini(meta);
        applier_fini(meta);
        kv_close(meta->kv);
    }
    mailbox_fini(&meta->mailbox);
    map_cache_fini(&meta->maps);
    free(meta->groups);
    free(meta->dir);
    free(meta);
    return NULL;
}

static int state_open(struct meta *meta, struct err *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/state", meta->dir);
    int r = file_make_directories(meta->dir, err);
    return r != 0 ? r : kv_open(path, &(struct kv_options){0}, &meta->kv, err);
}

int meta_start(const struct meta_options *options, struct meta **ret_meta, struct err *err) {
    int r = genesis_check(options, err);
    if (r != 0)
        return r;
    struct meta *meta = meta_new(options);
    r = state_open(meta, err);
    if (r == 0) {
        applier_init(meta);
        r = replica_recover(meta, err);
    }
    if (r != 0) {
        meta_free(meta);
        return r;
    }
    for (uint32_t v = 0; v < meta->voter_count; v++)
        if (meta->voters[v] != meta->identity.node_id)
            meta->peers[v] = peer_start(meta, meta->voters[v]);
    slot_server_start(meta);
    applier_start(meta);
    keeper_start(meta);
    replica_start(meta);
    members_start(meta);
    server_add_handlers(meta, options->server);
    *ret_meta = meta;
    return 0;
}

/* In the order in which they need each other: who asks the replica stops before it, whom it asks
 * after. */
struct meta *meta_stop(struct meta *meta) {
    if (meta == NULL)
        return NULL;
    members_stop(meta);
    keeper_stop(meta);
    replica_stop(meta);
    slot_server_stop(meta);
    for (uint32_t v = 0; v < meta->voter_count; v++)
        meta->peers[v] = peer_stop(meta->peers[v]);
    applier_stop(meta);
    return meta_free(meta);
}

unsigned meta_status(struct meta *meta, struct meta_group_status *ret_groups, unsigned count) {
    unsigned g = 0;
    for (; g < meta->group_count && g < count; g++) {
        const struct group *group = &meta->groups[g];
        ret_groups[g] =
            (struct meta_group_status){.group = g,
                                       .leader = atomic_load(&group->leader),
                                       .leads = atomic_load(&group->leads),
                                       .ballot_round = atomic_load(&group->ballot_round),
                                       .chosen_upto = atomic_load(&group->chosen_upto),
                                       .applied_upto = atomic_load(&group->applied)};
    }
    return g;
}
