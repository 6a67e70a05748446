/* The consensus core as stories: a few replicas over a network and disks that the test moves by
 * hand. */
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
    bool cut, disk_stalled;
};

static struct {
    struct replica replicas[NODES];
    uint32_t count;
    uint64_t now_ns;
    struct paxos_message *network[QUEUE];
    uint32_t head, tail;
    uint32_t boots;
} world;

static void on_append(void *context, const struct paxos_record *record) {
    struct replica *replica = context;
    assert_true(replica->written < QUEUE);
    replica->log[replica->written++] = *record;
    replica->last_seq = record->write_seq;
}

static void on_send(void *context, struct paxos_message *message) {
    struct buf buf = BUF_INIT;
    assert_true(world.tail - world.head < QUEUE);
    paxos_message_encode(message, &buf);
    assert_int_equal(buf.size, paxos_message_size(message));
    paxos_message_free(message);
    assert_int_equal(
        paxos_message_decode(buf_span(&buf), &world.network[world.tail++ % QUEUE], NULL), 0);
    buf_fini(&buf);
}

static void on_apply(void *context, const struct paxos_chosen *chosen) {
    struct replica *replica = context;
    assert_int_equal(chosen->slot, replica->to_apply + 1);
    replica->to_apply = chosen->slot;
    paxos_value_unref(replica->held[chosen->slot]);
    replica->held[chosen->slot] = chosen->value;
    if (chosen->cookie != 0)
        replica->answered = chosen->cookie;
}

static void on_proposal(void *context, const struct paxos_result *result) {
    ((struct replica *)context)->proposal = *result;
}

static void on_read(void *context, const struct paxos_result *result) {
    ((struct replica *)context)->read = *result;
}

static void on_leader(void *context, const struct paxos_status *status) {
    (void)context, (void)status;
}

static void on_serve(void *context, const struct paxos_serve *serve) {
    struct replica *replica = context;
    struct paxos_message *learn = paxos_learn_new(drive_paxos(replica->drive), serve);
    for (uint64_t s = serve->from_slot; s <= serve->to_slot; s++)
        if (!paxos_learn_add(learn, s, replica->held[s]))
            break;
    on_send(replica, learn);
}

static void on_config(void *context, const struct paxos_config *config) {
    ((struct replica *)context)->config = *config;
}

static void on_fetch(void *context, const struct paxos_fetch *fetch) {
    ((struct replica *)context)->fetch = *fetch;
}

static void on_diverged(void *context, uint64_t slot) {
    ((struct replica *)context)->diverged_slot = slot;
}

/* Who founded the group; the others wait to be taken in. */
static struct paxos_config founders(void) {
    struct paxos_config config = {.count = world.count};
    for (uint32_t i = 0; i < world.count; i++)
        config.members[i] = (struct paxos_member){i + 1, 1, true};
    return config;
}

