/* The checker against known histories, and against brute force on small random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "faults/check.h"
#include "faults/linear.h"

#define SMALL_OPS 7
#define LONG_OPS 400

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PUT(from, to, v)                                                                           \
    { .invoke_ns = from, .return_ns = to, .kind = LINEAR_PUT, .value = v }
#define READ(from, to, v)                                                                          \
    { .invoke_ns = from, .return_ns = to, .kind = LINEAR_READ, .value = v }
#define DELETE(from, to)                                                                           \
    { .invoke_ns = from, .return_ns = to, .kind = LINEAR_DELETE }
#define SWAP(from, to, e, v)                                                                       \
    { .invoke_ns = from, .return_ns = to, .kind = LINEAR_PUT_IF_MATCH, .expected = e, .value = v }
#define CREATE(from, to, v)                                                                        \
    { .invoke_ns = from, .return_ns = to, .kind = LINEAR_PUT_IF_ABSENT, .value = v }
#define WITH(made, o)                                                                              \
    ({                                                                                             \
        struct linear_op op_ = made;                                                               \
        op_.outcome = o;                                                                           \
        op_;                                                                                       \
    })

static enum linear_verdict verdict_of(const struct linear_op *ops, size_t count) {
    struct linear_result result;
    return linear_check(ops, count, LINEAR_LIMITS, &result);
}

#define assert_good(ops) assert_int_equal(verdict_of(ops, COUNT(ops)), LINEAR_GOOD)
#define assert_bad(ops) assert_int_equal(verdict_of(ops, COUNT(ops)), LINEAR_BAD)

/* ---- known histories ---- */

static void test_what_happened_one_after_the_other(void **state) {
    struct linear_op good[] = {READ(1, 2, 0),    PUT(3, 4, 7),      READ(5, 6, 7),
                               SWAP(7, 8, 7, 9), READ(9, 10, 9),    DELETE(11, 12),
                               READ(13, 14, 0),  CREATE(15, 16, 5), READ(17, 18, 5)};
    assert_good(good);
    assert_int_equal(verdict_of(NULL, 0), LINEAR_GOOD);
}

static void test_a_stale_read_is_caught(void **state) {
    struct linear_op stale[] = {PUT(1, 2, 7), PUT(3, 4, 8), READ(5, 6, 7)};
    assert_bad(stale);
    struct linear_op missing[] = {PUT(1, 2, 7), READ(3, 4, 0)};
    assert_bad(missing);
    struct linear_op backwards[] = {PUT(1, 2, 7), PUT(3, 20, 8), READ(5, 6, 8), READ(7, 8, 7)};
    assert_bad(backwards);
    struct linear_op either[] = {PUT(1, 2, 7), PUT(3, 20, 8), READ(5, 6, 7), READ(7, 8, 8)};
    assert_good(either);
}

static void test_a_lost_update_is_caught(void **state) {
    struct linear_op both_won[] = {PUT(1, 2, 7), SWAP(3, 10, 7, 8), SWAP(4, 11, 7, 9)};
    assert_bad(both_won);
    struct linear_op both_made[] = {CREATE(3, 10, 8), CREATE(4, 11, 9)};
    assert_bad(both_made);
    struct linear_op one_won[] = {PUT(1, 2, 7), SWAP(3, 10, 7, 8),
                                  WITH(((struct linear_op)SWAP(4, 11, 7, 9)), LINEAR_REFUSED)};
    assert_good(one_won);
    struct linear_op gone[] = {PUT(1, 2, 7), READ(3, 4, 7), READ(5, 6, 0), READ(7, 8, 7)};
    assert_bad(gone);
}

static void test_a_resurrected_delete_is_caught(void **state) {
    struct linear_op back[] = {PUT(1, 2, 7), DELETE(3, 4), READ(5, 6, 0), READ(7, 8, 7)};
    assert_bad(back);
    /* A late PUT whose outcome was never learnt may explain it. */
    struct linear_op late[] = {WITH(((struct linear_op)PUT(1, 2, 7)), LINEAR_UNKNOWN), DELETE(3, 4),
                               READ(5, 6, 0), READ(7, 8, 7)};
    assert_good(late);
}

