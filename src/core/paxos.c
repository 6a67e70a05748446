/* The replica as a whole: made from options, driven by events, each of which goes to its part. */
#include "core/paxos_state.h"

#include <stdlib.h>

#define MS 1000000ull
#define ALONE_TICK_NS (1000 * MS) /* a single voter that leads has nothing to wait for */

static void options_default(struct paxos_options *options) {
    struct {
        uint64_t *field;
        uint64_t value;
    } defaults[] = {{&options->heartbeat_ns, 20 * MS},     {&options->stickiness_ns, 150 * MS},
                    {&options->election_min_ns, 300 * MS}, {&options->election_max_ns, 600 * MS},
                    {&options->rank_step_ns, 5 * MS},      {&options->recent_bytes, 2 << 20}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (*defaults[i].field == 0)
            *defaults[i].field = defaults[i].value;
}

static bool options_are_sane(const struct paxos_options *options) {
    unsigned self = 0;
    if (options->voter_count == 0 || options->voter_count > PAXOS_VOTERS_MAX)
        return false;
    for (uint32_t i = 0; i < options->voter_count; i++) {
        self += options->voters[i] == options->node;
        for (uint32_t j = 0; j <= i; j++)
            if (options->voters[i] == 0 || (j < i && options->voters[i] == options->voters[j]))
                return false;
    }
    return self == 1 && options->boot > 0 && options->election_max_ns >= options->election_min_ns;
}

int paxos_new(const struct paxos_options *options, struct paxos **ret_paxos, struct err *err) {
    if (!options_are_sane(options))
        return err_set(err, ERR_INVALID, "group %u: voters, node or times make no sense",
                       options->group);
    struct paxos *paxos = calloc(1, sizeof *paxos);
    if (paxos == NULL)
        panic("out of memory");
    paxos->options = *options;
    options_default(&paxos->options);
    rng_init(&paxos->rng, options->seed);
    paxos->quorum = options->voter_count / 2 + 1;
    for (uint32_t i = 0; i < options->voter_count; i++) {
        paxos->peers[i].node = options->voters[i];
        paxos->peers[i].incarnation = options->incarnations[i];
        if (options->voters[i] == options->node)
            paxos->self = &paxos->peers[i];
    }
    paxos->chosen_upto = paxos->applied = paxos->last_slot = options->applied;
    paxos->kept_from = options->applied + 1;
    *ret_paxos = paxos;
    return 0;
}

struct paxos *paxos_free(struct paxos *paxos) {
    if (paxos == NULL)
        return NULL;
    paxos_slots_fini(paxos);
    paxos_election_clear(paxos);
    free(paxos);
    return NULL;
}

/* ---- what the parts share ---- */

struct paxos_peer *paxos_peer_of(struct paxos *paxos, uint32_t node) {
    for (uint32_t i = 0; i < paxos->options.voter_count; i++)
        if (paxos->peers[i].node == node)
            return &paxos->peers[i];
    return NULL;
}

bool paxos_has_quorum(const struct paxos *paxos,
                      bool (*has)(const struct paxos *, const struct paxos_peer *)) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < paxos->options.voter_count; i++)
        count += has(paxos, &paxos->peers[i]);
    return count >= paxos->quorum;
}

void paxos_send(struct paxos *paxos, uint32_t to, struct paxos_message *message, uint64_t gate) {
    struct paxos_out *out = paxos->out;
    ASSERT(to != 0);
    ASSERT(to != paxos->options.node);
    if (out->message_count == PAXOS_OUT_MESSAGES) {
        paxos_message_free(message);
        return;
    }
    message->group = paxos->options.group;
    message->from = paxos->options.node;
    message->to = to;
    message->config_id = paxos->options.config_id;
    message->incarnation = paxos->options.incarnation;
    out->messages[out->message_count++] = (struct paxos_send){message, gate};
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

static int on_nack(struct paxos *paxos, const struct paxos_message *message) {
    paxos_saw_round(paxos, message->promised.round);
    if (paxos->role != PAXOS_FOLLOWER && ballot_compare(message->promised, paxos->ballot) > 0)
        paxos_step_down(paxos);
    return 0;
}

static int (*const handlers[PAXOS_MESSAGE_END])(struct paxos *, const struct paxos_message *) = {
    [PAXOS_PROBE] = paxos_on_probe,
    [PAXOS_PROBE_REPLY] = paxos_on_probe_reply,
    [PAXOS_PREPARE] = paxos_on_prepare,
    [PAXOS_PROMISE] = paxos_on_promise,
    [PAXOS_ACCEPT] = paxos_on_accept,
    [PAXOS_ACCEPTED] = paxos_on_accepted,
    [PAXOS_HEARTBEAT] = paxos_on_heartbeat,
    [PAXOS_HEARTBEAT_ACK] = paxos_on_heartbeat_ack,
    [PAXOS_NACK] = on_nack,
    [PAXOS_LEARN_REQ] = paxos_on_learn_req,
    [PAXOS_LEARN] = paxos_on_learn,
};

static int on_message(struct paxos *paxos, const struct paxos_message *message) {
    const struct paxos_options *options = &paxos->options;
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from);
    if (message->group != options->group || message->to != options->node ||
        message->config_id != options->config_id || peer == NULL || peer == paxos->self)
        return ERR_STALE;
    if (!id128_is_zero(peer->incarnation) && !id128_equal(peer->incarnation, message->incarnation))
        return ERR_STALE;
    ASSERT(message->type > 0);
    ASSERT(message->type < PAXOS_MESSAGE_END);
    peer->heard_ns = paxos->now_ns;
    return handlers[message->type](paxos, message);
}

