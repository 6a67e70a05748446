/* Ranges, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "gateway/range.h"

static const struct {
    const char *header;
    uint64_t size;
    int rc;
    struct range range;
} rows[] = {
    {"", 10, 0, {0, 10, false}},
    {"bytes=0-0", 10, 0, {0, 1, true}},
    {"bytes=0-9", 10, 0, {0, 10, true}},
    {"bytes=2-5", 10, 0, {2, 4, true}},
    {"bytes=5-", 10, 0, {5, 5, true}},
    {"bytes=5-99", 10, 0, {5, 5, true}},
    {"bytes=-3", 10, 0, {7, 3, true}},
    {"bytes=-99", 10, 0, {0, 10, true}},
    {"bytes=-0", 10, ERR_INVALID_RANGE, {0}},
    {"bytes=10-", 10, ERR_INVALID_RANGE, {0}},
    {"bytes=10-12", 10, ERR_INVALID_RANGE, {0}},
    {"bytes=0-", 0, ERR_INVALID_RANGE, {0}},
    {"bytes=-5", 0, ERR_INVALID_RANGE, {0}},
    {"bytes=5-2", 10, 0, {0, 10, false}},
    {"bytes=1-2,4-5", 10, 0, {0, 10, false}},
    {"bytes=a-b", 10, 0, {0, 10, false}},
    {"bytes=-", 10, 0, {0, 10, false}},
    {"bytes=", 10, 0, {0, 10, false}},
    {"lines=1-2", 10, 0, {0, 10, false}},
    {"bytes=1-2 ", 10, 0, {0, 10, false}},
    {"bytes=99999999999999999999-", 10, 0, {0, 10, false}},
};

static void test_ranges(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct range range = {77, 77, false};
        assert_int_equal(range_parse(span_of(rows[i].header), rows[i].size, &range), rows[i].rc);
        assert_int_equal(range.offset, rows[i].rc == 0 ? rows[i].range.offset : 77);
        assert_int_equal(range.length, rows[i].rc == 0 ? rows[i].range.length : 77);
        assert_int_equal(range.is_partial, rows[i].range.is_partial);
    }
}

static void test_copy_ranges(void **state) {
    (void)state;
    struct range range;
    assert_int_equal(range_parse_copy(span_of("bytes=2-5"), 10, &range), 0);
    assert_int_equal(range.offset, 2);
    assert_int_equal(range.length, 4);
    static const char *const bad[] = {"bytes=2-", "bytes=-2",      "bytes=5-2", "bytes=0-10",
                                      "2-5",      "bytes=2-5,7-8", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(range_parse_copy(span_of(bad[i]), 10, &range), ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges),
                                       cmocka_unit_test(test_copy_ranges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
