/* The small pieces of base: codecs, checksums, digests, buffers, arenas, errors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"
#include "base/crc.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/id.h"
#include "base/rng.h"

static void test_hex_and_base64(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[16], back[8] = {0};
        size_t size = strlen(rows[i][0]);
        assert_string_equal(base64_encode(rows[i][0], size, text), rows[i][1]);
        assert_true(base64_decode(span_of(text), back, size));
        assert_memory_equal(back, rows[i][0], size);
    }
    char out[4];
    assert_false(base64_decode(span_of("Zh=="), out, 1)); /* spare bits set */
    assert_false(base64_decode(span_of("Zg=a"), out, 1));
    assert_false(base64_decode(span_of("Zg"), out, 1));
    struct id128 id = {{0xab}};
    assert_false(id128_parse(span_of("zz"), &id));
    assert_int_equal(id.bytes[0], 0xab);
    char hex[ID128_HEX_SIZE];
    struct id128 again;
    assert_true(id128_parse(span_of(id128_print(id, hex)), &again));
    assert_true(id128_equal(id, again));
}

static void test_crc32c(void **state) {
    (void)state;
    assert_int_equal(crc32c_update(0, "123456789", 9), 0xe3069283u);
    struct rng rng;
    rng_init(&rng, 7);
    char data[4096];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)rng_next(&rng);
    for (int round = 0; round < 100; round++) {
        size_t cut = rng_below(&rng, sizeof data + 1);
        uint32_t a = crc32c_update(0, data, cut),
                 b = crc32c_update(0, data + cut, sizeof data - cut);
        assert_int_equal(crc32c_combine(a, b, sizeof data - cut),
                         crc32c_update(0, data, sizeof data));
    }
}

static void test_digests(void **state) {
    (void)state;
    uint8_t hash[DIGEST_SIZE_MAX];
    char text[2 * DIGEST_SIZE_MAX + 1];
    digest_of(DIGEST_MD5, span_of("abc"), hash);
    assert_string_equal(hex_encode(hash, MD5_SIZE, text), "900150983cd24fb0d6963f7d28e17f72");
    hmac_sha256(span_of("Jefe"), span_of("what do ya want for nothing?"),
                hash); /* RFC 4231, case 2 */
    assert_string_equal(hex_encode(hash, SHA256_SIZE, text),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void test_buf_limit_is_sticky(void **state) {
    (void)state;
    struct buf buf = {.limit = 8};
    buf_puts(&buf, "12345");
    buf_puts(&buf, "6789");
    assert_true(buf.failed);
    buf_puts(&buf, "6");
    assert_true(buf.failed);
    assert_string_equal(buf.data, "12345");
    buf_fini(&buf);
}

static void test_arena_limit_is_sticky(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, 100);
    assert_non_null(arena_alloc(&arena, 60));
    assert_null(arena_alloc(&arena, 60));
    assert_true(arena.overflowed);
    arena_reset(&arena);
    assert_false(arena.overflowed);
    assert_string_equal(arena_printf(&arena, "%d-%s", 7, "x"), "7-x");
    arena_fini(&arena);
}

static void test_err_story(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, ERR_NO_SUCH_KEY, "key %s", "a"), ERR_NO_SUCH_KEY);
    assert_int_equal(err_wrap(&err, "bucket %s", "b"), ERR_NO_SUCH_KEY);
    assert_string_equal(err.text, "bucket b: key a");
    assert_int_equal(err_errno(&err, ENOSPC, "write"), ERR_NOSPACE);
    assert_string_equal(err_s3_code(ERR_NO_SUCH_KEY), "NoSuchKey");
    assert_int_equal(err_http_status(ERR_INVALID_RANGE), 416);
    assert_string_equal(err_name(-100000), "INTERNAL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex_and_base64),
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_buf_limit_is_sticky),
        cmocka_unit_test(test_arena_limit_is_sticky),
        cmocka_unit_test(test_err_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
