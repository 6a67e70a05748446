/* The consensus core as stories: members come and go, leaders hand over, disks are slow or full. */
#include "core/paxos_harness.h"

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

/* The two that voted for all of it are the leader and the one that goes. */
static void test_who_goes_is_needed_until_a_quorum_of_the_others_has_it_all(void **state) {
    (void)state;
    uint32_t index = elect(), goes = (index + 1) % world.count, lags = (index + 2) % world.count;
    const struct paxos *paxos = drive_paxos(world.replicas[index].drive);
    world.replicas[lags].apply_stalled = true;
    propose(index, "a", 1);
    live_ms(50);
    assert_true(paxos_is_settled(paxos)); /* nobody has gone */
    struct paxos_config config = founders();
    config.members[goes] = config.members[--config.count];
    assert_int_equal(reconfigure(index, &config), 0);
    live_ms(200);
    assert_true(status_of(index).chosen_upto > paxos_config_of(paxos)->slot);
    assert_int_equal(paxos_config_of(paxos)->count, 2);
    assert_false(paxos_is_settled(paxos));
    world.replicas[lags].apply_stalled = false;
    live_ms(50);
    assert_true(paxos_is_settled(paxos));
    assert_false(paxos_is_settled(drive_paxos(world.replicas[lags].drive))); /* it does not lead */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        STORY(test_a_learner_comes_votes_and_replaces_another, 3),
        STORY(test_one_that_was_voted_out_learns_it_and_disturbs_nobody, 3),
        STORY(test_who_goes_is_needed_until_a_quorum_of_the_others_has_it_all, 3),
        STORY(test_a_leader_hands_over, 3),
        STORY(test_a_slow_disk_lets_another_lead, 3),
        STORY(test_without_space_only_what_must_is_proposed, 3),
        STORY(test_a_full_disk_lets_another_lead, 3),
        STORY(test_who_differs_from_a_majority_is_told, 3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
