/* What must hold (PAXOS.md 4: I1, I2, I4, I5, I10, I15), judged by what lies durably in the logs
 * and not by what nodes say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/explore/explore.h"

/* ---- one node, in a step ---- */

const char *check_applied(uint64_t slot, const struct paxos_value *value) {
    const struct paxos_value *before = here.chosen[slot];
    return before != NULL && before != value ? "a node applies another value than before" : NULL;
}

const char *check_answered(uint64_t command, const struct paxos_value *value) {
    char text[8];
    int size = snprintf(text, sizeof text, "c%u", (unsigned)command);
    bool same = (int)value->size == size && memcmp(value->data, text, (size_t)size) == 0;
    return same ? NULL : "a command is answered by another's slot";
}

static struct ballot durable_promise(void) {
    struct ballot highest = {0};
    for (uint32_t i = 0; i < here.durable_count; i++) {
        struct paxos_record record;
        record_get(here.records[i], &record);
        if (ballot_compare(record.ballot, highest) > 0)
            highest = record.ballot;
    }
    return highest;
}

const char *check_restored(void) {
    bool less = ballot_compare(drive_paxos(here_drive)->promised, durable_promise()) < 0;
    return less ? "a promise is forgotten" : NULL;
}

/* The last vote for the slot below the ballot (or at it). */
static bool voted(uint64_t slot, struct ballot below, bool at, struct ballot *ret_ballot) {
    bool found = false;
    for (uint32_t i = 0; i < here.durable_count; i++) {
        struct paxos_record record;
        record_get(here.records[i], &record);
        int order = ballot_compare(record.ballot, below);
        if (record.type != PAXOS_RECORD_ACCEPT || record.slot != slot ||
            (at ? order != 0 : order >= 0))
            continue;
        *ret_ballot = record.ballot;
        found = true;
    }
    return found;
}

static bool tells(const struct paxos_message *promise, uint64_t slot, struct ballot ballot) {
    for (uint32_t i = 0; i < promise->entry_count; i++)
        if (promise->entries[i].slot == slot)
            return ballot_compare(promise->entries[i].ballot, ballot) >= 0;
    return false;
}

static const char *check_promise(const struct paxos_message *promise) {
    struct ballot ballot;
    if (ballot_compare(promise->ballot, durable_promise()) > 0)
        return "a promise is sent before it is durable";
    uint64_t first = promise->chosen_upto + 1;
    for (uint64_t s = promise->slot > first ? promise->slot : first; s <= SLOTS_MAX; s++)
        if (voted(s, promise->ballot, false, &ballot) && !tells(promise, s, ballot))
            return "a promise does not tell of a vote";
    return NULL;
}

static const char *check_vote(const struct paxos_message *message) {
    uint64_t first = message->chosen_upto + 1, start = drive_paxos(here_drive)->stream.start;
    struct ballot ballot;
    for (uint64_t s = start > first ? start : first; s <= message->upto; s++)
        if (!voted(s, message->ballot, true, &ballot))
            return "a vote is sent before it is durable";
    return NULL;
}

const char *check_sent(const struct paxos_message *message) {
    if (message->type == PAXOS_PROMISE)
        return check_promise(message);
    if (message->type == PAXOS_ACCEPTED || message->type == PAXOS_HEARTBEAT_ACK)
        return check_vote(message);
    return NULL;
}

/* ---- three nodes ---- */

struct vote {
    uint64_t slot;
    struct ballot ballot;
    const struct paxos_value *value;
};

struct facts { /* of a local */
    bool leads;
    struct ballot promised;
    uint64_t chosen_upto; /* as it says */
    uint32_t vote_count;
    struct vote votes[RECORDS_MAX];
    const struct paxos_value *chosen[SLOTS_MAX + 1];
};

static struct facts *facts;
static uint32_t facts_count, facts_room;

static void note_votes(struct facts *fact) {
    for (uint32_t i = 0; i < here.durable_count; i++) {
        struct paxos_record record;
        record_get(here.records[i], &record);
        if (record.type == PAXOS_RECORD_ACCEPT)
            fact->votes[fact->vote_count++] =
                (struct vote){record.slot, record.ballot, record.value};
    }
}

void check_note(uint32_t local) {
    if (local < facts_count)
        return;
    ASSERT(local == facts_count);
    if (facts_count == facts_room) {
        facts_room = facts_room > 0 ? facts_room * 2 : 1024;
        facts = realloc(facts, facts_room * sizeof *facts);
        if (facts == NULL)
            panic("out of memory");
    }
    struct facts *fact = &facts[facts_count++];
    struct paxos_status status;
    paxos_status(drive_paxos(here_drive), &status);
    *fact = (struct facts){
        .leads = status.leads, .promised = status.promised, .chosen_upto = status.chosen_upto};
    memcpy(fact->chosen, here.chosen, sizeof fact->chosen);
    note_votes(fact);
}

bool local_leads(uint32_t local) {
    return facts[local].leads;
}

bool local_has_promised(uint32_t local, struct ballot ballot) {
    return ballot_compare(facts[local].promised, ballot) == 0;
}

/* Two of three have voted for it. */
static bool choose(const struct paxos_value **chosen, const struct facts *a,
                   const struct facts *b) {
    for (uint32_t i = 0; i < a->vote_count; i++) {
        const struct vote *vote = &a->votes[i];
        for (uint32_t j = 0; j < b->vote_count; j++) {
            if (b->votes[j].slot != vote->slot || b->votes[j].value != vote->value ||
                ballot_compare(b->votes[j].ballot, vote->ballot) != 0)
                continue;
            if (chosen[vote->slot] != NULL && chosen[vote->slot] != vote->value)
                return false;
            chosen[vote->slot] = vote->value;
        }
    }
    return true;
}

const char *check_world(const uint32_t locals[NODES]) {
    const struct paxos_value *chosen[SLOTS_MAX + 1] = {NULL};
    for (uint32_t i = 0; i < NODES; i++)
        if (!choose(chosen, &facts[locals[i]], &facts[locals[(i + 1) % NODES]]))
            return "two values are chosen in one slot";
    for (uint32_t i = 0; i < NODES; i++) {
        const struct facts *fact = &facts[locals[i]];
        for (uint32_t s = 1; s <= fact->chosen_upto; s++)
            if (chosen[s] == NULL)
                return "a node takes for chosen what is not";
        for (uint32_t s = 1; s <= SLOTS_MAX; s++)
            if (fact->chosen[s] != NULL && fact->chosen[s] != chosen[s])
                return "a node applies what is not chosen";
    }
    return NULL;
}

const char *check_proposed(uint32_t a, uint32_t b) {
    const struct note *one = message_note(a), *other = message_note(b);
    bool same = one->type == PAXOS_ACCEPT && other->type == PAXOS_ACCEPT &&
                one->slot == other->slot && ballot_compare(one->ballot, other->ballot) == 0;
    return same && one->value != other->value ? "two values are proposed at one ballot" : NULL;
}