static void start(uint32_t index) {
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

static void crash(uint32_t index) {
    struct replica *replica = &world.replicas[index];
    replica->drive = drive_free(replica->drive);
    while (replica->written > replica->synced)
        paxos_value_unref(replica->log[--replica->written].value);
}

static void deliver(struct paxos_message *message) {
    struct replica *from = &world.replicas[message->from - 1],
                   *to = &world.replicas[message->to - 1];
    if (to->drive == NULL || from->cut || to->cut)
        paxos_message_free(message);
    else
        assert_int_equal(drive_message(to->drive, world.now_ns, message), 0);
}

/* One millisecond of everybody's life. */
static void live(void) {
    world.now_ns += MS;
    for (uint32_t i = 0; i < NODES; i++) {
        struct replica *replica = &world.replicas[i];
        if (replica->drive == NULL)
            continue;
        if (!replica->disk_stalled && replica->synced < replica->written) {
            replica->synced = replica->written;
            drive_durable(replica->drive, world.now_ns, replica->last_seq);
        }
        if (replica->applied_upto < replica->to_apply)
            drive_applied(replica->drive, world.now_ns, replica->applied_upto = replica->to_apply,
                          NULL);
        if (paxos_next_tick(drive_paxos(replica->drive)) <= world.now_ns)
            drive_tick(replica->drive, world.now_ns);
    }
    for (uint32_t end = world.tail; world.head < end;)
        deliver(world.network[world.head++ % QUEUE]);
}

static void live_ms(unsigned count) {
    while (count-- > 0)
        live();
}

static struct paxos_status status_of(uint32_t index) {
    struct paxos_status status;
    paxos_status(drive_paxos(world.replicas[index].drive), &status);
    return status;
}

/* The one leader with the highest ballot, or NODES. */
static uint32_t leader(void) {
    uint32_t best = NODES;
    for (uint32_t i = 0; i < NODES; i++)
        if (world.replicas[i].drive != NULL && status_of(i).leads &&
            (best == NODES || ballot_compare(status_of(i).ballot, status_of(best).ballot) > 0))
            best = i;
    return best;
}

static uint32_t elect(void) {
    for (unsigned i = 0; i < 3000; i++) {
        live();
        uint32_t index = leader();
        if (index < NODES && paxos_room(drive_paxos(world.replicas[index].drive)) == PAXOS_WINDOW)
            return index;
    }
    fail_msg("nobody leads");
    return NODES;
}

static void propose(uint32_t index, const char *text, uint64_t cookie) {
    drive_propose(world.replicas[index].drive, world.now_ns, paxos_value_copy(span_of(text)),
                  cookie, false);
}

static const char *text_at(uint32_t index, uint64_t slot) {
    static char text[64];
    const struct paxos_value *value = world.replicas[index].held[slot];
    assert_true(slot <= world.replicas[index].to_apply);
    assert_true(value->size < sizeof text);
    memcpy(text, value->data, value->size);
    text[value->size] = '\0';
    return text;
}

static int set_up(uint32_t count) {
    memset(&world, 0, sizeof world);
    world.count = count;
    for (uint32_t i = 0; i < count; i++)
        start(i);
    return 0;
}

static int set_up_3(void **state) {
    (void)state;
    return set_up(3);
}

static int set_up_1(void **state) {
    (void)state;
    return set_up(1);
}

static int tear_down(void **state) {
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

static void test_alone_it_leads_at_once_without_messages(void **state) {
    (void)state;
    live_ms(5);
    assert_true(status_of(0).leads);
    assert_true(status_of(0).read_free);
    propose(0, "a", 7);
    assert_int_equal(world.replicas[0].proposal.code, 0);
    assert_int_equal(world.replicas[0].answered, 0); /* not before it is durable */
    live_ms(2);
    assert_int_equal(world.replicas[0].answered, 7);
    drive_read(world.replicas[0].drive, world.now_ns, 9);
    assert_int_equal(world.replicas[0].read.cookie, 9);
    assert_int_equal(world.replicas[0].read.code, 0);
    assert_int_equal(world.tail, 0);
    crash(0);
    start(0);
    live_ms(5);
    assert_string_equal(text_at(0, 2), "a");
}

static void test_three_elect_one_and_agree(void **state) {
    (void)state;
    uint32_t index = elect();
    propose(index, "a", 1);
    propose(index, "b", 2);
    live_ms(100);
    assert_int_equal(world.replicas[index].answered, 2);
    for (uint32_t i = 0; i < world.count; i++) {
        assert_string_equal(text_at(i, 1), "");
        assert_string_equal(text_at(i, 2), "a");
        assert_string_equal(text_at(i, 3), "b");
        assert_int_equal(status_of(i).leader, index + 1);
    }
    propose((index + 1) % world.count, "c", 3);
    assert_int_equal(world.replicas[(index + 1) % world.count].proposal.code, ERR_NOT_LEADER);
    live_ms(2000);
    assert_int_equal(leader(), index); /* and it stays */
}

static void test_nothing_is_answered_before_a_quorum_is_durable(void **state) {
    (void)state;
    uint32_t index = elect();
    live_ms(50);
    for (uint32_t i = 0; i < world.count; i++)
        world.replicas[i].disk_stalled = i != index;
    propose(index, "a", 1);
    live_ms(200);
    assert_int_equal(world.replicas[index].answered, 0);
    world.replicas[index].disk_stalled = true; /* the leader may be the slow one */
    propose(index, "b", 2);
    for (uint32_t i = 0; i < world.count; i++)
        world.replicas[i].disk_stalled = i == index;
    live_ms(50);
    assert_int_equal(status_of(index).chosen_upto, 3);
    assert_int_equal(world.replicas[index].answered, 1); /* but applies what its own log holds */
    assert_string_equal(text_at((index + 1) % world.count, 3), "b");
    world.replicas[index].disk_stalled = false;
    live_ms(2);
    assert_int_equal(world.replicas[index].answered, 2);
}

static void test_a_crashed_leader_is_replaced_and_its_chosen_slots_live_on(void **state) {
    (void)state;
    uint32_t old = elect();
    propose(old, "kept", 1);
    live_ms(30);
    assert_int_equal(world.replicas[old].answered, 1);
    crash(old);
    uint64_t before = world.now_ns;
    for (uint32_t i = 0; i < world.count; i++)
        if (i != old)
            drive_peer_reset(world.replicas[i].drive, world.now_ns, old + 1);
    uint32_t index = elect();
    assert_int_not_equal(index, old);
    assert_true(world.now_ns - before < 250 * MS);
    assert_string_equal(text_at(index, 2), "kept");
    propose(index, "more", 2);
    live_ms(30);
    start(old);
    live_ms(100);
    assert_int_equal(leader(), index);
    assert_int_equal(world.replicas[old].to_apply, world.replicas[index].to_apply);
    assert_string_equal(text_at(old, 4), "more");
}

static void test_a_vote_for_a_lost_slot_is_overruled(void **state) {
    (void)state;
    uint32_t old = elect();
    live_ms(50);
    world.replicas[old].cut = true;
    propose(old, "lost", 1); /* durable at the old leader only */
    live_ms(1500);
    assert_false(status_of(old).leads); /* check-quorum */
    assert_int_equal(world.replicas[old].proposal.code, ERR_TIMEOUT);
    uint32_t index = elect();
    propose(index, "won", 2);
    live_ms(50);
    world.replicas[old].cut = false;
    live_ms(1500);
    for (uint32_t i = 0; i < world.count; i++)
        assert_string_equal(text_at(i, 3), "won");
}

static void test_a_read_needs_a_quorum_that_still_follows(void **state) {
    (void)state;
    uint32_t old = elect();
    live_ms(50);
    drive_read(world.replicas[old].drive, world.now_ns, 1);
    assert_int_equal(world.replicas[old].read.cookie, 0);
    live_ms(10);
    assert_int_equal(world.replicas[old].read.cookie, 1);
    assert_int_equal(world.replicas[old].read.code, 0);
    world.replicas[old].cut = true;
    drive_read(world.replicas[old].drive, world.now_ns, 2);
    live_ms(200);
    assert_int_equal(world.replicas[old].read.cookie, 1);
    live_ms(1000);
    assert_int_equal(world.replicas[old].read.cookie, 2);
    assert_int_equal(world.replicas[old].read.code, ERR_NOT_LEADER);
}

static void test_one_that_was_away_catches_up_under_load(void **state) {
    (void)state;
    uint32_t index = elect(), away = (index + 1) % world.count;
    crash(away);
    char text[32];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "value %u", i);
        propose(index, text, i + 1);
        if (i % 10 == 9)
            live_ms(4);
    }
    live_ms(20);
    assert_int_equal(world.replicas[index].answered, 1000);
    start(away);
    for (unsigned i = 0; i < 500; i++) {
        propose(index, "new", 2000 + i);
        live_ms(3);
    }
    live_ms(100);
    assert_int_equal(leader(), index);
    assert_int_equal(world.replicas[away].to_apply, world.replicas[index].to_apply);
    assert_int_equal(status_of(away).accepted_upto,
                     status_of(index).last_slot); /* it votes again */
}

