/* Dates: rows of text and seconds, and print(parse(x)) == x over random times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "wire/time.h"

static void test_http(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int64_t out; /* -1: refused */
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
        {"Fri, 24 May 2013 00:00:00 GMT", 1369353600},
        {"Fri, 31 Dec 9999 23:59:59 GMT", TIME_SECONDS_MAX},
        {"Fri, 30 Jun 2012 23:59:60 GMT", -1}, /* it was a Saturday */
        {"Sat, 30 Jun 2012 23:59:60 GMT", 1341100799},
        {"Mon, 06 Nov 1994 08:49:37 GMT", -1},
        {"Thu, 29 Feb 1900 12:00:00 GMT", -1},
        {"Mon, 29 Feb 2100 12:00:00 GMT", -1},
        {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
        {"Sun, 06 Nov 1994 24:00:00 GMT", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
        {"Sun, 6 Nov 1994 08:49:37 GMT", -1},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"", -1},
        {"Sun", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t seconds = -1;
        assert_int_equal(time_parse_http(span_of(rows[i].in), &seconds), rows[i].out >= 0);
        assert_int_equal(seconds, rows[i].out);
    }
}

static void test_iso8601(void **state) {
    (void)state;
    int64_t time = -1;
    assert_true(time_parse_basic(SPAN_LITERAL("20130524T000000Z"), &time));
    assert_int_equal(time, 1369353600);
    assert_true(time_parse_iso8601(SPAN_LITERAL("2013-05-24T00:00:00.12Z"), &time));
    assert_int_equal(time, 1369353600120);
    assert_true(time_parse_iso8601(SPAN_LITERAL("2013-05-24T00:00:01Z"), &time));
    assert_int_equal(time, 1369353601000);
    static const char *const bad[] = {"2013-05-24T00:00:00.Z", "2013-05-24T00:00:00.1234567890Z",
                                      "2013-13-24T00:00:00Z",  "2013-05-24 00:00:00Z",
                                      "20130524T000000",       "2013-05-24T00:00:00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(time_parse_iso8601(span_of(bad[i]), &time));
        assert_false(time_parse_basic(span_of(bad[i]), &time));
    }
    assert_int_equal(time, 1369353601000);
}

static void test_round_trips(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 1970);
    for (int round = 0; round < 20000; round++) {
        int64_t seconds = (int64_t)rng_below(&rng, (uint64_t)TIME_SECONDS_MAX + 1), back = -1;
        char http[TIME_HTTP_SIZE], basic[TIME_BASIC_SIZE], iso[TIME_ISO8601_SIZE];
        assert_true(time_parse_http(span_of(time_print_http(seconds, http)), &back));
        assert_int_equal(back, seconds);
        assert_true(time_parse_basic(span_of(time_print_basic(seconds, basic)), &back));
        assert_int_equal(back, seconds);
        int64_t ms = seconds * 1000 + round % 1000;
        assert_true(time_parse_iso8601(span_of(time_print_iso8601(ms, iso)), &back));
        assert_int_equal(back, ms);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_iso8601),
        cmocka_unit_test(test_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
