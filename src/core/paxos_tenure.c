/* How a leader stays one, and hands over: heartbeats, check-quorum, new configurations, transfer of
 * leadership, also away from a slow disk. */
#include "core/paxos_state.h"

#define SLOW_FACTOR 4u /* times the median of the voters' disks, for so long: let another lead */
#define SLOW_NS 2000000000ull
#define SLOW_US_MIN 2000u

void paxos_send_heartbeats(struct paxos *paxos) {
    /* All groups of a node beat together: one wake-up and one frame for each peer. */
    uint64_t interval_ns = paxos->options.heartbeat_ns;
    paxos->heartbeat_at_ns = paxos->now_ns - paxos->now_ns % interval_ns + interval_ns;
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        if (peer == paxos->self)
            continue;
        struct paxos_message *heartbeat = paxos_message_of_leader(paxos, PAXOS_HEARTBEAT, 0);
        heartbeat->slot = peer->sent_upto;
        heartbeat->upto = paxos->barrier_slot;
        heartbeat->seq = paxos->reads.seq;
        heartbeat->check = paxos->agreed;
        paxos_send(paxos, peer, heartbeat);
    }
}

static bool was_heard(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer == paxos->self || paxos->now_ns - peer->heard_ns <= paxos->options.election_max_ns;
}

/* ---- the states compared ---- */

static bool has_check(const struct paxos *paxos, const struct paxos_peer *peer,
                      const struct paxos_check *check) {
    if (peer != paxos->self)
        return peer->check.slot == check->slot &&
               paxos_digest_equal(peer->check.digest, check->digest);
    for (uint32_t i = 0; i < PAXOS_CHECKS; i++)
        if (paxos->checks[i].slot == check->slot &&
            paxos_digest_equal(paxos->checks[i].digest, check->digest))
            return true;
    return false;
}

static void agree(struct paxos *paxos) {
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        const struct paxos_check *check = &paxos->peers[i].check;
        uint32_t count = 0;
        for (uint32_t j = 0; check->slot > paxos->agreed.slot && j < paxos->peer_count; j++)
            count += paxos->peers[j].voter && has_check(paxos, &paxos->peers[j], check);
        if (count >= paxos->quorum)
            paxos->agreed = *check;
    }
    paxos_compare_check(paxos, &paxos->agreed);
}

/* ---- space ---- */

static bool has_space(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer == paxos->self ? paxos->space == PAXOS_SPACE_GOOD : peer->spacious;
}

bool paxos_is_spacious(const struct paxos *paxos) {
    return paxos_has_quorum(paxos, has_space);
}

/* ---- transfer ---- */

static void name_heir(struct paxos *paxos, struct paxos_peer *peer) {
    paxos->heir = peer;
    paxos->heir_told = false;
    paxos->heir_until_ns = paxos->now_ns + paxos->options.election_min_ns;
}

void paxos_on_transfer_event(struct paxos *paxos, uint32_t node) {
    for (uint32_t i = 0; paxos->role == PAXOS_LEADING && i < paxos->peer_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        if (peer->node == node && peer->voter && peer != paxos->self && paxos->heir == NULL)
            name_heir(paxos, peer);
    }
}

void paxos_hand_over(struct paxos *paxos) {
    const struct paxos_peer *heir = paxos->heir;
    uint64_t last = paxos->next_slot - 1;
    if (heir == NULL || paxos->heir_told || paxos->renewing || heir->accepted_upto < last ||
        paxos->chosen_upto < last)
        return;
    paxos->heir_told = true;
    paxos_send(paxos, heir, paxos_message_of_leader(paxos, PAXOS_TRANSFER, 0));
}

static uint32_t sync_us_of(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer == paxos->self ? paxos->sync_us : peer->sync_us;
}

/* Of the voters' disks that are faster than ours, how many; the fastest to *ret_best. */
static uint32_t faster(struct paxos *paxos, struct paxos_peer **ret_best) {
    uint32_t count = 0;
    *ret_best = NULL;
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        uint32_t sync_us = sync_us_of(paxos, peer);
        if (!peer->voter || peer == paxos->self || sync_us == 0 || !was_heard(paxos, peer) ||
            paxos->sync_us <= (uint64_t)SLOW_FACTOR * sync_us)
            continue;
        count++;
        if (*ret_best == NULL || sync_us < (*ret_best)->sync_us)
            *ret_best = peer;
    }
    return count;
}

static struct paxos_peer *roomier(struct paxos *paxos) {
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        if (peer->voter && peer != paxos->self && was_heard(paxos, peer) && peer->spacious)
            return peer;
    }
    return NULL;
}

/* A full disk votes for nothing: whoever has room leads. */
static void check_space(struct paxos *paxos) {
    struct paxos_peer *heir =
        paxos->space == PAXOS_SPACE_NONE && paxos->heir == NULL ? roomier(paxos) : NULL;
    if (COVERED(full_leader, heir != NULL))
        name_heir(paxos, heir);
}

