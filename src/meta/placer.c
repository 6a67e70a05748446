/* Where groups are: the leader of each moves it to the nodes that the cluster map names, a step at
 * a time (core/member.h), and gives leadership away when its node leads more than its share. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "core/member.h"
#include "meta/call.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "meta/request.h"
#include "os/clock.h"

#define LOOK_MS 200
#define IDLE_LOOKS 10u   /* between looks at groups that are where they should be */
#define DAMAGED_LOOKS 5u /* between tries to give away what a damaged node leads */
#define ASK_MS 1000
#define NODES_MAX (PLACE_VOTERS_MAX + 32u) /* that may have replicas of anything */

/* What a node says that it has. */
struct known {
    uint32_t node;
    bool answers;
    uint32_t born[GROUPS_MAX];
};

struct placer {
    struct meta *meta;
    pthread_t thread;
    uint32_t idle; /* looks since all groups were looked at */
    uint32_t known_count;
    struct known known[NODES_MAX]; /* of this look */
    pthread_mutex_t mutex;         /* of stopping */
    pthread_cond_t stopped;
    bool stopping;
};

static int ask_replica(struct meta *meta, enum call_kind kind, uint32_t group, struct span command,
                       struct host_view *ret_view) {
    struct call *call = call_new(kind, group, command);
    mailbox_post_call(&meta->mailbox, call);
    int r = call_wait(call, clock_deadline_ms(ASK_MS));
    if (r == 0 && ret_view != NULL) {
        ASSERT(call->reply.size == sizeof *ret_view);
        memcpy(ret_view, call->reply.data, sizeof *ret_view);
    }
    call_unref(call);
    return r;
}

/* ---- what the nodes have ---- */

static bool ask_node(struct meta *meta, struct known *known) {
    _cleanup_(buf_finip) struct buf reply = BUF_INIT;
    struct meta_replica rows[GROUPS_MAX];
    int r = rpc_call(meta->client, known->node, RPC_META_VIEW, (struct span){0}, true,
                     clock_deadline_ms(ASK_MS), &reply, NULL);
    if (r != 0 || reply.size != meta->group_count * sizeof *rows)
        return false;
    memcpy(rows, reply.data, reply.size);
    for (uint32_t g = 0; g < meta->group_count; g++)
        known->born[g] = rows[g].born;
    return true;
}

/* Asked once a look. NULL when too many have been. */
static const struct known *known_of(struct placer *placer, uint32_t node) {
    struct meta *meta = placer->meta;
    for (uint32_t i = 0; i < placer->known_count; i++)
        if (placer->known[i].node == node)
            return &placer->known[i];
    if (placer->known_count == NODES_MAX)
        return NULL;
    struct known *known = &placer->known[placer->known_count++];
    *known = (struct known){.node = node};
    if (node != meta->identity.node_id) {
        known->answers = ask_node(meta, known);
        return known;
    }
    known->answers = true;
    for (uint32_t g = 0; g < meta->group_count; g++)
        known->born[g] = replicas_get(&meta->replicas, g).born;
    return known;
}

/* ---- one group ---- */

static void view_add(struct placer *placer, uint32_t group, uint32_t node, bool wanted,
                     struct member_view *view) {
    for (uint32_t i = 0; i < view->node_count; i++)
        if (view->nodes[i].node == node)
            return;
    const struct known *known = known_of(placer, node);
    if (known == NULL || view->node_count == MEMBER_NODES_MAX)
        return;
    view->nodes[view->node_count++] = (struct member_node){
        .node = node, .wanted = wanted, .known = known->answers, .born = known->born[group]};
}

/* Wanted nodes, members, and whoever else has a replica. */
static void view_fill(struct placer *placer, const struct place_map *map, uint32_t group,
                      const struct host_view *seen, struct member_view *view) {
    *view = (struct member_view){.config = &seen->config,
                                 .leader = placer->meta->identity.node_id,
                                 .settled = seen->settled};
    memcpy(view->lags, seen->lags, sizeof view->lags);
    const struct place_group *placed = &map->groups[group];
    for (uint32_t i = 0; i < placed->count; i++)
        view_add(placer, group, placed->nodes[i], true, view);
    for (uint32_t i = 0; i < seen->config.count; i++)
        view_add(placer, group, seen->config.members[i].node, false, view);
    for (uint32_t i = 0; i < map->node_count && placer->known_count < NODES_MAX; i++) {
        const struct known *known = map->nodes[i].down ? NULL : known_of(placer, map->nodes[i].id);
        if (known != NULL && known->born[group] != 0)
            view_add(placer, group, known->node, false, view);
    }
}

