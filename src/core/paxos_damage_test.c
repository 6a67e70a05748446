/* The consensus core as stories: logs that have lost something, states that are fetched. */
#include "core/paxos_harness.h"

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

/* Nobody has the value and none of the others voted: it was not chosen, and holds nothing up. */
static void test_a_lost_value_that_nobody_else_had_is_given_up(void **state) {
    (void)state;
    uint32_t old = elect(), other = (old + 1) % world.count, third = (old + 2) % world.count;
    live_ms(50);
    world.replicas[other].cut = world.replicas[third].cut = true;
    propose(old, "mine", 1);
    live_ms(10);
    crash(old);
    start_damaged(old, true, false);
    world.replicas[third].cut = false;
    live_ms(1000);
    assert_int_equal(leader(), NODES); /* two are not enough to tell */
    world.replicas[other].cut = false;
    uint32_t next = elect();
    propose(next, "others", 2);
    live_ms(100);
    for (uint32_t i = 0; i < world.count; i++)
        assert_string_not_equal(text_at(i, 2), "mine");
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

int main(void) {
    const struct CMUnitTest tests[] = {
        STORY(test_a_lost_value_is_fetched_by_its_digest, 3),
        STORY(test_a_lost_value_that_nobody_else_had_is_given_up, 3),
        STORY(test_a_lost_vote_is_not_taken_for_none, 3),
        STORY(test_who_may_have_lost_a_promise_is_amnesic, 3),
        STORY(test_a_write_the_disk_has_not_kept_is_recalled, 3),
        STORY(test_a_promise_the_disk_has_not_kept_is_recalled, 3),
        STORY(test_a_state_is_fetched_when_the_slots_are_gone, 3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
