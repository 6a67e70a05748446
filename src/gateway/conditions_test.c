/* Conditions, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "gateway/conditions.h"

#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define SAME "Sun, 06 Nov 1994 08:49:37 GMT"
#define MODIFIED_MS 784111777500u

static const struct {
    const char *match, *none_match, *modified, *unmodified;
    int rc;
} rows[] = {
    {"", "", "", "", 0},
    {"\"abc\"", "", "", "", 0},
    {"abc", "", "", "", 0},
    {"\"x\", \"abc\"", "", "", "", 0},
    {"*", "", "", "", 0},
    {"\"x\"", "", "", "", ERR_PRECONDITION_FAILED},
    {"", "\"abc\"", "", "", ERR_NOT_MODIFIED},
    {"", "W/\"abc\"", "", "", ERR_NOT_MODIFIED},
    {"", "*", "", "", ERR_NOT_MODIFIED},
    {"", "\"x\"", "", "", 0},
    {"", "", SAME, "", ERR_NOT_MODIFIED},
    {"", "", BEFORE, "", 0},
    {"", "", "", SAME, 0},
    {"", "", "", BEFORE, ERR_PRECONDITION_FAILED},
    {"", "", "yesterday", "tomorrow", 0},
    {"\"abc\"", "", "", BEFORE, 0}, /* If-Match wins over If-Unmodified-Since */
    {"", "\"x\"", SAME, "", 0},     /* If-None-Match wins over If-Modified-Since */
    {"\"x\"", "\"abc\"", "", "", ERR_PRECONDITION_FAILED},
};

static void test_conditions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conditions conditions = {span_of(rows[i].match), span_of(rows[i].none_match),
                                        span_of(rows[i].modified), span_of(rows[i].unmodified)};
        assert_int_equal(conditions_check(&conditions, "abc", MODIFIED_MS), rows[i].rc);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conditions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
