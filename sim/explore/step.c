/* Events of one node, carried out by the core. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/explore/explore.h"

#define PASS_NS 1000000000ull
#define RECALL_NS 1u

static struct outcome *result; /* of the step under way */

/* ---- what the drive asks for ---- */

static void wrong(const char *what) {
    if (result->wrong == NULL)
        result->wrong = what;
}

static void on_append(void *context, const struct paxos_record *record) {
    (void)context;
    ASSERT(here.record_count < RECORDS_MAX);
    here.records[here.record_count++] = record_put(record);
}

/* Always lost, to keep the space small: what only mends losses (heartbeats), ends a leadership
 * early that is over (NACKs), or guards a restarted node against disks that lie. */
static bool is_lost(const struct paxos_message *message) {
    return message->type == PAXOS_HEARTBEAT || message->type == PAXOS_NACK ||
           message->type == PAXOS_RECALL || message->type == PAXOS_RECALLED;
}

/* Those that wait in the outbox are kept for ever: former states hold them, too. */
static struct paxos_message *kept(struct paxos_message *message) {
    static struct paxos_message *all[MESSAGES_MAX];
    uint32_t number = message_put(message);
    if (all[number] == NULL)
        all[number] = message;
    else if (all[number] != message)
        paxos_message_free(message);
    return all[number];
}

static void on_send(void *context, struct paxos_message *message) {
    (void)context;
    ASSERT(result->sent_count < SENT_MAX);
    const char *what = check_sent(message);
    if (what != NULL)
        wrong(what);
    if (!is_lost(message))
        result->sent[result->sent_count++] = message_put(message);
    kept(message);
}

static void on_apply(void *context, const struct paxos_chosen *chosen) {
    (void)context;
    ASSERT(chosen->slot == here.applied + 1);
    ASSERT(chosen->slot <= SLOTS_MAX);
    const char *what = check_applied(chosen->slot, chosen->value);
    if (what == NULL && chosen->cookie != 0)
        what = check_answered(chosen->cookie, chosen->value);
    if (what != NULL)
        wrong(what);
    here.applied = chosen->slot;
    here.chosen[chosen->slot] = chosen->value;
}

static void on_result(void *context, const struct paxos_result *ignored) {
    (void)context, (void)ignored;
}

static void on_leader(void *context, const struct paxos_status *status) {
    (void)context, (void)status;
}

/* None of these can be in so small a scope. */
static void on_config(void *context, const struct paxos_config *config) {
    (void)context, (void)config;
    panic("another configuration");
}

static void on_serve(void *context, const struct paxos_serve *serve) {
    (void)context, (void)serve;
    panic("a slot that is not in memory");
}

static void on_fetch(void *context, const struct paxos_fetch *fetch) {
    (void)context, (void)fetch;
    panic("a state that is to be fetched");
}

static void on_diverged(void *context, uint64_t slot) {
    (void)context, (void)slot;
    panic("states that differ");
}

/* ---- a life of a node ---- */

static struct paxos_options options_of(uint32_t node, uint32_t boot) {
    struct paxos_options options = {.node = node,
                                    .born = 1,
                                    .boot = boot,
                                    .config = {.count = NODES},
                                    .recall_ns = RECALL_NS,
                                    .seed = 1};
    for (uint32_t i = 0; i < NODES; i++)
        options.config.members[i] = (struct paxos_member){i + 1, 1, true};
    return options;
}

static void apply_all(void) {
    uint64_t told = 0;
    while (told < here.applied) {
        told = here.applied;
        drive_applied(here_drive, here.now_ns, told, NULL);
    }
}

/* Moved to the place where all drives are. */
static void open_drive(void) {
    static const struct drive_io io = {.append = on_append,
                                       .send = on_send,
                                       .apply = on_apply,
                                       .proposal_done = on_result,
                                       .read_done = on_result,
                                       .leader_changed = on_leader,
                                       .config_changed = on_config,
                                       .learn_serve = on_serve,
                                       .fetch_snapshot = on_fetch,
                                       .diverged = on_diverged};
    struct paxos_options options = options_of(here.node, here.boot);
    struct drive *made;
    if (drive_new(&options, &io, &made, NULL) != 0)
        panic("a drive cannot be made");
    if (here_drive == NULL) {
        here_drive = made;
        return;
    }
    struct paxos *place = here_drive->paxos, *paxos = made->paxos;
    memcpy(place, paxos, sizeof *place);
    place->self = place->peers + (paxos->self - paxos->peers);
    memcpy(here_drive, made, sizeof *here_drive);
    here_drive->paxos = place;
    free(paxos);
    free(made);
}