/* Found by the simulator: it voted for what it had learnt, towards the leader of no ballot. */
static void test_one_that_promised_nothing_learns_without_voting(void **state) {
    (void)state;
    live_ms(1);
    struct paxos_value *value = paxos_value_copy(span_of("v"));
    struct paxos_serve serve = {
        .to = 3, .to_born = 1, .from_slot = 1, .to_slot = 1, .chosen_upto = 1};
    struct paxos_message *learn = paxos_learn_new(drive_paxos(world.replicas[0].drive), &serve);
    assert_true(paxos_learn_add(learn, 1, value));
    paxos_value_unref(value);
    assert_int_equal(status_of(2).promised.round, 0);
    assert_int_equal(drive_message(world.replicas[2].drive, world.now_ns, learn), 0);
    live_ms(2);
    assert_int_equal(status_of(2).chosen_upto, 1);
    assert_int_equal(status_of(2).accepted_upto, 0);
}

static void test_big_open_slots_are_promised_in_pages(void **state) {
    (void)state;
    enum { COUNT = 10, SIZE = 900 << 10 };
    uint32_t old = elect();
    live_ms(50);
    for (uint64_t i = 1; i <= COUNT; i++) {
        struct paxos_value *value = paxos_value_new(SIZE);
        memset(value->data, (int)i, SIZE);
        paxos_value_seal(value);
        drive_propose(world.replicas[old].drive, world.now_ns, value, i, false);
    }
    live();
    crash(old); /* the others hold the slots, nobody knows that they are chosen */
    uint32_t index = elect();
    live_ms(50);
    for (uint32_t i = 0; i < world.count; i++)
        for (uint64_t slot = 2; i != old && slot < 2 + COUNT; slot++) {
            assert_true(world.replicas[i].to_apply >= slot);
            assert_int_equal(world.replicas[i].held[slot]->size, SIZE);
            assert_int_equal(world.replicas[i].held[slot]->data[SIZE - 1], slot - 1);
        }
    assert_int_not_equal(index, old);
}