static void tell_node(struct meta *meta, uint32_t node, uint16_t type,
                      struct meta_replica replica) {
    _cleanup_(buf_finip) struct buf reply = BUF_INIT;
    struct err err = {0};
    struct span bytes = {(const char *)&replica, sizeof replica};
    int r;
    if (node == meta->identity.node_id)
        r = type == RPC_META_MAKE ? host_make(meta, replica.group, &replica.born, &err)
                                  : host_drop(meta, replica.group, replica.born, &err);
    else
        r = rpc_call(meta->client, node, type, bytes, true, clock_deadline_ms(ASK_MS), &reply,
                     &err);
    if (r != 0)
        log_info("group %u: node %u did not %s a replica: %s", replica.group, node,
                 type == RPC_META_MAKE ? "make" : "drop", err_message(&err, r));
}

/* A leader that was deposed may know an old configuration; one that has just had a quorum does
 * not. */
static void drop(struct meta *meta, uint32_t group, const struct member_step *step) {
    if (ask_replica(meta, CALL_READ, group, (struct span){0}, NULL) != 0)
        return;
    struct paxos_config config = meta_config(meta, group);
    if (paxos_config_find(&config, step->node, step->born) == NULL)
        tell_node(meta, step->node, RPC_META_DROP, (struct meta_replica){group, step->born});
}

static void carry_out(struct meta *meta, uint32_t group, const struct member_step *step) {
    struct span config = {(const char *)&step->config, sizeof step->config};
    struct span node = {(const char *)&step->node, sizeof step->node};
    switch (step->action) {
    case MEMBER_NOTHING:
        return;
    case MEMBER_MAKE:
        tell_node(meta, step->node, RPC_META_MAKE, (struct meta_replica){.group = group});
        return;
    case MEMBER_CHANGE:
        log_info("group %u: from %u to %u members", group, meta_config(meta, group).count,
                 step->config.count);
        ask_replica(meta, CALL_CHANGE, group, config, NULL);
        return;
    case MEMBER_TRANSFER:
        log_info("group %u: node %u shall lead", group, step->node);
        ask_replica(meta, CALL_TRANSFER, group, node, NULL);
        return;
    case MEMBER_DROP:
        drop(meta, group, step);
        return;
    }
}

static bool is_placed(const struct place_group *placed, const struct paxos_config *config) {
    for (uint32_t i = 0; i < config->count; i++)
        if (!config->members[i].voter || !place_group_has(placed, config->members[i].node))
            return false;
    return config->count == placed->count;
}

/* True when there is something left to do. */
static bool place(struct placer *placer, const struct place_map *map, uint32_t group) {
    struct host_view seen;
    if (ask_replica(placer->meta, CALL_VIEW, group, (struct span){0}, &seen) != 0)
        return false;
    struct member_view view;
    struct member_step step;
    view_fill(placer, map, group, &seen, &view);
    member_plan(&view, &step);
    carry_out(placer->meta, group, &step);
    return step.action != MEMBER_NOTHING || !is_placed(&map->groups[group], &seen.config);
}

/* ---- who leads ---- */

static uint32_t led_by(struct meta *meta, uint32_t node) {
    uint32_t count = 0;
    for (uint32_t g = META_ROOT + 1; g < meta->group_count; g++)
        count += meta_local_leader(meta, g) == node;
    return count;
}

/* A voter that could lead. One whose state store is damaged says that it holds nothing. */
static bool is_fit(struct meta *meta, uint32_t group, const struct paxos_member *member,
                   uint64_t lag) {
    const struct peer *peer = peers_find(meta, member->node);
    return member->voter && lag <= PAXOS_WINDOW && peer != NULL && peer_flushed(peer, group) > 0;
}

