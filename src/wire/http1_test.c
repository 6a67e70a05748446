/* HTTP/1.1 heads and chunked bodies: what is taken, what is refused and how, and that pieces read
 * as the whole does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/buf.h"
#include "wire/http1.h"

#define HOST "Host: a\r\n"

static void test_a_whole_request(void **state) {
    (void)state;
    static const char head[] = "PUT /bucket/key?x=1 HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n"
                               "Content-Length: 11\r\nX-Amz-Meta-Note: \t caf\xc3\xa9  \r\n"
                               "Expect: 100-Continue\r\nX-Empty:\r\n\r\nhello world";
    struct http1_request request;
    size_t size = 0;
    assert_int_equal(http1_parse(span_of(head), &request, &size, NULL), 0);
    assert_string_equal(head + size, "hello world");
    assert_int_equal(request.method, HTTP1_PUT);
    assert_true(span_is(request.target, "/bucket/key?x=1"));
    assert_true(span_is(request.host, "127.0.0.1:9000"));
    assert_true(request.keep_alive && request.expect_continue && !request.is_chunked);
    assert_int_equal(request.content_length, 11);
    assert_true(span_is(http1_header(&request, "x-amz-meta-note"), "caf\xc3\xa9"));
    struct span value = SPAN_LITERAL("untouched");
    assert_false(http1_find(&request, "x-none", &value));
    assert_true(span_is(value, "untouched"));
    assert_true(http1_find(&request, "x-empty", &value));
    assert_int_equal(value.size, 0);
    for (size_t cut = 0; cut < size; cut++) { /* each beginning of it needs more, nothing else */
        char *copy = malloc(cut + 1);
        memcpy(copy, head, cut);
        size_t got = 99;
        assert_int_equal(http1_parse((struct span){copy, cut}, &request, &got, NULL), 0);
        assert_int_equal(got, 0);
        free(copy);
    }
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int out;
    } rows[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", 0},
        {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0},
        {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\nHost: a\n\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST "X: a\rY: b\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n X: a\r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST "X(: a\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1\r\n" HOST "X: \x7f\r\n\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"GET /\r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"get / HTTP/1.1\r\n" HOST "\r\n", ERR_METHOD_NOT_ALLOWED},
        {"PATCH / HTTP/1.1\r\n" HOST "\r\n", ERR_METHOD_NOT_ALLOWED},
        {"G@T / HTTP/1.1\r\n" HOST "\r\n", ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
         ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 0},
        {"PUT / HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", ERR_NOT_IMPLEMENTED},
        {"PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", ERR_NOT_IMPLEMENTED},
        {"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_BAD_REQUEST},
        {"PUT / HTTP/1.1\r\n" HOST "Expect: gold\r\n\r\n", ERR_NOT_IMPLEMENTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http1_request request;
        size_t size = 0;
        int code = http1_parse(span_of(rows[i].in), &request, &size, NULL);
        if (code != rows[i].out)
            fail_msg("%s: %s", err_name(code), rows[i].in);
        assert_int_equal(size, code == 0 ? strlen(rows[i].in) : 0);
    }
    struct http1_request request;
    size_t size;
    static const char nul[] = "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n";
    assert_int_equal(http1_parse(SPAN_LITERAL(nul), &request, &size, NULL), ERR_BAD_REQUEST);
}

static void test_limits(void **state) {
    (void)state;
    struct buf buf = BUF_INIT;
    struct http1_request request;
    size_t size = 1;
    buf_puts(&buf, "GET / HTTP/1.1\r\n" HOST);
    for (unsigned i = 1; i < HTTP1_HEADERS_MAX; i++)
        buf_puts(&buf, "X: y\r\n");
    assert_int_equal(http1_parse(buf_span(&buf), &request, &size, NULL), 0);
    buf_puts(&buf, "X: y\r\n");
    assert_int_equal(http1_parse(buf_span(&buf), &request, &size, NULL), ERR_HEADER_TOO_LARGE);
    buf_clear(&buf);
    buf_puts(&buf, "GET / HTTP/1.1\r\n" HOST "X: ");
    while (buf.size < HTTP1_HEAD_BYTES_MAX - 4)
        buf_putc(&buf, 'x');
    size_t whole = buf.size;
    buf_puts(&buf, "\r\n\r\n");
    assert_int_equal(http1_parse(buf_span(&buf), &request, &size, NULL), 0);
    assert_int_equal(size, HTTP1_HEAD_BYTES_MAX);
    buf.size = whole;
    buf_puts(&buf, "x\r\n\r\n");
    assert_int_equal(http1_parse(buf_span(&buf), &request, &size, NULL), ERR_HEADER_TOO_LARGE);
    buf_fini(&buf);
}

static void test_keep_alive(void **state) {
    (void)state;
    static const struct {
        const char *in;
        bool out;
    } rows[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x, close ,keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n" HOST "\r\n", false},
        {"GET / HTTP/1.0\r\n" HOST "Connection: Keep-Alive\r\n\r\n", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http1_request request;
        size_t size = 0;
        assert_int_equal(http1_parse(span_of(rows[i].in), &request, &size, NULL), 0);
        assert_int_equal(request.keep_alive, rows[i].out);
    }
}

/* Feeds in steps of so many bytes; returns the code, and what came out. */
static int decode(struct span bytes, size_t step, struct buf *out, bool *ret_is_done,
                  size_t *ret_used) {
    struct http1_chunks chunks = {0};
    size_t at = 0;
    buf_clear(out);
    while (at < bytes.size && !chunks.is_done) {
        struct span piece = {bytes.data + at, bytes.size - at < step ? bytes.size - at : step},
                    payload;
        size_t used;
        int code = http1_chunks_feed(&chunks, piece, &used, &payload, NULL);
        if (code != 0)
            return code;
        assert_true(used > 0 && used <= piece.size);
        buf_append(out, payload.data, payload.size);
        at += used;
    }
    assert_int_equal(chunks.body_bytes, out->size);
    *ret_is_done = chunks.is_done;
    *ret_used = at;
    return 0;
}

static void test_chunks(void **state) {
    (void)state;
    static const struct {
        const char *in;
        const char *out; /* NULL: refused */
    } rows[] = {
        {"0\r\n\r\n", ""},
        {"5\r\nhello\r\n6;a=\"b\"\r\n world\r\n000\r\nX: y\r\nZ: w\r\n\r\n", "hello world"},
        {"A\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
        {"5\r\nhello0\r\n\r\n", NULL},
        {"5\nhello\r\n0\r\n\r\n", NULL},
        {"\r\n", NULL},
        {"5 \r\nhello\r\n0\r\n\r\n", NULL},
        {"0x5\r\nhello\r\n0\r\n\r\n", NULL},
        {"-5\r\nhello\r\n0\r\n\r\n", NULL},
        {"100000000000000\r\nhello\r\n0\r\n\r\n", NULL},
        {"0\r\nX: \x01\r\n\r\n", NULL},
        {"0\r\n\rx", NULL},
        {"5;a\nb\r\nhello\r\n0\r\n\r\n", NULL},
    };
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t step = 1; step < 40; step++) {
            bool done = false;
            size_t used = 0;
            int code = decode(span_of(rows[i].in), step, &out, &done, &used);
            assert_int_equal(code, rows[i].out == NULL ? ERR_BAD_REQUEST : 0);
            if (code != 0)
                continue;
            assert_true(done && used == strlen(rows[i].in));
            assert_true(span_is(buf_span(&out), rows[i].out));
        }
    }
    bool done;
    size_t used;
    assert_int_equal(decode(SPAN_LITERAL("5\r\nhel"), 9, &out, &done, &used), 0);
    assert_false(done);
    assert_int_equal(decode(SPAN_LITERAL("0\r\n\r\nGET / HTTP/1.1"), 99, &out, &done, &used), 0);
    assert_true(done && used == 5);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_request), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