static void test_the_window_is_bounded(void **state) {
    (void)state;
    uint32_t index = elect();
    for (uint32_t i = 0; i < world.count; i++)
        world.replicas[i].disk_stalled = true;
    for (uint64_t i = 1; i <= PAXOS_WINDOW; i++) {
        propose(index, "x", i);
        assert_int_equal(world.replicas[index].proposal.code, 0);
    }
    propose(index, "x", 1000);
    assert_int_equal(world.replicas[index].proposal.code, ERR_BUSY);
    assert_int_equal(paxos_room(drive_paxos(world.replicas[index].drive)), 0);
    for (uint32_t i = 0; i < world.count; i++)
        world.replicas[i].disk_stalled = false;
    live_ms(20);
    assert_int_equal(world.replicas[index].answered, PAXOS_WINDOW);
}

/* ---- members ---- */

static int reconfigure(uint32_t index, const struct paxos_config *config) {
    drive_reconfigure(world.replicas[index].drive, world.now_ns, config, 77);
    return world.replicas[index].proposal.code;
}

static void test_a_learner_comes_votes_and_replaces_another(void **state) {
    (void)state;
    uint32_t old = elect(), goes = (old + 1) % world.count;
    propose(old, "a", 1);
    live_ms(50);
    start(3);
    struct paxos_config config = founders();
    config.members[config.count++] = (struct paxos_member){4, 1, true};
    assert_int_equal(reconfigure(old, &config), ERR_INVALID); /* it has not learnt */
    config.members[3].voter = false;
    assert_int_equal(reconfigure(old, &config), 0);
    propose(old, "b", 2);
    assert_int_equal(world.replicas[old].proposal.code, ERR_BUSY); /* sealed */
    live_ms(100);
    assert_string_equal(text_at(3, 2), "a");
    assert_false(status_of(3).voter);
    config.members[3].voter = true;
    config.members[goes] = config.members[--config.count];
    assert_int_equal(reconfigure(old, &config), 0);
    live_ms(100);
    assert_true(status_of(3).voter);
    assert_false(status_of(goes).voter);
    crash(old); /* those that are left are a quorum of the new voters */
    crash(goes);
    uint32_t index = elect();
    propose(index, "c", 3);
    live_ms(50);
    assert_int_equal(world.replicas[index].answered, 3);
}

static void test_one_that_was_voted_out_learns_it_and_disturbs_nobody(void **state) {
    (void)state;
    uint32_t index = elect(), goes = (index + 1) % world.count;
    live_ms(50);
    world.replicas[goes].cut = true;
    struct paxos_config config = founders();
    config.members[goes] = config.members[--config.count];
    assert_int_equal(reconfigure(index, &config), 0);
    live_ms(1000);
    world.replicas[goes].cut = false;
    assert_true(status_of(goes).voter); /* it does not know */
    struct ballot before = status_of(index).ballot;
    live_ms(2000);
    assert_false(status_of(goes).voter);
    assert_int_equal(leader(), index);
    assert_int_equal(ballot_compare(status_of(index).ballot, before), 0);
}

static void test_a_leader_hands_over(void **state) {
    (void)state;
    uint32_t index = elect(), heir = (index + 2) % world.count;
    live_ms(50);
    propose(index, "a", 1);
    drive_transfer(world.replicas[index].drive, world.now_ns, heir + 1);
    propose(index, "b", 2);
    assert_int_equal(world.replicas[index].proposal.code, ERR_BUSY);
    live_ms(40);
    assert_int_equal(leader(), heir);
    assert_int_equal(world.replicas[index].answered, 1);
}