static void on_tick(struct paxos *paxos) {
    if (paxos->role == PAXOS_LEADING)
        paxos_leader_tick(paxos);
    else if (paxos->now_ns >= paxos->election_at_ns)
        paxos_probe(paxos);
    else if (paxos->role == PAXOS_PREPARING && paxos->now_ns >= paxos->retry_at_ns)
        paxos_election_retry(paxos);
}

static uint32_t index_of(const struct paxos *paxos, uint32_t node) {
    uint32_t index = 0;
    while (index < paxos->options.voter_count && paxos->peers[index].node != node)
        index++;
    return index;
}

/* The leader seems to have crashed: the voters after it try one after the other. */
static void on_peer_reset(struct paxos *paxos, uint32_t node) {
    if (paxos->role == PAXOS_LEADING || node == 0 || node != paxos->leader)
        return;
    const struct paxos_options *options = &paxos->options;
    uint32_t self = index_of(paxos, options->node), leader = index_of(paxos, node);
    uint32_t rank = (self + options->voter_count - leader) % options->voter_count - 1;
    paxos_set_leader(paxos, 0);
    paxos->hint_until_ns = paxos->now_ns + 2 * options->stickiness_ns;
    paxos->election_at_ns = paxos->now_ns + rank * options->rank_step_ns;
}

static void on_applied(struct paxos *paxos, uint64_t slot) {
    ASSERT(slot >= paxos->applied);
    ASSERT(slot <= paxos->chosen_upto);
    paxos->applied = slot;
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
    case PAXOS_EVENT_READ:
        paxos_on_read(paxos, event->cookie);
        return 0;
    case PAXOS_EVENT_APPLIED:
        on_applied(paxos, event->slot);
        return 0;
    case PAXOS_EVENT_PEER_RESET:
        on_peer_reset(paxos, event->node);
        return 0;
    case PAXOS_EVENT_RESTORE:
        return paxos_restore(paxos, event->record);
    }
    ASSERT(false);
    return ERR_INTERNAL;
}

/* What may follow from any event. */
static void settle(struct paxos *paxos) {
    paxos_election_check(paxos);
    if (paxos->role == PAXOS_LEADING) {
        paxos_leader_count(paxos);
        paxos_leader_pump(paxos);
        paxos_reads_advance(paxos);
    } else if (paxos_stream_count(paxos) && paxos->stream.ballot.node != paxos->options.node) {
        paxos_send_accepted(paxos);
    }
}

static void check_invariants(const struct paxos *paxos) {
    ASSERT(paxos->applied <= paxos->chosen_upto);
    ASSERT(paxos->chosen_upto <= paxos->last_slot);
    ASSERT(paxos->last_slot <= paxos->chosen_upto + PAXOS_OPEN_MAX);
    ASSERT(paxos->role < PAXOS_PREPARING || ballot_compare(paxos->promised, paxos->ballot) == 0);
}

int paxos_step(struct paxos *paxos, const struct paxos_event *event, struct paxos_out *out) {
    out->record_count = out->message_count = out->chosen_count = 0;
    out->proposal_count = out->read_count = out->serve_count = 0;
    out->leader_changed = false;
    paxos->out = out;
    bool restoring = !paxos->started &&
                     (event->type == PAXOS_EVENT_RESTORE || event->type == PAXOS_EVENT_APPLIED);
    if (!restoring && event->now_ns > paxos->now_ns)
        paxos->now_ns = event->now_ns;
    if (!restoring && !paxos->started) {
        paxos->started = true;
        paxos_arm_election(paxos);
        if (paxos->options.voter_count == 1)
            paxos->election_at_ns = paxos->now_ns;
    }
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
    *ret_status = (struct paxos_status){.promised = paxos->promised,
                                        .ballot = leads ? paxos->ballot : paxos->stream.ballot,
                                        .leader = paxos->leader,
                                        .leads = leads,
                                        .read_free = leads && paxos->options.voter_count == 1 &&
                                                     paxos->applied >= paxos->barrier_slot,
                                        .chosen_upto = paxos->chosen_upto,
                                        .applied = paxos->applied,
                                        .last_slot = paxos->last_slot,
                                        .accepted_upto = paxos->stream.accepted_upto,
                                        .last_write_seq = paxos->write_seq};
}

uint64_t paxos_next_tick(const struct paxos *paxos) {
    if (!paxos->started)
        return 0;
    if (paxos->role == PAXOS_LEADING)
        return paxos->options.voter_count == 1 ? paxos->now_ns + ALONE_TICK_NS
                                               : paxos->heartbeat_at_ns;
    if (paxos->role == PAXOS_PREPARING && paxos->retry_at_ns < paxos->election_at_ns)
        return paxos->retry_at_ns;
    return paxos->election_at_ns;
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