static void test_a_write_that_happened_twice_is_caught(void **state) {
    struct linear_op twice[] = {WITH(((struct linear_op)PUT(1, 2, 7)), LINEAR_UNKNOWN),
                                READ(3, 4, 7), PUT(5, 6, 8), READ(7, 8, 8), READ(9, 10, 7)};
    assert_bad(twice);
    /* Refused, although it was carried out: a conditional write that was sent twice inside. */
    struct linear_op refused[] = {WITH(((struct linear_op)CREATE(1, 2, 7)), LINEAR_REFUSED),
                                  READ(3, 4, 7)};
    assert_bad(refused);
}

static void test_refusals_say_what_was_there(void **state) {
    struct linear_op empty[] = {WITH(((struct linear_op)SWAP(1, 2, 5, 7)), LINEAR_REFUSED)};
    assert_bad(empty);
    struct linear_op missing[] = {WITH(((struct linear_op)SWAP(1, 2, 5, 7)), LINEAR_MISSING)};
    assert_good(missing);
    struct linear_op held[] = {PUT(1, 2, 5),
                               WITH(((struct linear_op)SWAP(3, 4, 5, 7)), LINEAR_REFUSED)};
    assert_bad(held);
    struct linear_op hidden[] = {WITH(((struct linear_op)PUT(1, 2, 5)), LINEAR_UNKNOWN),
                                 WITH(((struct linear_op)CREATE(3, 4, 7)), LINEAR_REFUSED),
                                 READ(5, 6, 5)};
    assert_good(hidden);
}

static void test_the_search_is_bounded(void **state) {
    struct linear_op ops[64];
    struct linear_result result;
    for (uint64_t i = 0; i < COUNT(ops); i++)
        ops[i] = (struct linear_op)PUT(1 + i, 1000, 100 + i);
    ops[0] = (struct linear_op)READ(1, 2000, 5); /* nobody wrote it */
    struct linear_limits few = {.steps = 10000, .cache_bytes = 1 << 20};
    assert_int_equal(linear_check(ops, COUNT(ops), few, &result), LINEAR_RAN_OUT);
    few = (struct linear_limits){.steps = UINT64_MAX, .cache_bytes = 1 << 16};
    assert_int_equal(linear_check(ops, COUNT(ops), few, &result), LINEAR_RAN_OUT);
}

/* ---- histories of a register that is right ---- */

/* Carries op out, as a server would; what the client hears goes into it. */
static void carry_out(struct linear_op *op, uint64_t *state) {
    bool holds = true;
    switch (op->kind) {
    case LINEAR_READ:
        op->value = *state;
        return;
    case LINEAR_PUT_IF_MATCH:
    case LINEAR_DELETE_IF_MATCH:
        holds = *state != 0 && *state == op->expected;
        break;
    case LINEAR_PUT_IF_ABSENT:
        holds = *state == 0;
        break;
    default:
        break;
    }
    op->outcome = holds ? LINEAR_DONE : *state != 0 ? LINEAR_REFUSED : LINEAR_MISSING;
    if (holds)
        *state = op->kind == LINEAR_DELETE || op->kind == LINEAR_DELETE_IF_MATCH ? 0 : op->value;
}

/* The moment an operation takes effect is i; it began up to `width` before and ended as long
 * after. Some answers are lost, and some of these operations never happened. */
static void generate(struct rng *rng, struct linear_op *ops, size_t count, uint64_t width) {
    uint64_t state = 0, recent = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t moment = (i + 1) * 10 + width;
        struct linear_op op = {.kind = (enum linear_kind)rng_below(rng, 6),
                               .value = 1 + i,
                               .expected = rng_below(rng, 3) == 0 ? recent : state,
                               .invoke_ns = moment - 1 - rng_below(rng, width),
                               .return_ns = moment + 1 + rng_below(rng, width)};
        bool is_lost = rng_below(rng, 8) == 0, happens = !is_lost || rng_below(rng, 2) == 0;
        if (op.kind == LINEAR_DELETE || op.kind == LINEAR_DELETE_IF_MATCH)
            op.value = 0;
        if (op.expected == 0)
            op.expected = 1 + rng_below(rng, i + 1);
        if (happens)
            carry_out(&op, &state);
        if (is_lost)
            op.outcome = LINEAR_UNKNOWN;
        recent = state != 0 ? state : recent;
        ops[i] = op;
    }
}

