/* Which task a worker gets, and which is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/sched.h"

/* Task i lies on node 1 + i % 3. */
static bool holds(void *context, uint32_t task, uint32_t node) {
    (void)context;
    return node == 1 + task % 3;
}

static void test_local_first(void **state) {
    (void)state;
    struct sched_task tasks[6] = {0};
    struct sched_phase phase = {.tasks = tasks, .count = 6, .waiting = 6};
    struct sched_chooser chooser = {
        .node = 2, .now_ns = 1000, .local_wait_ns = 10000, .holds = holds};
    uint64_t again_ns = UINT64_MAX;
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), 1);
    sched_set_state(&phase, 1, SCHED_RUNNING, 1000);
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), 4);
    sched_set_state(&phase, 4, SCHED_RUNNING, 1000);
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), SCHED_NO_TASK);
    assert_int_equal(again_ns, 10000);
    chooser.now_ns = 10000; /* waited long enough: any */
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), 0);
    assert_int_equal(phase.waiting, 4);
}

static void test_failed_elsewhere(void **state) {
    (void)state;
    struct sched_task task = {0};
    struct sched_phase phase = {.tasks = &task, .count = 1, .waiting = 1};
    struct sched_chooser chooser = {.node = 1, .now_ns = 1000, .local_wait_ns = 10, .holds = holds};
    uint64_t again_ns = UINT64_MAX;
    sched_set_state(&phase, 0, SCHED_RUNNING, 0);
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), SCHED_NO_TASK);
    assert_int_equal(again_ns, UINT64_MAX);
    task.last_node = 1;
    sched_set_state(&phase, 0, SCHED_WAITING, 1000);
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), SCHED_NO_TASK);
    assert_true(again_ns > 1000 && again_ns < UINT64_MAX);
    chooser.node = 2;
    chooser.now_ns = 1010;
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), 0);
    chooser.node = 1;
    chooser.alone = true; /* nobody else could */
    assert_int_equal(sched_choose(&phase, &chooser, &again_ns), 0);
}

static void test_retries(void **state) {
    (void)state;
    static const enum sched_end ends[] = {SCHED_END_LOST, SCHED_END_SIGNAL, SCHED_END_ASKED,
                                          SCHED_END_EXIT};
    static const unsigned attempts_max[] = {6, 3, 3, 2};
    for (unsigned i = 0; i < 4; i++) {
        assert_true(sched_may_retry(ends[i], attempts_max[i] - 1));
        assert_false(sched_may_retry(ends[i], attempts_max[i]));
    }
    assert_int_equal(sched_local_wait_ns(0), 10000000);
    assert_int_equal(sched_local_wait_ns(1000000), 50000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_first),
        cmocka_unit_test(test_failed_elsewhere),
        cmocka_unit_test(test_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
