/* The load generator's reading of replies and its percentiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/load.h"
#include "cli/load_reply.h"

static void test_replies(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int size; /* of the head; 0: more is needed, -1: refused */
        struct load_reply out;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 38, {200, 5, true}},
        {"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:0\r\n\r\n", 56, {200, 0, false}},
        {"HTTP/1.0 404 Not Found\r\nContent-Length: 7\r\n\r\n", 45, {404, 7, false}},
        {"HTTP/1.1 204 No Content\r\n\r\n", 27, {204, 0, true}},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", 0, {0}},
        {"", 0, {0}},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", -1, {0}},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", -1, {0}},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", -1, {0}},
        {"SMTP 200 OK\r\nContent-Length: 5\r\n\r\n", -1, {0}},
        {"\r\n\r\n", -1, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct load_reply reply = {0};
        assert_int_equal(load_reply_parse(span_of(rows[i].in), &reply), rows[i].size);
        assert_int_equal(reply.status, rows[i].out.status);
        assert_int_equal(reply.body_bytes, rows[i].out.body_bytes);
        assert_int_equal(reply.keep_alive, rows[i].out.keep_alive);
    }
}

static void test_percentiles(void **state) {
    (void)state;
    static struct load_result result;
    assert_int_equal(load_percentile_ns(&result, 500), 0);
    for (uint64_t us = 1; us <= 1000; us++)
        load_count_latency(&result, us * 1000);
    static const unsigned per_milles[] = {1, 10, 500, 990, 999};
    for (size_t i = 0; i < sizeof per_milles / sizeof *per_milles; i++) {
        double wanted = per_milles[i] * 1000.0,
               got = (double)load_percentile_ns(&result, per_milles[i]);
        assert_true(got > 0.98 * wanted && got < 1.02 * wanted);
    }
    assert_int_equal(load_percentile_ns(&result, 1000), 1000000);
    load_count_latency(&result, UINT64_MAX);
    assert_true(result.slowest_ns == UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_percentiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
