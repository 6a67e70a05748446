/* The replica as a whole: made from options, driven by events, each of which goes to its part. */
#include <stdlib.h>

#include "core/paxos_state.h"

#define MS 1000000ull
#define ALONE_TICK_NS (1000 * MS) /* a single replica that leads has nothing to wait for */

static void options_default(struct paxos_options *options) {
    struct {
        uint64_t *field;
        uint64_t value;
    } defaults[] = {
        {&options->heartbeat_ns, 20 * MS},          {&options->stickiness_ns, 150 * MS},
        {&options->election_min_ns, 300 * MS},      {&options->election_max_ns, 600 * MS},
        {&options->rank_step_ns, 5 * MS},           {&options->recall_ns, 100 * MS},
        {&options->recent_bytes, 2 << 20},          {&options->window, PAXOS_WINDOW},
        {&options->open_max, PAXOS_OPEN_MAX},       {&options->busy_records, PAXOS_LOG_BUSY},
        {&options->page_entries, PAXOS_ENTRIES_MAX}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (*defaults[i].field == 0)
            *defaults[i].field = defaults[i].value;
}

static bool options_are_sane(const struct paxos_options *options) {
    return options->node > 0 && options->born > 0 && options->boot > 0 &&
           (options->config.count == 0 || paxos_config_is_sane(&options->config)) &&
           options->config.slot <= options->applied &&
           options->election_max_ns >= options->election_min_ns &&
           options->window <= PAXOS_WINDOW && options->open_max <= PAXOS_OPEN_MAX &&
           options->busy_records <= PAXOS_LOG_BUSY && options->page_entries <= PAXOS_ENTRIES_MAX;
}

int paxos_new(const struct paxos_options *options, struct paxos **ret_paxos, struct err *err) {
    if (!options_are_sane(options))
        return err_set(err, ERR_INVALID, "group %u: members, node or times make no sense",
                       options->group);
    struct paxos *paxos = calloc(1, sizeof *paxos);
    if (paxos == NULL)
        panic("out of memory");
    paxos->options = *options;
    options_default(&paxos->options);
    rng_init(&paxos->rng, options->seed);
    paxos_adopt(paxos, &options->config);
    paxos->chosen_upto = paxos->applied = paxos->last_slot = options->applied;
    paxos->kept_from = options->applied + 1;
    *ret_paxos = paxos;
    return 0;
}

struct paxos *paxos_free(struct paxos *paxos) {
    if (paxos == NULL)
        return NULL;
    paxos_slots_fini(paxos);
    paxos_recover_clear(paxos);
    free(paxos);
    return NULL;
}

/* ---- what the parts share ---- */

void paxos_send_to(struct paxos *paxos, uint32_t node, uint32_t born, struct paxos_message *message,
                   uint64_t gate) {
    struct paxos_out *out = paxos->out;
    ASSERT(node != 0);
    ASSERT(node != paxos->options.node || born != paxos->options.born);
    if (out->message_count == PAXOS_OUT_MESSAGES) {
        paxos_message_free(message);
        return;
    }
    message->group = paxos->options.group;
    message->from = paxos->options.node;
    message->from_born = paxos->options.born;
    message->to = node;
    message->to_born = born;
    message->config_slot = paxos->config.slot;
    out->messages[out->message_count++] = (struct paxos_send){message, gate};
}

void paxos_send(struct paxos *paxos, const struct paxos_peer *peer, struct paxos_message *message) {
    paxos_send_to(paxos, peer->node, peer->born, message, 0);
}

void paxos_reply(struct paxos *paxos, const struct paxos_message *to, struct paxos_message *message,
                 uint64_t gate) {
    paxos_send_to(paxos, to->from, to->from_born, message, gate);
}

void paxos_saw_round(struct paxos *paxos, uint64_t round) {
    if (round > paxos->round_max)
        paxos->round_max = round;
}

void paxos_set_leader(struct paxos *paxos, uint32_t node) {
    if (paxos->leader != node)
        paxos->out->leader_changed = true;
    paxos->leader = node;
}

/* ---- events ---- */

static int (*const handlers[PAXOS_MESSAGE_END])(struct paxos *, const struct paxos_message *) = {
    [PAXOS_PROBE] = paxos_on_probe,         [PAXOS_PROBE_REPLY] = paxos_on_probe_reply,
    [PAXOS_PREPARE] = paxos_on_prepare,     [PAXOS_PROMISE] = paxos_on_promise,
    [PAXOS_ACCEPT] = paxos_on_accept,       [PAXOS_ACCEPTED] = paxos_on_accepted,
    [PAXOS_HEARTBEAT] = paxos_on_heartbeat, [PAXOS_HEARTBEAT_ACK] = paxos_on_heartbeat_ack,
    [PAXOS_NACK] = paxos_on_nack,           [PAXOS_LEARN_REQ] = paxos_on_learn_req,
    [PAXOS_LEARN] = paxos_on_learn,         [PAXOS_FETCH] = paxos_on_fetch,
    [PAXOS_FETCHED] = paxos_on_fetched,     [PAXOS_SNAPSHOT] = paxos_on_snapshot_message,
    [PAXOS_TRANSFER] = paxos_on_transfer,   [PAXOS_RECALL] = paxos_on_recall,
    [PAXOS_RECALLED] = paxos_on_recalled,
};

/* Who asks for a vote before all is recalled is not answered: it asks again. */
static bool is_for_voters(enum paxos_message_type type) {
    return type == PAXOS_PROBE || type == PAXOS_PREPARE || type == PAXOS_ACCEPT ||
           type == PAXOS_HEARTBEAT || type == PAXOS_TRANSFER;
}

/* Answers count only from members, the handlers see to that; questions are answered whoever asks:
 * quorums are the asker's affair. */
static int on_message(struct paxos *paxos, const struct paxos_message *message) {
    const struct paxos_options *options = &paxos->options;
    if (message->group != options->group || message->to != options->node ||
        message->to_born != options->born || message->from == 0 || message->from_born == 0 ||
        (message->from == options->node && message->from_born == options->born))
        return ERR_STALE;
    ASSERT(message->type > 0);
    ASSERT(message->type < PAXOS_MESSAGE_END);
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from, message->from_born);
    if (peer != NULL)
        peer->heard_ns = paxos->now_ns;
    if (is_for_voters(message->type) && paxos_is_recalling(paxos))
        return 0;
    return handlers[message->type](paxos, message);
}