/* One answer becomes another. */
static void spoil(struct rng *rng, struct linear_op *ops, size_t count) {
    struct linear_op *op = &ops[rng_below(rng, count)];
    if (op->kind == LINEAR_READ)
        op->value = rng_below(rng, count + 1);
    else if (rng_below(rng, 3) == 0)
        op->return_ns = op->invoke_ns + 1;
    else
        op->outcome = (enum linear_outcome)rng_below(rng, 4);
}

/* ---- brute force ---- */

struct brute {
    const struct linear_op *ops;
    size_t count;
    bool placed[SMALL_OPS];
};

static bool brute_fits(const struct linear_op *op, uint64_t state, uint64_t *ret_state) {
    struct linear_op done = *op;
    *ret_state = state;
    carry_out(&done, ret_state);
    if (op->kind == LINEAR_READ)
        return op->outcome == LINEAR_DONE && done.value == op->value;
    return done.outcome == (op->outcome == LINEAR_UNKNOWN ? LINEAR_DONE : op->outcome);
}

/* No operation that is left had returned before this one was invoked. */
static bool may_be_next(const struct brute *brute, size_t index) {
    for (size_t i = 0; i < brute->count; i++)
        if (!brute->placed[i] && brute->ops[i].outcome != LINEAR_UNKNOWN &&
            brute->ops[i].return_ns < brute->ops[index].invoke_ns)
            return false;
    return !brute->placed[index];
}

static bool brute_force(struct brute *brute, uint64_t state) {
    bool complete = true;
    for (size_t i = 0; i < brute->count; i++)
        complete = complete && (brute->placed[i] || brute->ops[i].outcome == LINEAR_UNKNOWN);
    for (size_t i = 0; i < brute->count && !complete; i++) {
        uint64_t after;
        if (!may_be_next(brute, i) || !brute_fits(&brute->ops[i], state, &after))
            continue;
        brute->placed[i] = true;
        complete = brute_force(brute, after);
        brute->placed[i] = false;
    }
    return complete;
}

static void test_small_histories_agree_with_brute_force(void **state) {
    struct linear_op ops[SMALL_OPS];
    struct rng rng;
    unsigned good = 0, bad = 0;
    rng_init(&rng, 7);
    for (unsigned round = 0; round < 15000; round++) {
        size_t count = 2 + rng_below(&rng, SMALL_OPS - 1);
        generate(&rng, ops, count, 1 + rng_below(&rng, 60));
        for (uint64_t i = rng_below(&rng, 4); i > 0; i--)
            spoil(&rng, ops, count);
        struct brute brute = {.ops = ops, .count = count};
        bool expected = brute_force(&brute, 0);
        enum linear_verdict verdict = verdict_of(ops, count);
        assert_int_equal(verdict, expected ? LINEAR_GOOD : LINEAR_BAD);
        good += expected;
        bad += !expected;
    }
    assert_true(good > 2000 && bad > 2000);
}

static void test_long_histories_of_a_right_register_pass(void **state) {
    static struct linear_op ops[LONG_OPS];
    struct rng rng;
    rng_init(&rng, 11);
    for (unsigned round = 0; round < 150; round++) {
        generate(&rng, ops, LONG_OPS, 1 + rng_below(&rng, 100));
        assert_int_equal(verdict_of(ops, LONG_OPS), LINEAR_GOOD);
    }
}

/* A read that shows what had been overwritten for longer than anything was under way. */
static void test_long_histories_with_a_stale_read_fail(void **state) {
    static struct linear_op ops[LONG_OPS + 1];
    struct rng rng;
    rng_init(&rng, 13);
    for (unsigned round = 0; round < 60; round++) {
        generate(&rng, ops, LONG_OPS, 1 + rng_below(&rng, 60));
        size_t at = 100 + rng_below(&rng, 200);
        ops[at].kind = LINEAR_PUT, ops[at].outcome = LINEAR_DONE, ops[at].value = LONG_OPS + 1;
        for (size_t i = 0; i < LONG_OPS; i++)
            if (i != at && ops[i].kind != LINEAR_PUT && ops[i].kind != LINEAR_DELETE)
                ops[i].kind = LINEAR_PUT, ops[i].outcome = LINEAR_DONE, ops[i].value = 1 + i;
        ops[LONG_OPS] = (struct linear_op)READ(ops[at].return_ns + 5000, ops[at].return_ns + 5001,
                                               LONG_OPS + 1);
        assert_int_equal(verdict_of(ops, LONG_OPS + 1), LINEAR_BAD);
    }
}

