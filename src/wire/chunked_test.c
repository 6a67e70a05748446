/* aws-chunked bodies: the documented examples byte by byte and whole, and each way to break one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/codec.h"
#include "wire/chunked.h"

/* "Signature calculations: chunked upload" of the S3 documentation: 66,560 letters a in chunks of
 * 64 KiB. */
#define SEED "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
#define SEED_TRAILER "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
#define PAYLOAD_BYTES 66560u

static void chain_make(const char *seed, struct sigv4_chain *ret_chain) {
    uint8_t key[SHA256_SIZE];
    struct sigv4_auth auth = {.scope = SPAN_LITERAL("20130524/us-east-1/s3/aws4_request"),
                              .time_text = SPAN_LITERAL("20130524T000000Z"),
                              .signature = span_of(seed)};
    sigv4_signing_key(SPAN_LITERAL("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
                      SPAN_LITERAL("20130524"), SPAN_LITERAL("us-east-1"), SPAN_LITERAL("s3"), key);
    assert_int_equal(sigv4_chain_init(ret_chain, &auth, key, NULL), 0);
}

static void add_chunk(struct buf *buf, size_t size, const char *signature) {
    buf_printf(buf, signature != NULL ? "%zx;chunk-signature=%s\r\n" : "%zx\r\n", size, signature);
    for (size_t i = 0; i < size; i++)
        buf_putc(buf, 'a');
    if (size > 0)
        buf_puts(buf, "\r\n");
}

static void example_body(struct buf *buf) {
    add_chunk(buf, 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
    add_chunk(buf, 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
    add_chunk(buf, 0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    buf_puts(buf, "\r\n");
}

static void example_body_with_trailer(struct buf *buf) {
    add_chunk(buf, 65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2");
    add_chunk(buf, 1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7");
    add_chunk(buf, 0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992");
    buf_puts(buf, "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:"
                  "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n");
}

/* Feeds in steps; what came out goes to out. ERR_INCOMPLETE_BODY when it never was done. */
static int decode(enum sigv4_payload payload, const char *seed, uint64_t decoded, struct span body,
                  size_t step, struct buf *out, struct chunked *ret_chunked) {
    struct sigv4_chain chain;
    if (seed != NULL)
        chain_make(seed, &chain);
    chunked_init(ret_chunked, payload, seed != NULL ? &chain : NULL, decoded);
    size_t at = 0;
    int code = 0;
    while (code == 0 && at < body.size && !ret_chunked->is_done) {
        struct span piece = {body.data + at, body.size - at < step ? body.size - at : step},
                    data = {0};
        size_t used = 0;
        code = chunked_feed(ret_chunked, piece, &used, &data, NULL);
        if (code != 0)
            break;
        assert_true(used > 0 && used <= piece.size);
        buf_append(out, data.data, data.size);
        at += used;
    }
    chunked_fini(ret_chunked);
    return code != 0 || ret_chunked->is_done ? code : ERR_INCOMPLETE_BODY;
}

static void test_documented_examples(void **state) {
    (void)state;
    static const size_t steps[] = {1, 7, 4096, 1 << 20};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        for (int trailer = 0; trailer < 2; trailer++) {
            _cleanup_(buf_finip) struct buf body = BUF_INIT, out = BUF_INIT;
            struct chunked chunked;
            (trailer ? example_body_with_trailer : example_body)(&body);
            assert_int_equal(
                decode(trailer ? SIGV4_PAYLOAD_STREAMING_TRAILER : SIGV4_PAYLOAD_STREAMING,
                       trailer ? SEED_TRAILER : SEED, PAYLOAD_BYTES, buf_span(&body), steps[i],
                       &out, &chunked),
                0);
            assert_int_equal(out.size, PAYLOAD_BYTES);
            assert_int_equal(chunked.trailer_kind, trailer ? CHECKSUM_CRC32C : CHECKSUM_NONE);
            if (trailer)
                assert_string_equal(chunked.trailer_checksum, "sOO8/Q==");
        }
    }
}

/* A change of any letter of the lines, or of the payload, is found. */
static void test_every_change_is_found(void **state) {
    (void)state;
    _cleanup_(buf_finip) struct buf body = BUF_INIT, out = BUF_INIT;
    example_body_with_trailer(&body);
    for (size_t at = 0; at < body.size;
         at += body.data[at] == 'a' && body.data[at + 1] == 'a' ? 977 : 1) {
        struct chunked chunked;
        char was = body.data[at];
        body.data[at] ^= 1;
        buf_clear(&out);
        int code = decode(SIGV4_PAYLOAD_STREAMING_TRAILER, SEED_TRAILER, PAYLOAD_BYTES,
                          buf_span(&body), 1 << 20, &out, &chunked);
        if (code == 0)
            fail_msg("byte %zu (%c) can be changed", at, was);
        body.data[at] = was;
    }
    for (size_t size = 0; size < body.size; size += size < 65000 ? 5000 : 13) {
        struct chunked chunked;
        buf_clear(&out);
        assert_int_equal(decode(SIGV4_PAYLOAD_STREAMING_TRAILER, SEED_TRAILER, PAYLOAD_BYTES,
                                (struct span){body.data, size}, 1 << 20, &out, &chunked),
                         ERR_INCOMPLETE_BODY);
    }
}

static void test_unsigned_rows(void **state) {
    (void)state;
    static const struct {
        const char *in;
        uint64_t decoded;
        int out;
    } rows[] = {
        {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", 5, 0},
        {"2\r\nhe\r\n3\r\nllo\r\n00\r\n\r\n", 5, 0},
        {"0\r\n\r\n", 0, 0},
        {"5\r\nhello\r\n0\r\nX-Amz-Checksum-Crc32: NhCmhg== \r\n\r\n", 5, 0},
        {"5\r\nhello\r\n0\r\n\r\n", 6, ERR_INCOMPLETE_BODY},
        {"5\r\nhello\r\n0\r\n\r\n", 4, ERR_INCOMPLETE_BODY},
        {"5\r\nhello\r\n0\r\n", 5, ERR_INCOMPLETE_BODY},
        {"5\r\nhellox\r\n0\r\n\r\n", 5, ERR_PROTOCOL},
        {"5\nhello\r\n0\r\n\r\n", 5, ERR_PROTOCOL},
        {"\r\n", 5, ERR_PROTOCOL},
        {"5x\r\nhello\r\n0\r\n\r\n", 5, ERR_PROTOCOL},
        {"0000000000005\r\nhello\r\n0\r\n\r\n", 5, ERR_PROTOCOL},
        {"5;chunk-signature=00\r\nhello\r\n0\r\n\r\n", 5, ERR_PROTOCOL},
        {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:zzz\r\n\r\n", 5, ERR_INVALID_DIGEST},
        {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\nx-amz-checksum-crc32:NhCmhg=="
         "\r\n\r\n",
         5, ERR_INVALID_DIGEST},
        {"5\r\nhello\r\n0\r\nx-amz-meta-a:b\r\n\r\n", 5, ERR_PROTOCOL},
        {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32\r\n\r\n", 5, ERR_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t step = 1; step < 50; step++) {
            _cleanup_(buf_finip) struct buf out = BUF_INIT;
            struct chunked chunked;
            assert_int_equal(decode(SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER, NULL, rows[i].decoded,
                                    span_of(rows[i].in), step, &out, &chunked),
                             rows[i].out);
            if (rows[i].out == 0)
                assert_int_equal(out.size, rows[i].decoded);
        }
    }
}

static void test_long_lines(void **state) {
    (void)state;
    _cleanup_(buf_finip) struct buf body = BUF_INIT, out = BUF_INIT;
    for (size_t i = 0; i < 2 * CHUNKED_LINE_BYTES_MAX; i++)
        buf_putc(&body, '0');
    for (size_t step = 1; step < 5000; step *= 3) {
        struct chunked chunked;
        assert_int_equal(decode(SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER, NULL, 5, buf_span(&body),
                                step, &out, &chunked),
                         ERR_PROTOCOL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_examples),
        cmocka_unit_test(test_every_change_is_found),
        cmocka_unit_test(test_unsigned_rows),
        cmocka_unit_test(test_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