static void test_a_slow_disk_lets_another_lead(void **state) {
    (void)state;
    uint32_t index = elect();
    for (uint32_t i = 0; i < world.count; i++)
        drive_disk(world.replicas[i].drive, world.now_ns, PAXOS_SPACE_GOOD,
                   i == index ? 50000 : 1000);
    live_ms(1500);
    assert_int_equal(leader(), index);
    live_ms(1500);
    assert_int_not_equal(leader(), index);
}

static void test_without_space_only_what_must_is_proposed(void **state) {
    (void)state;
    uint32_t index = elect();
    live_ms(50);
    for (uint32_t i = 0; i < 2; i++)
        drive_disk(world.replicas[i].drive, world.now_ns, PAXOS_SPACE_LOW, 0);
    live_ms(50);
    assert_true(status_of(index).full);
    propose(index, "a", 1);
    assert_int_equal(world.replicas[index].proposal.code, ERR_NOSPACE);
    drive_propose(world.replicas[index].drive, world.now_ns, paxos_value_copy(span_of("less")), 2,
                  true);
    live_ms(20);
    assert_int_equal(world.replicas[index].answered, 2);
    drive_disk(world.replicas[0].drive, world.now_ns, PAXOS_SPACE_GOOD, 0);
    live_ms(50);
    propose(index, "b", 3);
    live_ms(20);
    assert_int_equal(world.replicas[index].answered, 3);
}

static void test_a_full_disk_lets_another_lead(void **state) {
    (void)state;
    uint32_t index = elect();
    live_ms(50);
    drive_disk(world.replicas[index].drive, world.now_ns, PAXOS_SPACE_NONE, 0);
    live_ms(500);
    uint32_t heir = leader();
    assert_int_not_equal(heir, index);
    assert_false(status_of(heir).full);
    propose(heir, "a", 1);
    live_ms(20);
    assert_int_equal(world.replicas[heir].answered, 1);
}

static void test_who_differs_from_a_majority_is_told(void **state) {
    (void)state;
    uint32_t index = elect(), odd = (index + 1) % world.count;
    live_ms(50);
    for (uint32_t i = 0; i < world.count; i++) {
        struct paxos_check check = {.slot = 1, .digest = {i == odd}};
        drive_applied(world.replicas[i].drive, world.now_ns, world.replicas[i].to_apply, &check);
    }
    live_ms(100);
    for (uint32_t i = 0; i < world.count; i++)
        assert_int_equal(world.replicas[i].diverged_slot, i == odd);
}

/* ---- damaged logs ---- */

/* Starts again with what happened to the log: value of the last record lost, or the last lost
 * altogether, or that and whatever came before. */
static void start_damaged(uint32_t index, bool ids, bool promises) {
    struct replica *replica = &world.replicas[index];
    struct paxos_record *last = &replica->log[replica->synced - 1];
    assert_int_equal(last->type, PAXOS_RECORD_ACCEPT);
    struct paxos_record kept = *last;
    replica->synced--;
    start(index);
    replica->synced++;
    kept.value = NULL;
    if (ids)
        assert_int_equal(drive_restore(replica->drive, &kept), 0);
    else
        drive_restore_lost(replica->drive, promises);
}

/* A value that only the leader that is gone and one other had voted for, and that one has lost it.
 */
static uint32_t lose_a_vote(bool ids) {
    uint32_t old = elect(), other = (old + 1) % world.count, third = (old + 2) % world.count;
    live_ms(50);
    world.replicas[third].cut = true;
    propose(old, "chosen", 1);
    live_ms(10);
    assert_int_equal(world.replicas[old].answered, 1);
    crash(other);
    start_damaged(other, ids, false);
    return old;
}

static void test_a_lost_value_is_fetched_by_its_digest(void **state) {
    (void)state;
    uint32_t old = lose_a_vote(true), third = (old + 2) % world.count;
    world.replicas[old].cut = true;
    world.replicas[third].cut = false;
    live_ms(3000);
    assert_int_equal(leader(), NODES); /* the two know that it was, and not what */
    world.replicas[old].cut = false;
    elect();
    live_ms(100);
    for (uint32_t i = 0; i < world.count; i++)
        assert_string_equal(text_at(i, 2), "chosen");
}

