/* The consensus core as stories: elections, commands, reads. */
#include "core/paxos_harness.h"

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

int main(void) {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
