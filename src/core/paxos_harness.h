/* For the consensus core's tests: a few replicas over a network and disks that the test moves by
 * hand. */
#ifndef QUERN_CORE_PAXOS_HARNESS_H
#define QUERN_CORE_PAXOS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/drive.h"

#define MS 1000000ull
#define NODES 4u
#define QUEUE 4096u

struct replica {
    struct drive *drive;
    struct paxos_record log[QUEUE]; /* [0, synced) is on the disk */
    uint32_t written, synced;
    uint64_t last_seq;
    struct paxos_value *held[QUEUE];
    uint64_t applied_upto;
    uint64_t to_apply;
    struct paxos_result read, proposal;
    struct paxos_config config; /* the newest one it told */
    struct paxos_fetch fetch;
    uint64_t diverged_slot;
    uint64_t answered; /* the newest cookie chosen */
    bool cut, disk_stalled, apply_stalled;
};

static struct {
    struct replica replicas[NODES];
    uint32_t count;
    uint64_t now_ns;
    struct paxos_message *network[QUEUE];
    uint32_t head, tail;
    uint32_t boots;
} world;

static inline void on_append(void *context, const struct paxos_record *record) {
    struct replica *replica = context;
    assert_true(replica->written < QUEUE);
    replica->log[replica->written++] = *record;
    replica->last_seq = record->write_seq;
}

static inline void on_send(void *context, struct paxos_message *message) {
    struct buf buf = BUF_INIT;
    assert_true(world.tail - world.head < QUEUE);
    paxos_message_encode(message, &buf);
    assert_int_equal(buf.size, paxos_message_size(message));
    paxos_message_free(message);
    assert_int_equal(
        paxos_message_decode(buf_span(&buf), &world.network[world.tail++ % QUEUE], NULL), 0);
    buf_fini(&buf);
}

static inline void on_apply(void *context, const struct paxos_chosen *chosen) {
    struct replica *replica = context;
    assert_int_equal(chosen->slot, replica->to_apply + 1);
    replica->to_apply = chosen->slot;
    paxos_value_unref(replica->held[chosen->slot]);
    replica->held[chosen->slot] = chosen->value;
    if (chosen->cookie != 0)
        replica->answered = chosen->cookie;
}

static inline void on_proposal(void *context, const struct paxos_result *result) {
    ((struct replica *)context)->proposal = *result;
}

static inline void on_read(void *context, const struct paxos_result *result) {
    ((struct replica *)context)->read = *result;
}

static inline void on_leader(void *context, const struct paxos_status *status) {
    (void)context, (void)status;
}

static inline void on_serve(void *context, const struct paxos_serve *serve) {
    struct replica *replica = context;
    struct paxos_message *learn = paxos_learn_new(drive_paxos(replica->drive), serve);
    for (uint64_t s = serve->from_slot; s <= serve->to_slot; s++)
        if (!paxos_learn_add(learn, s, replica->held[s]))
            break;
    on_send(replica, learn);
}

static inline void on_config(void *context, const struct paxos_config *config) {
    ((struct replica *)context)->config = *config;
}

static inline void on_fetch(void *context, const struct paxos_fetch *fetch) {
    ((struct replica *)context)->fetch = *fetch;
}

static inline void on_diverged(void *context, uint64_t slot) {
    ((struct replica *)context)->diverged_slot = slot;
}

/* Who founded the group; the others wait to be taken in. */
static inline struct paxos_config founders(void) {
    struct paxos_config config = {.count = world.count};
    for (uint32_t i = 0; i < world.count; i++)
        config.members[i] = (struct paxos_member){i + 1, 1, true};
    return config;
}

static inline void start(uint32_t index) {
    struct replica *replica = &world.replicas[index];
    struct paxos_options options = {
        .node = index + 1, .born = 1, .boot = ++world.boots, .seed = 100 + world.boots};
    if (index < world.count)
        options.config = founders();
    struct drive_io io = {.context = replica,
                          .append = on_append,
                          .send = on_send,
                          .apply = on_apply,
                          .proposal_done = on_proposal,
                          .read_done = on_read,
                          .leader_changed = on_leader,
                          .config_changed = on_config,
                          .learn_serve = on_serve,
                          .fetch_snapshot = on_fetch,
                          .diverged = on_diverged};
    assert_int_equal(drive_new(&options, &io, &replica->drive, NULL), 0);
    replica->applied_upto = replica->to_apply = replica->last_seq = 0;
    for (uint32_t i = 0; i < replica->synced; i++)
        assert_int_equal(drive_restore(replica->drive, &replica->log[i]), 0);
}

