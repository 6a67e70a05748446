/* Request targets in rows, and that decode(encode(x)) == x. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "wire/uri.h"

static void test_paths(void **state) {
    (void)state;
    static const struct {
        const char *in;
        const char *path; /* NULL: refused */
        const char *bucket;
        const char *key;
    } rows[] = {
        {"/", "/", "", ""},
        {"*", "*", "*", ""},
        {"/bucket", "/bucket", "bucket", ""},
        {"/bucket/", "/bucket/", "bucket", ""},
        {"/bucket/a/b", "/bucket/a/b", "bucket", "a/b"},
        {"/bucket//a/", "/bucket//a/", "bucket", "/a/"},
        {"/bucket/a%20b+c%2Fd?x", "/bucket/a b+c/d", "bucket", "a b+c/d"},
        {"/bucket/../x", "/bucket/../x", "bucket", "../x"},
        {"/b/%C3%a9", "/b/\xc3\xa9", "b", "\xc3\xa9"},
        {"http://host:9000/bucket/key?q", "/bucket/key", "bucket", "key"},
        {"https://host", "/", "", ""},
        {"", NULL, NULL, NULL},
        {"bucket", NULL, NULL, NULL},
        {"/a%", NULL, NULL, NULL},
        {"/a%4", NULL, NULL, NULL},
        {"/a%4g", NULL, NULL, NULL},
        {"/a%00", NULL, NULL, NULL},
        {"/a?b=%zz", NULL, NULL, NULL},
        {"/a b", NULL, NULL, NULL},
        {"/a\x7f", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, 4096);
        struct uri uri = {.param_count = 77};
        int code = uri_parse(span_of(rows[i].in), &arena, &uri, NULL);
        assert_int_equal(code, rows[i].path == NULL ? ERR_INVALID_URI : 0);
        if (code != 0) {
            assert_int_equal(uri.param_count, 77);
            continue;
        }
        assert_true(span_is(uri.path, rows[i].path));
        assert_true(span_is(uri.bucket, rows[i].bucket));
        assert_true(span_is(uri.key, rows[i].key));
    }
}

static void test_queries(void **state) {
    (void)state;
    static const struct {
        const char *in;
        const char *out; /* canonical */
    } rows[] = {
        {"/?", ""},
        {"/?acl", "acl="},
        {"/?b=2&a=1&&a=0", "a=0&a=1&b=2"},
        {"/?prefix=a+b%2Fc&delimiter=/", "delimiter=%2F&prefix=a%20b%2Fc"},
        {"/?a=b=c", "a=b%3Dc"},
        {"/?%C3%A9=1&z=1&~=1", "%C3%A9=1&z=1&~=1"},
        {"/?a-b=1&a=2&a%20=3&aa=4", "a=2&a%20=3&a-b=1&aa=4"},
        {"/?a=1&X-Amz-Signature=xyz", "a=1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        _cleanup_(arena_finip) struct arena arena;
        _cleanup_(buf_finip) struct buf buf = BUF_INIT;
        arena_init(&arena, 8192);
        struct uri uri;
        assert_int_equal(uri_parse(span_of(rows[i].in), &arena, &uri, NULL), 0);
        assert_int_equal(uri_print_canonical_query(&uri, "X-Amz-Signature", &buf, NULL), 0);
        assert_true(span_is(buf_span(&buf), rows[i].out));
    }
}

static void test_parameters_and_limits(void **state) {
    (void)state;
    _cleanup_(arena_finip) struct arena arena;
    _cleanup_(buf_finip) struct buf buf = BUF_INIT;
    arena_init(&arena, 65536);
    struct uri uri;
    assert_int_equal(uri_parse(SPAN_LITERAL("/b?uploads&prefix=x%20y"), &arena, &uri, NULL), 0);
    assert_true(uri_has(&uri, "uploads") && !uri_has(&uri, "upload"));
    assert_true(span_is(uri_param(&uri, "prefix"), "x y"));
    assert_int_equal(uri_param(&uri, "none").size, 0);
    buf_puts(&buf, "/?");
    for (unsigned i = 0; i < URI_PARAMS_MAX; i++)
        buf_puts(&buf, "a=b&");
    assert_int_equal(uri_parse(buf_span(&buf), &arena, &uri, NULL), 0);
    buf_puts(&buf, "a");
    assert_int_equal(uri_parse(buf_span(&buf), &arena, &uri, NULL), ERR_INVALID_URI);
    arena_reset(&arena);
    arena.limit_bytes = 8;
    assert_int_equal(uri_parse(SPAN_LITERAL("/b%20cdefgh?a"), &arena, &uri, NULL), ERR_LIMIT);
}

static void test_round_trips(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 3986);
    for (int round = 0; round < 2000; round++) {
        _cleanup_(arena_finip) struct arena arena;
        _cleanup_(buf_finip) struct buf buf = BUF_INIT;
        arena_init(&arena, 4096);
        char text[64];
        struct span in = {text, rng_below(&rng, sizeof text)}, out;
        for (size_t i = 0; i < in.size; i++)
            text[i] = (char)(1 + rng_below(&rng, 255));
        uri_encode(&buf, in, round & 1 /* keep slash */);
        assert_int_equal(uri_decode(buf_span(&buf), round & 2, &arena, &out, NULL), 0);
        assert_true(span_equal(in, out));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_parameters_and_limits),
        cmocka_unit_test(test_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