static void test_a_lost_vote_is_not_taken_for_none(void **state) {
    (void)state;
    uint32_t old = lose_a_vote(false), other = (old + 1) % world.count,
             third = (old + 2) % world.count;
    live_ms(1); /* it asks what others saw of it; nothing answers in time */
    world.replicas[old].cut = true;
    world.replicas[third].cut = false;
    bool blocked = false;
    for (unsigned i = 0; i < 3000; i++) {
        live();
        assert_false(status_of(other).leads || status_of(third).leads);
        blocked |= status_of(other).blocked_slot == 2 || status_of(third).blocked_slot == 2;
    }
    assert_true(blocked);
    world.replicas[old].cut = false;
    elect();
    live_ms(100);
    for (uint32_t i = 0; i < world.count; i++)
        assert_string_equal(text_at(i, 2), "chosen");
}

static void test_who_may_have_lost_a_promise_is_amnesic(void **state) {
    (void)state;
    uint32_t index = elect();
    live_ms(50);
    propose(index, "a", 1);
    live_ms(20);
    crash(index);
    start_damaged(index, false, true);
    assert_true(status_of(index).amnesic);
    struct paxos_record later = {.type = PAXOS_RECORD_PROMISE, .born = 1, .ballot = {99, 1, 1}};
    assert_int_equal(drive_restore(world.replicas[index].drive, &later), 0);
    assert_false(status_of(index).amnesic); /* promises only grow: what was lost is below */
}

static void test_a_write_the_disk_has_not_kept_is_recalled(void **state) {
    (void)state;
    uint32_t index = elect(), other = (index + 1) % world.count;
    live_ms(50);
    world.replicas[(index + 2) % world.count].cut = true; /* cannot vote */
    propose(index, "a", 1);
    live();
    live(); /* it is durable at the other, and the leader knows */
    crash(other);
    struct replica *replica = &world.replicas[other];
    paxos_value_unref(replica->log[--replica->written].value);
    replica->synced = replica->written;
    start(other);
    live_ms(30);
    /* What it had voted for it cannot say it had not. */
    crash(index);
    world.replicas[(index + 2) % world.count].cut = false;
    live_ms(3000);
    assert_int_equal(leader(), NODES);
}

static void test_a_promise_the_disk_has_not_kept_is_recalled(void **state) {
    (void)state;
    uint32_t index = elect(), other = (index + 1) % world.count;
    live_ms(50);
    world.replicas[(index + 2) % world.count].cut = true; /* cannot vote */
    propose(index, "a", 1);
    live();
    live(); /* the leader knows of the other's vote, and so of its promise */
    struct ballot promised = status_of(other).promised;
    crash(other);
    world.replicas[(index + 2) % world.count].cut = false;
    struct replica *replica = &world.replicas[other];
    while (replica->written > 0)
        paxos_value_unref(replica->log[--replica->written].value);
    replica->synced = 0;
    start(other);
    assert_int_equal(status_of(other).promised.round, 0);
    for (unsigned i = 0; i < 10 && status_of(other).promised.round == 0; i++)
        live();
    assert_int_equal(ballot_compare(status_of(other).promised, promised), 0);
    crash(index); /* what the other had voted for it cannot say it had not */
    live_ms(3000);
    assert_int_equal(leader(), NODES);
}

/* ---- snapshots ---- */

static void test_a_state_is_fetched_when_the_slots_are_gone(void **state) {
    (void)state;
    uint32_t index = elect(), away = (index + 1) % world.count;
    live_ms(50);
    propose(index, "a", 1);
    live_ms(30);
    struct drive *drive = world.replicas[away].drive;
    struct paxos_serve serve = {
        .to = away + 1, .to_born = 1, .from_slot = 3, .to_slot = 3, .chosen_upto = 500};
    struct paxos_message *offer =
        paxos_snapshot_new(drive_paxos(world.replicas[index].drive), &serve, 500);
    assert_int_equal(drive_message(drive, world.now_ns, offer), 0);
    assert_int_equal(world.replicas[away].fetch.node, index + 1);
    assert_int_equal(world.replicas[away].fetch.slot, 500);
    struct ballot promised = status_of(away).promised;
    struct paxos_config config = founders();
    drive_applied(drive, world.now_ns, world.replicas[away].to_apply, NULL);
    drive_snapshot(drive, world.now_ns, 500, &config, NULL);
    assert_int_equal(status_of(away).chosen_upto, 500);
    assert_int_equal(status_of(away).applied, 500);
    assert_int_equal(ballot_compare(status_of(away).promised, promised), 0);
}