static void on_tick(struct paxos *paxos) {
    paxos_recall_check(paxos);
    if (paxos->role == PAXOS_LEADING)
        paxos_leader_tick(paxos);
    else if (paxos->now_ns >= paxos->election_at_ns)
        paxos_probe(paxos);
    if (paxos_is_preparing(paxos) && paxos->now_ns >= paxos->retry_at_ns)
        paxos_ask_promises(paxos);
}

/* Of the voters, in the configuration's order, how many come between the node and this replica. */
static uint32_t rank_behind(const struct paxos *paxos, uint32_t node) {
    uint32_t count = paxos->peer_count, rank = 0, at = 0;
    while (at < count && paxos->peers[at].node != node)
        at++;
    for (uint32_t i = 1; i <= count; i++) {
        const struct paxos_peer *peer = &paxos->peers[(at + i) % count];
        if (peer == paxos->self)
            return rank;
        rank += peer->voter && peer->node != node;
    }
    return rank;
}

/* The leader seems to have crashed: the voters after it try one after the other. */
static void on_peer_reset(struct paxos *paxos, uint32_t node) {
    if (paxos->role == PAXOS_LEADING || node == 0 || node != paxos->leader ||
        !paxos_is_voter(paxos))
        return;
    const struct paxos_options *options = &paxos->options;
    COVER(hint_used);
    paxos_set_leader(paxos, 0);
    paxos->hint_until_ns = paxos->now_ns + 2 * options->stickiness_ns;
    paxos->election_at_ns = paxos->now_ns + rank_behind(paxos, node) * options->rank_step_ns;
}