static void start(void) {
    open_drive();
    here.applied = 0;
    for (uint32_t i = 0; i < here.durable_count; i++) {
        struct paxos_record record;
        record_get(here.records[i], &record);
        if (drive_restore(here_drive, &record) != 0)
            panic("a log that is not taken back");
        apply_all();
    }
    const char *what = check_restored();
    if (what != NULL)
        wrong(what);
    drive_tick(here_drive, here.now_ns);
    here.now_ns += RECALL_NS;
    drive_tick(here_drive, here.now_ns);
}

/* ---- events ---- */

static void crash(void) {
    here.record_count = here.durable_count;
    here.boot++;
    start();
}

static void propose(uint32_t command) {
    char text[8];
    int size = snprintf(text, sizeof text, "c%u", command);
    struct paxos_value *value = paxos_value_copy((struct span){text, (size_t)size});
    drive_propose(here_drive, here.now_ns, value, command, false);
}

static void sync_all(void) {
    here.durable_count = here.record_count;
    drive_durable(here_drive, here.now_ns, drive_paxos(here_drive)->write_seq);
}

/* What a follower does is seen by others only once it is durable (check_sent), and if a crash comes
 * before, it is as if what made it do so had not come. So its disk is taken to be quick. A leader's
 * proposals leave before its own copy is durable: its disk is not. */
static bool is_quick(void) {
    return drive_paxos(here_drive)->role == PAXOS_FOLLOWER;
}

static void carry_out(struct event event) {
    switch (event.kind) {
    case EVENT_DELIVER:
        drive_message(here_drive, here.now_ns, message_get(event.number));
        break;
    case EVENT_SYNC:
        if (here.durable_count < here.record_count)
            sync_all();
        break;
    case EVENT_PASS:
        here.now_ns += PASS_NS;
        break;
    case EVENT_TIMEOUT:
        drive_tick(here_drive, here.now_ns);
        break;
    case EVENT_PROPOSE:
        propose(event.number);
        break;
    case EVENT_CRASH:
        crash();
        break;
    }
    if (is_quick() && here.durable_count < here.record_count)
        sync_all();
    apply_all();
}

static void keep_outbox(void) {
    for (uint64_t i = here_drive->outbox_head; i < here_drive->outbox_tail; i++)
        here_drive->outbox[i % DRIVE_OUTBOX].message =
            kept(here_drive->outbox[i % DRIVE_OUTBOX].message);
}

static void end_step(struct outcome *outcome) {
    keep_outbox();
    outcome->local = local_save();
    check_note(outcome->local);
}

uint32_t step_first(uint32_t node) {
    struct outcome outcome = {.local = NONE};
    result = &outcome;
    here = (struct local){.node = node, .boot = 1, .now_ns = PASS_NS};
    start();
    end_step(&outcome);
    return outcome.local;
}

/* ---- remembered outcomes ---- */

struct known { /* by local, kind and number */
    uint32_t local, kind, number;
    uint32_t outcome; /* into outcomes, + 1; 0 = free */
};
static struct known *known;
static uint64_t known_count, known_room;
static struct intern outcomes;

static struct known *known_at(uint32_t local, struct event event) {
    uint64_t at = ((uint64_t)local << 20 ^ (uint64_t)event.kind << 56 ^ event.number) *
                      0x9e3779b97f4a7c15ull >>
                  20;
    for (;; at++) {
        struct known *entry = &known[at & (known_room - 1)];
        if (entry->outcome == 0 ||
            (entry->local == local && entry->kind == event.kind && entry->number == event.number))
            return entry;
    }
}

static void known_grow(void) {
    struct known *old = known;
    uint64_t room = known_room;
    known_room = room > 0 ? room * 2 : 1 << 16;
    known = calloc(known_room, sizeof *known);
    if (known == NULL)
        panic("out of memory");
    for (uint64_t i = 0; i < room; i++)
        if (old[i].outcome != 0)
            *known_at(old[i].local, (struct event){old[i].kind, old[i].number}) = old[i];
    free(old);
}

static uint32_t outcome_put(const struct outcome *outcome) {
    size_t size = offsetof(struct outcome, sent) + outcome->sent_count * sizeof outcome->sent[0];
    return intern_put(&outcomes, (struct span){(const char *)outcome, size}, NULL);
}

const struct outcome *step(uint32_t local, struct event event) {
    static struct outcome outcome;
    if (known_count * 2 >= known_room)
        known_grow();
    struct known *entry = known_at(local, event);
    if (entry->outcome != 0) {
        struct span bytes = intern_get(&outcomes, entry->outcome - 1);
        memcpy(&outcome, bytes.data, bytes.size);
        return &outcome;
    }
    outcome = (struct outcome){.local = NONE};
    result = &outcome;
    local_load(local);
    carry_out(event);
    end_step(&outcome);
    *entry = (struct known){local, event.kind, event.number, outcome_put(&outcome) + 1};
    known_count++;
    return &outcome;
}
