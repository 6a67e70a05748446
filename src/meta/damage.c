/* A state store that is damaged is made anew, from the other nodes, by the next start. The process
 * ends for that, but not before they can do without it: two nodes may find damage on the same day,
 * or one while another is away. Until then the node votes, and others lead:
 *
 * - whoever meets the place gets an error, and the applier ends; what it has not applied is in the
 *   log, which is not trimmed any more.
 * - peers are told at once that nothing here counts as held. Each waits for the other, if two are
 *   damaged: better halted than without a quorum. */
#include "base/assert.h"
#include "base/log.h"
#include "meta/engine.h"
#include "meta/map.h"
#include "os/clock.h"

#define HEARD_MS 3000u    /* a peer that works says something every few milliseconds */
#define SPARABLE_MS 3000u /* so long without a doubt */
#define AWAIT_MS 10000u   /* at the start, for the others */
#define ASK_MS 500u

void damage_init(struct damage *damage) {
    pthread_mutex_init(&damage->mutex, NULL);
}

bool damage_is_known(struct meta *meta) {
    return atomic_load(&meta->damage.known);
}

bool damage_is_final(struct meta *meta) {
    return damage_is_known(meta) && !meta->alone;
}

void damage_note(void *context, const struct err *why) {
    struct meta *meta = context;
    struct damage *damage = &meta->damage;
    pthread_mutex_lock(&damage->mutex);
    bool first = damage->why.code == 0;
    if (first) {
        damage->why = *why;
        for (uint32_t g = 0; g < meta->group_count; g++) {
            uint64_t flushed = atomic_load(&meta->groups[g].flushed);
            damage->wanted[g] = flushed > 0 ? flushed : 1;
        }
        atomic_store(&damage->known, true);
    }
    pthread_mutex_unlock(&damage->mutex);
    if (!first)
        return;
    log_error("the state store is damaged: %s; %s", why->text,
              meta->alone ? "nobody else has what it holds"
                          : "it is made anew once the other nodes can do without it");
    peers_send_flushed(meta);
}

/* ---- while the node runs ---- */

static bool holds(struct meta *meta, uint32_t node, uint32_t group, uint64_t slot) {
    const struct peer *peer = peers_find(meta, node);
    return peer != NULL && peer_flushed(peer, group) >= slot &&
           peer_heard_ns(peer) + HEARD_MS * NS_PER_MS >= clock_now_ns();
}

/* The group's other voters are a quorum, and hold what the store here does: something, for a peer
 * that is damaged as well says that it holds nothing. */
static bool is_sparable(struct meta *meta, uint32_t group) {
    struct paxos_config config = meta_config(meta, group);
    uint32_t count = 0;
    for (uint32_t i = 0; i < config.count; i++) {
        const struct paxos_member *member = &config.members[i];
        count += member->voter && member->node != meta->identity.node_id &&
                 holds(meta, member->node, group, meta->damage.wanted[group]);
    }
    return !meta_hosts(meta, group) || count > paxos_config_voters(&config) / 2;
}

static bool all_are_sparable(struct meta *meta) {
    for (uint32_t g = 0; g < meta->group_count; g++)
        if (!is_sparable(meta, g))
            return false;
    return true;
}

void damage_look(struct meta *meta) {
    struct damage *damage = &meta->damage;
    uint64_t now_ns = clock_now_ns();
    if (!damage_is_final(meta))
        return;
    if (!all_are_sparable(meta))
        damage->sparable_since_ns = 0;
    else if (damage->sparable_since_ns == 0)
        damage->sparable_since_ns = now_ns;
    else if (now_ns - damage->sparable_since_ns >= SPARABLE_MS * NS_PER_MS) {
        log_info("the other nodes can do without this state store");
        kv_give_up(meta->kv, &damage->why);
    }
}

/* ---- at the start ---- */

static void note_led(struct meta *meta, uint32_t node, bool *led) {
    struct meta_group_status groups[GROUPS_MAX];
    unsigned count = 0;
    if (node == meta->identity.node_id ||
        meta_remote_status(meta->client, node, clock_deadline_ms(ASK_MS), groups, GROUPS_MAX,
                           &count, NULL) != 0)
        return;
    for (unsigned i = 0; i < count; i++)
        if (groups[i].group < GROUPS_MAX && groups[i].leads)
            led[groups[i].group] = true;
}

/* What was never trimmed is in the log. */
static bool needs_others(struct meta *meta, uint32_t group) {
    struct replica_row row = replicas_get(&meta->replicas, group);
    return row.born != 0 && row.trimmed_upto > 0;
}

static bool needs_any(struct meta *meta) {
    for (uint32_t g = 0; g < meta->group_count; g++)
        if (needs_others(meta, g))
            return true;
    return false;
}

/* Who leads has a quorum, or ceases to lead before long. */
static bool others_suffice(struct meta *meta) {
    bool led[GROUPS_MAX] = {false};
    struct place_map *map = map_cache_get(meta->maps);
    for (uint32_t i = 0; i < map->voter_count; i++)
        note_led(meta, map->voters[i], led);
    place_map_unref(map);
    for (uint32_t g = 0; g < meta->group_count; g++)
        if (needs_others(meta, g) && !led[g])
            return false;
    return true;
}

int damage_await_others(struct meta *meta, struct err *err) {
    uint64_t deadline_ns = clock_deadline_ms(AWAIT_MS), since_ns = 0, now_ns;
    if (!needs_any(meta))
        return 0;
    while ((now_ns = clock_now_ns()) < deadline_ns) {
        if (!others_suffice(meta))
            since_ns = 0;
        else if (since_ns == 0)
            since_ns = now_ns;
        else if (now_ns - since_ns >= SPARABLE_MS * NS_PER_MS)
            return 0;
        clock_sleep_until(clock_deadline_ms(ASK_MS));
    }
    struct err why = *err;
    return err_set(
        err, ERR_CORRUPT,
        "the state store is damaged, and the other nodes do not lead all groups, so that "
        "it cannot be made anew: %s",
        err_message(&why, ERR_CORRUPT));
}
