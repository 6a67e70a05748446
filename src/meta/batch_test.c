/* Slot values: what was put in comes out; anything else is refused. And the index of slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "meta/batch.h"
#include "meta/slots.h"

static struct span commands[BATCH_COMMANDS_MAX];

static void test_round_trip_and_cuts(void **state) {
    (void)state;
    char value[64];
    batch_begin(value, 3);
    char *to = batch_add(value + BATCH_HEAD, SPAN_LITERAL("one"));
    to = batch_add(to, SPAN_LITERAL(""));
    to = batch_add(to, SPAN_LITERAL("three"));
    size_t size = (size_t)(to - value);
    uint32_t count = 0;
    assert_int_equal(batch_decode((struct span){value, size}, commands, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_true(span_is(commands[0], "one") && span_is(commands[1], "") &&
                span_is(commands[2], "three"));
    for (size_t cut = 0; cut < size; cut++) {
        count = 7;
        assert_int_equal(batch_decode((struct span){value, cut}, commands, &count, NULL),
                         ERR_CORRUPT);
        assert_int_equal(count, 7);
    }
    assert_int_equal(batch_decode((struct span){value, size + 1}, commands, &count, NULL),
                     ERR_CORRUPT);
    batch_begin(value, BATCH_COMMANDS_MAX + 1);
    assert_int_equal(batch_decode((struct span){value, size}, commands, &count, NULL), ERR_CORRUPT);
}

static void test_slots_are_found_until_dropped(void **state) {
    (void)state;
    struct slots slots = {0};
    assert_int_equal(slots_get(&slots, 1), 0);
    for (uint64_t slot = 100; slot < 5000; slot++)
        slots_put(&slots, slot, slot * 10);
    slots_put(&slots, 200, 7); /* written again: the last record counts */
    assert_int_equal(slots_get(&slots, 99), 0);
    assert_int_equal(slots_get(&slots, 100), 1000);
    assert_int_equal(slots_get(&slots, 200), 7);
    assert_int_equal(slots_get(&slots, 5000), 0);
    slots_drop(&slots, 4000);
    assert_int_equal(slots_get(&slots, 4000), 0);
    assert_int_equal(slots_get(&slots, 4001), 40010);
    slots_put(&slots, 50, 1); /* below what was dropped */
    assert_int_equal(slots_get(&slots, 50), 0);
    slots_drop(&slots, UINT64_MAX);
    slots_put(&slots, 9, 90); /* empty: begins anew */
    assert_int_equal(slots_get(&slots, 9), 90);
    slots_fini(&slots);
}

static void test_slots_have_a_limit(void **state) {
    (void)state;
    struct slots slots = {0};
    slots_put(&slots, 1, 1);
    slots_put(&slots, SLOTS_MAX, 2);
    assert_int_equal(slots_get(&slots, 1), 1);
    slots_put(&slots, SLOTS_MAX + 1, 3);
    assert_int_equal(slots_get(&slots, 1), 0);
    assert_int_equal(slots_get(&slots, SLOTS_MAX), 2);
    assert_int_equal(slots_get(&slots, SLOTS_MAX + 1), 3);
    slots_put(&slots, 100 * SLOTS_MAX, 4);
    assert_int_equal(slots_get(&slots, SLOTS_MAX + 1), 0);
    assert_int_equal(slots_get(&slots, 100 * SLOTS_MAX), 4);
    slots_fini(&slots);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_and_cuts),
        cmocka_unit_test(test_slots_are_found_until_dropped),
        cmocka_unit_test(test_slots_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
