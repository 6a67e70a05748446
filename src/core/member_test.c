/* Which step is next, until nothing is left to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/member.h"
#include "core/paxos.h"

static struct paxos_config config;
static struct member_view view;

/* Voters 1..count of birth 1, each wanted, each there. */
static void begin(uint32_t count) {
    config = (struct paxos_config){.slot = 1, .count = count};
    view = (struct member_view){.config = &config, .leader = 1, .settled = true};
    for (uint32_t i = 0; i < count; i++) {
        config.members[i] = (struct paxos_member){i + 1, 1, true};
        view.nodes[view.node_count++] = (struct member_node){i + 1, true, true, 1};
    }
}

static void add_node(uint32_t node, bool wanted, uint32_t born) {
    view.nodes[view.node_count++] = (struct member_node){node, wanted, true, born};
}

static struct member_step next(void) {
    struct member_step step;
    member_plan(&view, &step);
    return step;
}

/* Carries out what the step says, as a cluster would. */
static void take(const struct member_step *step) {
    if (step->action == MEMBER_CHANGE) {
        assert_true(paxos_config_is_step(&config, &step->config));
        config = step->config;
        config.slot++;
    } else if (step->action == MEMBER_TRANSFER) {
        view.leader = step->node;
    }
    for (uint32_t i = 0; i < view.node_count; i++) {
        struct member_node *node = &view.nodes[i];
        if (node->node == step->node && step->action == MEMBER_MAKE)
            node->born = 7;
        if (node->node == step->node && step->action == MEMBER_DROP)
            node->born = 0;
    }
}

static unsigned run(void) {
    for (unsigned steps = 0; steps < 50; steps++) {
        struct member_step step = next();
        if (step.action == MEMBER_NOTHING)
            return steps;
        take(&step);
    }
    fail_msg("it never ends");
    return 0;
}

static bool has_voter(uint32_t node) {
    for (uint32_t i = 0; i < config.count; i++)
        if (config.members[i].node == node && config.members[i].voter)
            return true;
    return false;
}

static void test_nothing_to_do(void **state) {
    (void)state;
    begin(3);
    assert_int_equal(next().action, MEMBER_NOTHING);
    assert_true(member_is_done(&view));
}

static void test_a_newcomer_learns_before_it_votes(void **state) {
    (void)state;
    begin(1);
    add_node(2, true, 0);
    struct member_step step = next();
    assert_int_equal(step.action, MEMBER_MAKE);
    assert_int_equal(step.node, 2);
    take(&step);
    step = next();
    assert_int_equal(step.action, MEMBER_CHANGE);
    assert_false(step.config.members[1].voter);
    take(&step);
    view.lags[1] = PAXOS_WINDOW + 1;
    assert_int_equal(next().action, MEMBER_NOTHING); /* it lags */
    view.lags[1] = PAXOS_WINDOW;
    step = next();
    assert_true(step.config.members[1].voter);
    take(&step);
    assert_true(member_is_done(&view));
}

static void test_one_is_exchanged_for_another_in_one_step(void **state) {
    (void)state;
    begin(3);
    view.nodes[2].wanted = false;
    add_node(4, true, 1);
    struct member_step step = next();
    take(&step);
    step = next();
    assert_int_equal(step.config.count, 3);
    take(&step);
    assert_true(has_voter(4));
    assert_false(has_voter(3));
    step = next();
    assert_int_equal(step.action, MEMBER_DROP);
    assert_int_equal(step.node, 3);
    take(&step);
    assert_int_equal(next().action, MEMBER_NOTHING);
}

static void test_the_leader_hands_over_before_it_goes(void **state) {
    (void)state;
    begin(1);
    view.nodes[0].wanted = false;
    add_node(2, true, 0);
    run();
    assert_int_equal(view.leader, 2);
    assert_false(has_voter(1));
    assert_true(member_is_done(&view));
    assert_int_equal(view.nodes[0].born, 0);
}

static void test_a_replica_made_anew_takes_the_place_of_the_old(void **state) {
    (void)state;
    begin(3);
    view.nodes[1].born = 5;
    run();
    assert_non_null(paxos_config_find(&config, 2, 5));
    assert_null(paxos_config_find(&config, 2, 1));
    assert_true(member_is_done(&view));
}

static void test_a_silent_node_is_neither_made_nor_dropped(void **state) {
    (void)state;
    begin(3);
    view.nodes[2].known = false;
    view.nodes[2].born = 0;
    assert_int_equal(next().action, MEMBER_NOTHING);
    view.nodes[2].wanted = false;
    struct member_step step = next();
    assert_int_equal(step.action, MEMBER_CHANGE); /* out of the configuration it goes */
    take(&step);
    assert_int_equal(next().action, MEMBER_NOTHING);
}

static void test_nothing_happens_before_the_last_change_has_settled(void **state) {
    (void)state;
    begin(3);
    view.nodes[2].wanted = false;
    view.settled = false;
    assert_int_equal(next().action, MEMBER_NOTHING);
}

/* Whatever is wanted and whatever is there: it ends, one voter a step, with what is wanted. */
static void test_any_view_comes_to_its_end(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 1u << 12; bits++) {
        uint32_t wanted = bits & 31, reborn = bits >> 5 & 31, size = 1 + (bits >> 10) % 3;
        if (wanted == 0)
            continue;
        begin(size);
        for (uint32_t i = size; i < 5; i++)
            add_node(i + 1, false, 0);
        for (uint32_t i = 0; i < 5; i++) {
            view.nodes[i].wanted = wanted >> i & 1;
            if (i > 0 && i < size && (reborn >> i & 1)) /* the leader's is what it is */
                view.nodes[i].born = 9;
        }
        run();
        assert_true(member_is_done(&view));
        for (uint32_t i = 0; i < 5; i++)
            assert_int_equal(has_voter(i + 1), wanted >> i & 1);
    }
}

/* A new replica learns in the place of one that was lost; its node is away for a while. */
static void test_a_learner_of_a_silent_node_stays(void **state) {
    (void)state;
    begin(3);
    view.nodes[1].born = 7;
    config.members[config.count++] = (struct paxos_member){2, 7, false};
    view.lags[3] = UINT64_MAX;
    view.nodes[1].known = false;
    assert_int_equal(next().action, MEMBER_NOTHING);
    view.nodes[1].known = true;
    view.lags[3] = 0;
    struct member_step step = next();
    assert_int_equal(step.action, MEMBER_CHANGE);
    assert_non_null(paxos_config_find(&step.config, 2, 7));
    assert_null(paxos_config_find(&step.config, 2, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_learner_of_a_silent_node_stays),
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_a_newcomer_learns_before_it_votes),
        cmocka_unit_test(test_one_is_exchanged_for_another_in_one_step),
        cmocka_unit_test(test_the_leader_hands_over_before_it_goes),
        cmocka_unit_test(test_a_replica_made_anew_takes_the_place_of_the_old),
        cmocka_unit_test(test_a_silent_node_is_neither_made_nor_dropped),
        cmocka_unit_test(test_nothing_happens_before_the_last_change_has_settled),
        cmocka_unit_test(test_any_view_comes_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