static void on_applied(struct paxos *paxos, const struct paxos_event *event) {
    ASSERT(event->slot >= paxos->applied);
    ASSERT(event->slot <= paxos->chosen_upto);
    paxos->applied = event->slot;
    if (event->check.slot > 0)
        paxos->checks[paxos->check_count++ % PAXOS_CHECKS] = event->check;
}

static void on_durable(struct paxos *paxos, uint64_t write_seq) {
    ASSERT(write_seq >= paxos->durable_seq);
    ASSERT(write_seq <= paxos->write_seq);
    paxos->durable_seq = write_seq;
}

static int dispatch(struct paxos *paxos, const struct paxos_event *event) {
    switch (event->type) {
    case PAXOS_EVENT_TICK:
        on_tick(paxos);
        return 0;
    case PAXOS_EVENT_MESSAGE:
        return on_message(paxos, event->message);
    case PAXOS_EVENT_DURABLE:
        on_durable(paxos, event->write_seq);
        return 0;
    case PAXOS_EVENT_PROPOSE:
        paxos_on_propose(paxos, event);
        return 0;
    case PAXOS_EVENT_RECONFIGURE:
        paxos_on_reconfigure(paxos, event);
        return 0;
    case PAXOS_EVENT_TRANSFER:
        paxos_on_transfer_event(paxos, event->node);
        return 0;
    case PAXOS_EVENT_READ:
        paxos_on_read(paxos, event->cookie);
        return 0;
    case PAXOS_EVENT_APPLIED:
        on_applied(paxos, event);
        return 0;
    case PAXOS_EVENT_SNAPSHOT:
        paxos_on_snapshot_event(paxos, event);
        return 0;
    case PAXOS_EVENT_DISK:
        paxos->space = event->space;
        paxos->sync_us = event->sync_us;
        return 0;
    case PAXOS_EVENT_PEER_RESET:
        on_peer_reset(paxos, event->node);
        return 0;
    case PAXOS_EVENT_RESTORE:
        return paxos_restore(paxos, event->record);
    case PAXOS_EVENT_RESTORE_LOST:
        paxos_restore_lost(paxos, event->promises);
        return 0;
    }
    ASSERT(false);
    return ERR_INTERNAL;
}

/* What may follow from any event. */
static void settle(struct paxos *paxos) {
    paxos_election_check(paxos);
    if (paxos->role == PAXOS_LEADING)
        paxos_leader_count(paxos);
    if (paxos->role == PAXOS_LEADING) { /* a new configuration may have ended it */
        paxos_leader_pump(paxos);
        paxos_hand_over(paxos);
        paxos_reads_advance(paxos);
    } else if (paxos_stream_count(paxos) && paxos->stream.ballot.node != paxos->options.node) {
        paxos_send_accepted(paxos);
    }
}

static void check_invariants(const struct paxos *paxos) {
    ASSERT(paxos->applied <= paxos->chosen_upto);
    ASSERT(paxos->chosen_upto <= paxos->last_slot);
    ASSERT(paxos->last_slot <= paxos->chosen_upto + PAXOS_OPEN_MAX);
    ASSERT(paxos->config.slot <= paxos->chosen_upto);
    ASSERT(paxos->role < PAXOS_PREPARING || ballot_compare(paxos->promised, paxos->ballot) == 0);
    ASSERT(paxos->role == PAXOS_FOLLOWER || paxos_is_voter(paxos));
    ASSERT(paxos->sealed_slot == 0 || paxos->next_slot == paxos->sealed_slot + 1 ||
           paxos->role != PAXOS_LEADING);
}

static void start(struct paxos *paxos) {
    ASSERT(!paxos->amnesic);
    paxos->started = true;
    paxos_restore_end(paxos);
    paxos_arm_election(paxos);
    if (paxos_is_alone(paxos))
        paxos->election_at_ns = paxos->now_ns;
}