static struct paxos_message *sample(void) {
    struct paxos_message *message = paxos_message_new(PAXOS_ACCEPT, 1);
    message->group = 4;
    message->from = 1;
    message->from_born = 1;
    message->to = 2;
    message->to_born = 1;
    message->ballot = (struct ballot){3, 1, 1};
    message->start = 1;
    struct paxos_value *value = paxos_value_copy(span_of("hello"));
    paxos_message_add(message, 9, message->ballot, value);
    paxos_value_unref(value);
    return message;
}

static void test_hostile_messages_are_refused(void **state) {
    (void)state;
    struct buf buf = BUF_INIT;
    struct paxos_message *message = sample(), *back = NULL;
    paxos_message_encode(message, &buf);
    paxos_message_free(message);
    assert_int_equal(paxos_message_decode(buf_span(&buf), &back, NULL), 0);
    assert_int_equal(back->entries[0].slot, 9);
    paxos_message_free(back);
    uint32_t group;
    assert_true(paxos_message_group(buf_span(&buf), &group));
    assert_int_equal(group, 4);
    for (size_t size = 0; size < buf.size; size++)
        assert_int_equal(paxos_message_decode((struct span){buf.data, size}, &back, NULL),
                         ERR_CORRUPT);
    static const struct {
        size_t at;
        uint8_t byte;
        int code;
    } rows[] = {
        {0, 'x', ERR_CORRUPT},                       /* magic */
        {4, 9, ERR_VERSION},                         /* version */
        {5, 0, ERR_CORRUPT},                         /* type */
        {5, PAXOS_MESSAGE_END, ERR_CORRUPT},         /* type */
        {5, PAXOS_HEARTBEAT, ERR_CORRUPT},           /* takes no entries */
        {12, 100, ERR_CORRUPT},                      /* head_bytes */
        {13, 0xff, ERR_CORRUPT},                     /* the like */
        {14, 0, ERR_CORRUPT},                        /* entry_count */
        {14, 2, ERR_CORRUPT},                        /* entry_count */
        {15, 0xff, ERR_CORRUPT},                     /* entry_count */
        {47, 0xff, ERR_CORRUPT},                     /* ballot.round */
        {PAXOS_MESSAGE_HEAD, 0, ERR_CORRUPT},        /* slot 0 */
        {PAXOS_MESSAGE_HEAD + 7, 0xff, ERR_CORRUPT}, /* slot too large */
        {PAXOS_MESSAGE_HEAD + 24, 1, ERR_CORRUPT},   /* digest */
        {PAXOS_MESSAGE_HEAD + 40, 200, ERR_CORRUPT}, /* size */
        {PAXOS_MESSAGE_HEAD + 43, 0xff, ERR_CORRUPT},
        {PAXOS_MESSAGE_HEAD + 44, 9, ERR_CORRUPT},   /* kind */
        {PAXOS_MESSAGE_HEAD + 45, 1, ERR_CORRUPT},   /* status: ACCEPT takes whole ones only */
        {PAXOS_MESSAGE_HEAD + 50, 'X', ERR_CORRUPT}, /* the value itself */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char old = buf.data[rows[i].at];
        back = NULL;
        buf.data[rows[i].at] = (char)rows[i].byte;
        assert_int_equal(paxos_message_decode(buf_span(&buf), &back, NULL), rows[i].code);
        assert_null(back);
        buf.data[rows[i].at] = old;
    }
    buf_fini(&buf);
}

static void test_records_come_back_and_broken_ones_are_refused(void **state) {
    (void)state;
    struct paxos_record record = {.type = PAXOS_RECORD_ACCEPT,
                                  .group = 2,
                                  .born = 1,
                                  .slot = 5,
                                  .ballot = {7, 1, 3},
                                  .chosen_upto = 4,
                                  .value = paxos_value_copy(span_of("v"))},
                        back = {0};
    struct buf buf = BUF_INIT;
    paxos_record_encode(&record, &buf);
    assert_int_equal(paxos_record_decode(buf_span(&buf), &back, NULL), 0);
    assert_int_equal(back.slot, 5);
    assert_int_equal(back.chosen_upto, 4);
    assert_int_equal(ballot_compare(back.ballot, record.ballot), 0);
    assert_memory_equal(back.value->digest, record.value->digest, 16);
    paxos_value_unref(back.value);
    paxos_value_unref(record.value);
    for (size_t size = 0; size < buf.size; size++)
        assert_int_equal(paxos_record_decode((struct span){buf.data, size}, &back, NULL),
                         ERR_CORRUPT);
    static const size_t broken[] = {0, 1, 2, 15, 23, 39, 40, 56, 64};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        buf.data[broken[i]] ^= (char)0xfe;
        assert_int_equal(paxos_record_decode(buf_span(&buf), &back, NULL), ERR_CORRUPT);
        buf.data[broken[i]] ^= (char)0xfe;
    }
    buf_fini(&buf);
}