/* Of the other voters that keep up, the one that leads least; 0 = none leads fewer than so many. */
static uint32_t heir_of(struct meta *meta, uint32_t group, const struct host_view *seen,
                        uint32_t fewest) {
    uint32_t best = 0;
    for (uint32_t i = 0; i < seen->config.count; i++) {
        const struct paxos_member *member = &seen->config.members[i];
        uint32_t count = led_by(meta, member->node);
        if (is_fit(meta, group, member, seen->lags[i]) && count < fewest) {
            best = member->node;
            fewest = count;
        }
    }
    return best;
}

/* To who leads fewer groups than so many. */
static bool give_away(struct meta *meta, uint32_t group, uint32_t fewest, bool even_unsettled) {
    struct host_view seen;
    if (!meta_local_leads(meta, group) ||
        ask_replica(meta, CALL_VIEW, group, (struct span){0}, &seen) != 0 ||
        !(seen.settled || even_unsettled))
        return false;
    struct member_step step = {.action = MEMBER_TRANSFER,
                               .node = heir_of(meta, group, &seen, fewest)};
    if (step.node == 0)
        return false;
    carry_out(meta, group, &step);
    return true;
}

/* One shard a look goes to who leads fewer. The root stays: what the scheduler holds goes with
 * it. */
static void spread_leaders(struct placer *placer) {
    struct meta *meta = placer->meta;
    uint32_t here = led_by(meta, meta->identity.node_id);
    for (uint32_t g = META_ROOT + 1; here > 0 && g < meta->group_count; g++)
        if (give_away(meta, g, here - 1, false))
            return;
}

/* What is damaged here is not to be asked. */
static void lead_nothing(struct placer *placer) {
    for (uint32_t g = META_ROOT; g < placer->meta->group_count; g++)
        give_away(placer->meta, g, UINT32_MAX, true);
}

/* ---- the thread ---- */

/* Groups that are where they should be are looked at less often: for replicas that were left
 * over, and voters that lost theirs. */
static void look(struct placer *placer) {
    struct meta *meta = placer->meta;
    if (damage_is_final(meta)) {
        if (placer->idle++ % DAMAGED_LOOKS == 0)
            lead_nothing(placer);
        return;
    }
    struct place_map *map = map_cache_get(meta->maps);
    bool all = ++placer->idle >= IDLE_LOOKS, busy = false;
    placer->known_count = 0;
    for (uint32_t g = 0; g < meta->group_count && g <= map->shards; g++) {
        if (!meta_local_leads(meta, g))
            continue;
        struct paxos_config config = meta_config(meta, g);
        if (all || !is_placed(&map->groups[g], &config))
            busy |= place(placer, map, g);
    }
    if (all && !busy)
        spread_leaders(placer);
    placer->idle = all && !busy ? 0 : placer->idle;
    place_map_unref(map);
}

static void *place_groups_now(void *argument) {
    struct placer *placer = argument;
    pthread_setname_np(pthread_self(), "placer");
    pthread_mutex_lock(&placer->mutex);
    while (!placer->stopping) {
        if (clock_cond_wait(&placer->stopped, &placer->mutex, clock_deadline_ms(LOOK_MS)))
            continue;
        pthread_mutex_unlock(&placer->mutex);
        look(placer);
        pthread_mutex_lock(&placer->mutex);
    }
    pthread_mutex_unlock(&placer->mutex);
    return NULL;
}

void placer_start(struct meta *meta) {
    struct placer *placer = calloc(1, sizeof *placer);
    if (placer == NULL)
        panic("out of memory for the placer");
    placer->meta = meta;
    pthread_mutex_init(&placer->mutex, NULL);
    clock_cond_init(&placer->stopped);
    meta->placer = placer;
    if (pthread_create(&placer->thread, NULL, place_groups_now, placer) != 0)
        panic("cannot start the placer's thread");
}

void placer_stop(struct meta *meta) {
    struct placer *placer = meta->placer;
    if (placer == NULL)
        return;
    pthread_mutex_lock(&placer->mutex);
    placer->stopping = true;
    pthread_cond_signal(&placer->stopped);
    pthread_mutex_unlock(&placer->mutex);
    pthread_join(placer->thread, NULL);
    free(placer);
    meta->placer = NULL;
}