/* PAXOS.md 2.6: "A leader whose fsync EWMA exceeds 4x the quorum median for 2 s transfers
 * leadership." */
static void check_disk(struct paxos *paxos) {
    struct paxos_peer *best;
    bool slow = paxos->sync_us >= SLOW_US_MIN && faster(paxos, &best) >= paxos->quorum;
    if (paxos->sync_us < SLOW_US_MIN || !slow)
        paxos->slow_since_ns = 0;
    else if (paxos->slow_since_ns == 0)
        paxos->slow_since_ns = paxos->now_ns;
    else if (COVERED(slow_leader, paxos->now_ns - paxos->slow_since_ns >= SLOW_NS) &&
             paxos->heir == NULL)
        name_heir(paxos, best);
}

void paxos_leader_tick(struct paxos *paxos) {
    if (paxos_is_alone(paxos) || paxos->now_ns < paxos->heartbeat_at_ns)
        return;
    if (COVERED(quorum_unheard, !paxos_has_quorum(paxos, was_heard))) {
        paxos_step_down(paxos);
        return;
    }
    if (paxos->heir != NULL && COVERED(heir_silent, paxos->now_ns >= paxos->heir_until_ns))
        paxos->heir = NULL;
    agree(paxos);
    check_disk(paxos);
    check_space(paxos);
    paxos_send_heartbeats(paxos);
}

/* ---- configurations ---- */

/* Who becomes a voter must have all but the newest slots: else it would hold up the quorum. */
static bool newcomers_are_ready(struct paxos *paxos, const struct paxos_config *config) {
    for (uint32_t i = 0; i < config->count; i++) {
        const struct paxos_member *member = &config->members[i];
        const struct paxos_member *before =
            paxos_config_find(&paxos->config, member->node, member->born);
        bool comes = member->voter && (before == NULL || !before->voter);
        uint64_t lag = comes ? paxos_lag_of(paxos, member->node, member->born) : 0;
        if (lag > PAXOS_WINDOW && !MUTANT(18))
            return false;
    }
    return true;
}

static int reconfigure_error(struct paxos *paxos, const struct paxos_config *config) {
    if (paxos->role != PAXOS_LEADING)
        return ERR_NOT_LEADER;
    const struct paxos_member *self =
        paxos_config_find(config, paxos->options.node, paxos->options.born);
    if (!paxos_config_is_step(&paxos->config, config) || self == NULL || !self->voter)
        return ERR_INVALID;
    bool settled = paxos->chosen_upto >= paxos->barrier_slot;
    if (!settled || paxos_room(paxos) == 0 || !newcomers_are_ready(paxos, config))
        return ERR_BUSY;
    return 0;
}

void paxos_on_reconfigure(struct paxos *paxos, const struct paxos_event *event) {
    ASSERT(event->cookie != 0);
    int code = reconfigure_error(paxos, event->config);
    uint64_t slot = 0;
    if (code == 0) {
        struct paxos_value *value = paxos_config_encode(event->config);
        slot = paxos_propose_slot(paxos, value, event->cookie);
        paxos_value_unref(value);
    }
    paxos_proposal_done(paxos, event->cookie, slot, code);
}

/* A slot is applied only once this replica's own record of it is durable. */
static bool has_what_was_before(const struct paxos *paxos, const struct paxos_peer *peer) {
    uint64_t applied = peer == paxos->self ? paxos->applied : peer->applied;
    return applied >= paxos->config.slot;
}

bool paxos_is_settled(const struct paxos *paxos) {
    return paxos_room(paxos) > 0 && paxos->chosen_upto > paxos->config.slot &&
           paxos_has_quorum(paxos, has_what_was_before);
}

/* Who is out hands over to a voter that has everything. */
static void resign(struct paxos *paxos) {
    const struct paxos_peer *best = NULL;
    COVER(resigned);
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        const struct paxos_peer *peer = &paxos->peers[i];
        if (peer->voter && (best == NULL || peer->accepted_upto > best->accepted_upto))
            best = peer;
    }
    paxos_send(paxos, best, paxos_message_of_leader(paxos, PAXOS_TRANSFER, 0));
    paxos_step_down(paxos);
}

/* Another leader may have acted with the new voters before, at a lower ballot: phase 1 with them
 * (PAXOS.md 2.11, 3). Reads begin a new round afterwards. */
void paxos_renew(struct paxos *paxos) {
    ASSERT(paxos->chosen_upto == paxos->sealed_slot);
    paxos->sealed_slot = 0;
    if (!paxos_is_voter(paxos) && !MUTANT(17)) {
        resign(paxos);
        return;
    }
    COVER(renewed);
    paxos->renewing = true;
    paxos->reads.confirmed = paxos->reads.asked = paxos->reads.head;
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        peer->promised = false;
        peer->page_slot = 0;
        paxos_report_clear(peer);
    }
    if (MUTANT(16)) {
        paxos_lead_on(paxos);
        return;
    }
    paxos_ask_promises(paxos);
    paxos_election_check(paxos);
}