static void test_strangers_and_nonsense_change_nothing(void **state) {
    (void)state;
    live_ms(120); /* all is recalled, nobody tries to lead yet */
    struct paxos_status before = status_of(1), after;
    struct paxos_message *message = sample(); /* of group 4 */
    assert_int_equal(drive_message(world.replicas[1].drive, world.now_ns, message), ERR_STALE);
    message = sample();
    message->group = 0;
    message->to_born = 2; /* another replica of this node */
    assert_int_equal(drive_message(world.replicas[1].drive, world.now_ns, message), ERR_STALE);
    message = sample();
    message->group = 0;
    message->from = 3; /* not the ballot's node */
    assert_int_equal(drive_message(world.replicas[1].drive, world.now_ns, message), ERR_PROTOCOL);
    after = status_of(1);
    assert_int_equal(before.promised.round, after.promised.round);
    assert_int_equal(before.last_slot, after.last_slot);
    assert_int_equal(before.last_write_seq, after.last_write_seq);
}

static void test_a_log_that_lost_a_slot_is_not_used(void **state) {
    (void)state;
    struct paxos_value *value = paxos_value_copy(span_of("v"));
    struct paxos_record record = {.type = PAXOS_RECORD_ACCEPT,
                                  .born = 1,
                                  .slot = 5,
                                  .ballot = {1, 1, 1},
                                  .chosen_upto = 4,
                                  .value = value};
    assert_int_equal(drive_restore(world.replicas[0].drive, &record), ERR_CORRUPT);
    record.chosen_upto = 0;
    record.slot = 1 + PAXOS_OPEN_MAX;
    assert_int_equal(drive_restore(world.replicas[0].drive, &record), ERR_CORRUPT);
    paxos_value_unref(value);
}

int main(void) {
#define STORY(name, voters) cmocka_unit_test_setup_teardown(name, set_up_##voters, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(test_alone_it_leads_at_once_without_messages, 1),
        STORY(test_three_elect_one_and_agree, 3),
        STORY(test_nothing_is_answered_before_a_quorum_is_durable, 3),
        STORY(test_a_crashed_leader_is_replaced_and_its_chosen_slots_live_on, 3),
        STORY(test_a_vote_for_a_lost_slot_is_overruled, 3),
        STORY(test_a_read_needs_a_quorum_that_still_follows, 3),
        STORY(test_one_that_was_away_catches_up_under_load, 3),
        STORY(test_one_that_promised_nothing_learns_without_voting, 3),
        STORY(test_big_open_slots_are_promised_in_pages, 3),
        STORY(test_the_window_is_bounded, 3),
        STORY(test_strangers_and_nonsense_change_nothing, 3),
        STORY(test_a_log_that_lost_a_slot_is_not_used, 3),
        STORY(test_a_learner_comes_votes_and_replaces_another, 3),
        STORY(test_one_that_was_voted_out_learns_it_and_disturbs_nobody, 3),
        STORY(test_a_leader_hands_over, 3),
        STORY(test_a_slow_disk_lets_another_lead, 3),
        STORY(test_without_space_only_what_must_is_proposed, 3),
        STORY(test_a_full_disk_lets_another_lead, 3),
        STORY(test_who_differs_from_a_majority_is_told, 3),
        STORY(test_a_lost_value_is_fetched_by_its_digest, 3),
        STORY(test_a_lost_vote_is_not_taken_for_none, 3),
        STORY(test_who_may_have_lost_a_promise_is_amnesic, 3),
        STORY(test_a_write_the_disk_has_not_kept_is_recalled, 3),
        STORY(test_a_promise_the_disk_has_not_kept_is_recalled, 3),
        STORY(test_a_state_is_fetched_when_the_slots_are_gone, 3),
        cmocka_unit_test(test_hostile_messages_are_refused),
        cmocka_unit_test(test_records_come_back_and_broken_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