static inline void crash(uint32_t index) {
    struct replica *replica = &world.replicas[index];
    replica->drive = drive_free(replica->drive);
    while (replica->written > replica->synced)
        paxos_value_unref(replica->log[--replica->written].value);
}

static inline void deliver(struct paxos_message *message) {
    struct replica *from = &world.replicas[message->from - 1],
                   *to = &world.replicas[message->to - 1];
    if (to->drive == NULL || from->cut || to->cut)
        paxos_message_free(message);
    else
        assert_int_equal(drive_message(to->drive, world.now_ns, message), 0);
}

/* One millisecond of everybody's life. */
static inline void live(void) {
    world.now_ns += MS;
    for (uint32_t i = 0; i < NODES; i++) {
        struct replica *replica = &world.replicas[i];
        if (replica->drive == NULL)
            continue;
        if (!replica->disk_stalled && replica->synced < replica->written) {
            replica->synced = replica->written;
            drive_durable(replica->drive, world.now_ns, replica->last_seq);
        }
        if (!replica->apply_stalled && replica->applied_upto < replica->to_apply)
            drive_applied(replica->drive, world.now_ns, replica->applied_upto = replica->to_apply,
                          NULL);
        if (paxos_next_tick(drive_paxos(replica->drive)) <= world.now_ns)
            drive_tick(replica->drive, world.now_ns);
    }
    for (uint32_t end = world.tail; world.head < end;)
        deliver(world.network[world.head++ % QUEUE]);
}

static inline void live_ms(unsigned count) {
    while (count-- > 0)
        live();
}

static inline struct paxos_status status_of(uint32_t index) {
    struct paxos_status status;
    paxos_status(drive_paxos(world.replicas[index].drive), &status);
    return status;
}

/* The one leader with the highest ballot, or NODES. */
static inline uint32_t leader(void) {
    uint32_t best = NODES;
    for (uint32_t i = 0; i < NODES; i++)
        if (world.replicas[i].drive != NULL && status_of(i).leads &&
            (best == NODES || ballot_compare(status_of(i).ballot, status_of(best).ballot) > 0))
            best = i;
    return best;
}

static inline uint32_t elect(void) {
    for (unsigned i = 0; i < 3000; i++) {
        live();
        uint32_t index = leader();
        if (index < NODES && paxos_room(drive_paxos(world.replicas[index].drive)) == PAXOS_WINDOW)
            return index;
    }
    fail_msg("nobody leads");
    return NODES;
}

static inline void propose(uint32_t index, const char *text, uint64_t cookie) {
    drive_propose(world.replicas[index].drive, world.now_ns, paxos_value_copy(span_of(text)),
                  cookie, false);
}

static inline const char *text_at(uint32_t index, uint64_t slot) {
    static char text[64];
    const struct paxos_value *value = world.replicas[index].held[slot];
    assert_true(slot <= world.replicas[index].to_apply);
    assert_true(value->size < sizeof text);
    memcpy(text, value->data, value->size);
    text[value->size] = '\0';
    return text;
}

static inline int set_up(uint32_t count) {
    memset(&world, 0, sizeof world);
    world.count = count;
    for (uint32_t i = 0; i < count; i++)
        start(i);
    return 0;
}

static inline int set_up_3(void **state) {
    (void)state;
    return set_up(3);
}

static inline int set_up_1(void **state) {
    (void)state;
    return set_up(1);
}

static inline int tear_down(void **state) {
    (void)state;
    for (uint32_t i = 0; i < NODES; i++) {
        struct replica *replica = &world.replicas[i];
        drive_free(replica->drive);
        for (uint32_t j = 0; j < replica->written; j++)
            paxos_value_unref(replica->log[j].value);
        for (uint32_t j = 0; j < QUEUE; j++)
            paxos_value_unref(replica->held[j]);
    }
    while (world.head < world.tail)
        paxos_message_free(world.network[world.head++ % QUEUE]);
    return 0;
}

#define STORY(name, voters) cmocka_unit_test_setup_teardown(name, set_up_##voters, tear_down)

#endif