int paxos_step(struct paxos *paxos, const struct paxos_event *event, struct paxos_out *out) {
    out->record_count = out->message_count = out->chosen_count = 0;
    out->proposal_count = out->read_count = out->serve_count = 0;
    out->leader_changed = out->config_changed = false;
    out->fetch = (struct paxos_fetch){0};
    out->diverged_slot = 0;
    paxos->out = out;
    bool restoring = !paxos->started && event->type != PAXOS_EVENT_TICK &&
                     event->type != PAXOS_EVENT_MESSAGE && event->type != PAXOS_EVENT_PROPOSE &&
                     event->type != PAXOS_EVENT_READ && event->type != PAXOS_EVENT_PEER_RESET;
    if (!restoring && event->now_ns > paxos->now_ns)
        paxos->now_ns = event->now_ns;
    if (!restoring && !paxos->started)
        start(paxos);
    int code = dispatch(paxos, event);
    if (!restoring)
        settle(paxos);
    check_invariants(paxos);
    paxos->out = NULL;
    return code;
}

/* ---- looking at it ---- */

void paxos_status(const struct paxos *paxos, struct paxos_status *ret_status) {
    bool leads = paxos->role == PAXOS_LEADING;
    *ret_status =
        (struct paxos_status){.promised = paxos->promised,
                              .ballot = leads ? paxos->ballot : paxos->stream.ballot,
                              .leader = paxos->leader,
                              .leads = leads,
                              .read_free = leads && paxos->quorum == 1 && !paxos->renewing &&
                                           paxos->applied >= paxos->barrier_slot,
                              .voter = paxos_is_voter(paxos),
                              .amnesic = paxos->amnesic,
                              .full = leads && !paxos_is_spacious(paxos),
                              .blocked_slot = paxos_is_preparing(paxos) ? paxos->blocked_slot : 0,
                              .chosen_upto = paxos->chosen_upto,
                              .applied = paxos->applied,
                              .last_slot = leads ? paxos->next_slot - 1 : paxos->last_slot,
                              .accepted_upto = paxos->stream.accepted_upto,
                              .last_write_seq = paxos->write_seq};
}

const struct paxos_config *paxos_config_of(const struct paxos *paxos) {
    return &paxos->config;
}

uint64_t paxos_lag_of(const struct paxos *paxos, uint32_t node, uint32_t born) {
    for (uint32_t i = 0; paxos->role == PAXOS_LEADING && i < paxos->peer_count; i++) {
        const struct paxos_peer *peer = &paxos->peers[i];
        if (peer->node != node || peer->born != born)
            continue;
        if (peer == paxos->self)
            return 0;
        if (paxos->now_ns - peer->heard_ns > paxos->options.election_min_ns)
            return UINT64_MAX;
        return peer->chosen_upto < paxos->chosen_upto ? paxos->chosen_upto - peer->chosen_upto : 0;
    }
    return UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

uint64_t paxos_next_tick(const struct paxos *paxos) {
    if (!paxos->started)
        return 0;
    uint64_t next_ns = paxos->election_at_ns;
    if (paxos->role == PAXOS_LEADING)
        next_ns = paxos_is_alone(paxos) ? paxos->now_ns + ALONE_TICK_NS : paxos->heartbeat_at_ns;
    if (paxos_is_preparing(paxos))
        next_ns = earlier(next_ns, paxos->retry_at_ns);
    if (paxos->recall_at_ns > 0)
        next_ns = earlier(next_ns, paxos->recall_at_ns);
    return next_ns;
}

bool paxos_checkpoint(struct paxos *paxos, struct paxos_record *ret_record) {
    if (paxos->promised.round == 0)
        return false;
    struct paxos_out out = {.record_count = 0};
    paxos->out = &out;
    paxos_append(paxos, PAXOS_RECORD_PROMISE, 0, paxos->promised, NULL);
    paxos->out = NULL;
    *ret_record = out.records[0];
    return true;
}
