/* Whatever the cuts, the splits' records together are the input, each record in the split of its
 * first byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"
#include "worker/records.h"

static int append(void *context, const void *data, size_t size) {
    buf_append(context, data, size);
    return 0;
}

/* What split [from, to) of the text gives when it is fed in pieces of at most step bytes. */
static int run_split(const char *text, size_t size, size_t from, size_t to, size_t step,
                     uint64_t record_max, struct records *records, struct buf *ret_out) {
    records_init(records, from > 0 && text[from - 1] != '\n', from, record_max, append, ret_out);
    for (size_t at = from; at < to; at += step) {
        int code = records_sink(records, text + at, to - at < step ? to - at : step);
        if (code != 0)
            return code;
    }
    records_end_of_split(records);
    for (size_t at = to; at < size && !records_complete(records); at += step) {
        int code = records_sink(records, text + at, size - at < step ? size - at : step);
        if (code != 0)
            return code;
    }
    return 0;
}

/* The definition, byte by byte. */
static void expect_split(const char *text, size_t size, size_t from, size_t to,
                         struct buf *ret_out) {
    for (size_t start = 0, end; start < size; start = end) {
        const char *newline = memchr(text + start, '\n', size - start);
        end = newline != NULL ? (size_t)(newline + 1 - text) : size;
        if (start >= from && start < to)
            buf_append(ret_out, text + start, end - start);
    }
}

static void test_random_cuts(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 3000; round++) {
        char text[64];
        size_t size = 1 + rng_below(&rng, sizeof text);
        for (size_t i = 0; i < size; i++)
            text[i] = rng_chance(&rng, 250000) ? '\n' : (char)('a' + rng_below(&rng, 26));
        size_t from = rng_below(&rng, size), to = from + 1 + rng_below(&rng, size - from);
        struct buf got = BUF_INIT, want = BUF_INIT;
        struct records records;
        assert_int_equal(
            run_split(text, size, from, to, 1 + rng_below(&rng, 8), 1000, &records, &got), 0);
        expect_split(text, size, from, to, &want);
        assert_int_equal(got.size, want.size);
        if (got.size > 0)
            assert_memory_equal(got.data, want.data, got.size);
        buf_fini(&got);
        buf_fini(&want);
    }
}

static void test_long_record(void **state) {
    (void)state;
    const char text[] = "short\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nend\n";
    struct records records;
    struct buf out = BUF_INIT;
    assert_int_equal(run_split(text, sizeof text - 1, 0, 10, 5, 40, &records, &out), 0);
    assert_int_equal(run_split(text, sizeof text - 1, 0, 10, 5, 39, &records, &out), ERR_LIMIT);
    assert_true(records.too_long);
    assert_int_equal(records.record_offset, 6);
    assert_int_equal(run_split(text, sizeof text - 1, 20, 30, 5, 39, &records, &out),
                     0); /* not its record */
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_cuts),
        cmocka_unit_test(test_long_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