/* ---- files ---- */

static int check_text(const char *text, struct check_result *ret_result, struct err *err) {
    char path[] = "/tmp/quern-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    FILE *report = fopen("/dev/null", "w");
    int code = check_file(path, NULL, LINEAR_LIMITS, report, ret_result, err);
    fclose(report);
    unlink(path);
    return code;
}

static void test_files_and_their_listings(void **state) {
    struct check_result result;
    struct err err = {0};
    const char *good = "# begun\n"
                       "put 1 2 1 done r/1/a 00000000000000aa -\n"
                       "put 1 2 1 done r/1/b 00000000000000bb -\n"
                       "delete 5 9 1 done r/1/b - -\n"
                       "put 1 2 1 done r/2/a 00000000000000cc -\n"
                       "list 3 4 2 done r/1/ r/1/a=00000000000000aa r/1/b=00000000000000bb\n"
                       "list 6 8 2 done r/1/ r/1/a=00000000000000aa\n"
                       "list 10 11 2 done r/3/\n";
    assert_int_equal(check_text(good, &result, &err), 0);
    assert_int_equal(result.operations, 7);
    assert_int_equal(result.keys, 3);
    assert_int_equal(result.violations, 0);
}

static void test_listings_that_cannot_be(void **state) {
    static const struct {
        const char *listing;
        uint64_t violations;
    } rows[] = {
        {"list 5 6 2 done r/ r/a=00000000000000aa r/b=00000000000000bb\n", 0},
        {"list 5 6 2 done r/ r/a=00000000000000aa\n", 1},                      /* b is missing */
        {"list 5 6 2 done r/ r/a=00000000000000ab r/b=00000000000000bb\n", 1}, /* never written */
        {"list 5 6 2 done r/ r/a=00000000000000aa r/aa=00000000000000aa r/b=00000000000000bb\n", 1},
        {"list 5 6 2 done r/ r/a=00000000000000aa r/b=00000000000000bb r/c=00000000000000cc\n", 1},
        {"list 5 6 2 done r/\n", 2},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct check_result result;
        struct err err = {0};
        char text[512];
        snprintf(text, sizeof text,
                 "put 1 2 1 done r/a 00000000000000aa -\nput 1 2 1 done r/b 00000000000000bb -\n%s",
                 rows[i].listing);
        assert_int_equal(check_text(text, &result, &err), 0);
        assert_int_equal(result.violations, rows[i].violations);
    }
}

static void test_files_that_are_none(void **state) {
    static const char *const texts[] = {
        "put 1 2 1 done r/a 00000000000000aa\n",   /* a field is missing */
        "put 2 1 1 done r/a 00000000000000aa -\n", /* returned before it was invoked */
        "put 1 2 1 done r/a 00000000000000zz -\n",
        "put 1 2 1 well r/a 00000000000000aa -\n",
        "mend 1 2 1 done r/a 00000000000000aa -\n",
        "put 1 2 1 done r/a 00000000000000aa - -\n",
        "put 1 2 1 done r/a 00000000000000aa -",
        "list 1 2 1 unknown r/\n",
        "list 1 2 1 done r/ r/a\n",
        "put 99999999999999999999 2 1 done a - -\n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct check_result result;
        struct err err = {0};
        assert_int_equal(check_text(texts[i], &result, &err), ERR_CORRUPT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_happened_one_after_the_other),
        cmocka_unit_test(test_a_stale_read_is_caught),
        cmocka_unit_test(test_a_lost_update_is_caught),
        cmocka_unit_test(test_a_resurrected_delete_is_caught),
        cmocka_unit_test(test_a_write_that_happened_twice_is_caught),
        cmocka_unit_test(test_refusals_say_what_was_there),
        cmocka_unit_test(test_the_search_is_bounded),
        cmocka_unit_test(test_small_histories_agree_with_brute_force),
        cmocka_unit_test(test_long_histories_of_a_right_register_pass),
        cmocka_unit_test(test_long_histories_with_a_stale_read_fail),
        cmocka_unit_test(test_files_and_their_listings),
        cmocka_unit_test(test_listings_that_cannot_be),
        cmocka_unit_test(test_files_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
