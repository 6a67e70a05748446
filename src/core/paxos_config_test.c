/* Configurations: what is sane, what is one step, their bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/paxos_config.h"

static const struct paxos_config three = {
    .slot = 4, .count = 3, .members = {{1, 1, true}, {2, 1, true}, {3, 1, true}}};

static void test_sanity(void **state) {
    (void)state;
    struct paxos_config config = three;
    assert_true(paxos_config_is_sane(&config));
    config.members[1] = config.members[0];
    assert_false(paxos_config_is_sane(&config));
    config.members[1].born = 2; /* another replica of the same node */
    assert_true(paxos_config_is_sane(&config));
    config.members[1].born = 0;
    assert_false(paxos_config_is_sane(&config));
    config = (struct paxos_config){.count = 1, .members = {{1, 1, false}}};
    assert_false(paxos_config_is_sane(&config)); /* nobody votes */
    config.count = PAXOS_MEMBERS_MAX + 1;
    assert_false(paxos_config_is_sane(&config));
}

static void test_steps(void **state) {
    (void)state;
    struct paxos_config from = three, to = three;
    from.count = to.count = 4;
    from.members[3] = to.members[3] = (struct paxos_member){4, 1, false};
    assert_true(paxos_config_is_step(&three, &from)); /* a learner comes */
    assert_true(paxos_config_is_step(&from, &three)); /* and goes */
    to.members[3].voter = true;
    assert_true(paxos_config_is_step(&from, &to));   /* and votes */
    assert_false(paxos_config_is_step(&three, &to)); /* not without learning */
    to.members[0].voter = false;
    assert_true(paxos_config_is_step(&from, &to)); /* one for another */
    to.members[1].voter = false;
    assert_false(paxos_config_is_step(&from, &to)); /* two at once */
}

static void test_bytes(void **state) {
    (void)state;
    struct paxos_value *value = paxos_config_encode(&three);
    struct span bytes = {value->data, value->size};
    struct paxos_config back;
    assert_int_equal(value->kind, PAXOS_CONFIG);
    assert_int_equal(paxos_config_decode(bytes, 4, &back, NULL), 0);
    assert_memory_equal(&back, &three, sizeof back);
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(paxos_config_decode((struct span){bytes.data, size}, 4, &back, NULL),
                         ERR_CORRUPT);
    static const size_t broken[] = {0, 4, 7, 8, 16};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        value->data[broken[i]] ^= 3; /* version, count, node 2 twice, voter 2 */
        int code = paxos_config_decode(bytes, 4, &back, NULL);
        assert_int_equal(code, ERR_CORRUPT);
        value->data[broken[i]] ^= 3;
    }
    paxos_value_unref(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sanity),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
