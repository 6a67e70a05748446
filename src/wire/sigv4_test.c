/* Signatures: the examples of the S3 documentation ("Authenticating Requests: AWS Signature Version
 * 4"), refusals in rows, and that what the client signs the server takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "base/cleanup.h"
#include "wire/sigv4.h"

#define NOW INT64_C(1369353600) /* 20130524T000000Z */
#define EMPTY "x-amz-content-sha256: " SIGV4_EMPTY_SHA256 "\r\n"
#define HOST "Host: examplebucket.s3.amazonaws.com\r\n"
#define DATE "x-amz-date: 20130524T000000Z\r\n"
#define CREDENTIAL "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
#define AUTH "Authorization: AWS4-HMAC-SHA256 " CREDENTIAL ","
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define PRESIGNED                                                                                  \
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&"                                                            \
    "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&"            \
    "X-Amz-Date=20130524T000000Z&X-Amz-SignedHeaders=host"

static const struct sigv4_credentials example = {
    SPAN_LITERAL("AKIAIOSFODNN7EXAMPLE"),
    SPAN_LITERAL("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    SPAN_LITERAL("us-east-1"),
    SPAN_LITERAL("s3"),
};

struct parsed {
    struct arena arena;
    struct http1_request request;
    struct uri uri;
    struct sigv4_auth auth;
};

static void parsed_finip(struct parsed *parsed) {
    arena_fini(&parsed->arena);
}

static int parse(const char *head, struct parsed *parsed) {
    size_t size = 0;
    arena_init(&parsed->arena, 65536);
    assert_int_equal(http1_parse(span_of(head), &parsed->request, &size, NULL), 0);
    assert_int_not_equal(size, 0);
    assert_int_equal(uri_parse(parsed->request.target, &parsed->arena, &parsed->uri, NULL), 0);
    return sigv4_parse(&parsed->request, &parsed->uri, &parsed->arena, &parsed->auth, NULL);
}

static int verify(const struct parsed *parsed) {
    uint8_t key[SHA256_SIZE];
    const struct sigv4_auth *auth = &parsed->auth;
    sigv4_signing_key(example.secret_key, auth->date, auth->region, auth->service, key);
    return sigv4_verify(auth, &parsed->request, &parsed->uri, key, NULL);
}

static void test_documented_examples(void **state) {
    (void)state;
    static const char *const rows[] = {
        "GET /test.txt HTTP/1.1\r\n" HOST AUTH
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n"
        "Range: bytes=0-9\r\n" EMPTY DATE "\r\n",
        "PUT /test%24file.text HTTP/1.1\r\n" HOST AUTH
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd\r\n"
        "Date: Fri, 24 May 2013 00:00:00 GMT\r\n" DATE "x-amz-storage-class: REDUCED_REDUNDANCY\r\n"
        "x-amz-content-sha256: "
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\r\n\r\n",
        "GET /?lifecycle HTTP/1.1\r\n" HOST AUTH
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543\r\n" EMPTY DATE
        "\r\n",
        "GET /?max-keys=2&prefix=J HTTP/1.1\r\n" HOST AUTH
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7\r\n" EMPTY DATE
        "\r\n",
        "GET /test.txt?" PRESIGNED "&X-Amz-Expires=86400&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        _cleanup_(parsed_finip) struct parsed parsed;
        assert_int_equal(parse(rows[i], &parsed), 0);
        assert_int_equal(sigv4_check_time(&parsed.auth, NOW + 600, NULL), 0);
        assert_int_equal(verify(&parsed), 0);
        parsed.uri.path = SPAN_LITERAL("/other");
        assert_int_equal(verify(&parsed), ERR_SIGNATURE_MISMATCH);
    }
}

#define GOOD AUTH "SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=" ZEROS "\r\n"

static void test_refusals_of_headers(void **state) {
    (void)state;
    static const struct {
        const char *in; /* headers after Host */
        int out;
    } rows[] = {
        {GOOD EMPTY DATE, 0},
        {GOOD "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n" DATE, 0},
        {GOOD DATE, ERR_PROTOCOL},
        {GOOD "x-amz-content-sha256: abc\r\n" DATE, ERR_INVALID},
        {GOOD EMPTY, ERR_ACCESS_DENIED},
        {GOOD EMPTY "Date: Fri, 24 May 2013 00:00:00 GMT\r\n", 0},
        {GOOD EMPTY "Date: yesterday\r\n", ERR_ACCESS_DENIED},
        {GOOD EMPTY "x-amz-date: 20130525T000000Z\r\n", ERR_AUTH_HEADER_MALFORMED},
        {GOOD EMPTY "x-amz-date: 2013\r\n", ERR_ACCESS_DENIED},
        {GOOD EMPTY DATE "X-Amz-Acl: private\r\n", ERR_ACCESS_DENIED},
        {EMPTY DATE, ERR_ACCESS_DENIED},
        {"Authorization: AWS AKIA:c2ln\r\n" EMPTY DATE, ERR_PROTOCOL},
        {"Authorization: Basic eA==\r\n" EMPTY DATE, ERR_AUTH_HEADER_MALFORMED},
        {"Authorization: AWS4-HMAC-SHA256\r\n" EMPTY DATE, ERR_AUTH_HEADER_MALFORMED},
        {"Authorization: AWS4-HMAC-SHA256 " CREDENTIAL "\r\n" EMPTY DATE,
         ERR_AUTH_HEADER_MALFORMED},
        {AUTH "SignedHeaders=host\r\n" EMPTY DATE, ERR_AUTH_HEADER_MALFORMED},
        {AUTH "SignedHeaders=host,Signature=00\r\n" EMPTY DATE, ERR_AUTH_HEADER_MALFORMED},
        {AUTH "SignedHeaders=x-amz-content-sha256;x-amz-date,Signature=" ZEROS "\r\n" EMPTY DATE,
         ERR_ACCESS_DENIED},
        {AUTH "SignedHeaders=x-amz-date;host,Signature=" ZEROS "\r\n" EMPTY DATE,
         ERR_AUTH_HEADER_MALFORMED},
        {AUTH "SignedHeaders=Host,Signature=" ZEROS "\r\n" EMPTY DATE, ERR_AUTH_HEADER_MALFORMED},
        {AUTH CREDENTIAL ",SignedHeaders=host,Signature=" ZEROS "\r\n" EMPTY DATE,
         ERR_AUTH_HEADER_MALFORMED},
        {AUTH "Colour=red,SignedHeaders=host,Signature=" ZEROS "\r\n" EMPTY DATE,
         ERR_AUTH_HEADER_MALFORMED},
        {"Authorization: AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/ec2/aws4_request,"
         "SignedHeaders=host,Signature=" ZEROS "\r\n" EMPTY DATE,
         ERR_AUTH_HEADER_MALFORMED},
        {"Authorization: AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1,SignedHeaders=host,"
         "Signature=" ZEROS "\r\n" EMPTY DATE,
         ERR_AUTH_HEADER_MALFORMED},
        {"Authorization: AWS4-HMAC-SHA256 Credential=A/2013/us-east-1/s3/aws4_request,"
         "SignedHeaders=host,Signature=" ZEROS "\r\n" EMPTY DATE,
         ERR_AUTH_HEADER_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        _cleanup_(parsed_finip) struct parsed parsed;
        _cleanup_(buf_finip) struct buf buf = BUF_INIT;
        buf_printf(&buf, "GET /a HTTP/1.1\r\nHost: h\r\n%s\r\n", rows[i].in);
        parsed.auth.payload_text = SPAN_LITERAL("untouched");
        int code = parse(buf.data, &parsed);
        if (code != rows[i].out)
            fail_msg("%s: %s", err_name(code), rows[i].in);
        if (code != 0)
            assert_true(span_is(parsed.auth.payload_text, "untouched"));
    }
}

static void test_refusals_of_queries(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int out;
    } rows[] = {
        {PRESIGNED "&X-Amz-Expires=604800&X-Amz-Signature=" ZEROS, 0},
        {PRESIGNED "&X-Amz-Expires=604801&X-Amz-Signature=" ZEROS, ERR_AUTH_QUERY_MALFORMED},
        {PRESIGNED "&X-Amz-Expires=0&X-Amz-Signature=" ZEROS, ERR_AUTH_QUERY_MALFORMED},
        {PRESIGNED "&X-Amz-Expires=-1&X-Amz-Signature=" ZEROS, ERR_AUTH_QUERY_MALFORMED},
        {PRESIGNED "&X-Amz-Expires=99999999999999999999&X-Amz-Signature=" ZEROS,
         ERR_AUTH_QUERY_MALFORMED},
        {PRESIGNED "&X-Amz-Signature=" ZEROS, ERR_AUTH_QUERY_MALFORMED},
        {PRESIGNED "&X-Amz-Expires=1", ERR_AUTH_QUERY_MALFORMED},
        {PRESIGNED "&X-Amz-Expires=1&X-Amz-Signature=xyz", ERR_AUTH_QUERY_MALFORMED},
        {"X-Amz-Algorithm=AWS4-HMAC-MD5&X-Amz-Credential=A/20130524/r/s3/aws4_request&X-Amz-Date="
         "20130524T000000Z&X-Amz-SignedHeaders=host&X-Amz-Expires=1&X-Amz-Signature=" ZEROS,
         ERR_AUTH_QUERY_MALFORMED},
        {"AWSAccessKeyId=A&Signature=b&Expires=1", ERR_PROTOCOL},
        {"prefix=a", ERR_ACCESS_DENIED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        _cleanup_(parsed_finip) struct parsed parsed;
        _cleanup_(buf_finip) struct buf buf = BUF_INIT;
        buf_printf(&buf, "GET /a?%s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].in);
        int code = parse(buf.data, &parsed);
        if (code != rows[i].out)
            fail_msg("%s: %s", err_name(code), rows[i].in);
        assert_int_equal(sigv4_is_anonymous(&parsed.request, &parsed.uri), i == 10);
    }
    _cleanup_(parsed_finip) struct parsed both;
    assert_int_equal(
        parse("GET /?X-Amz-Signature=" ZEROS " HTTP/1.1\r\n" HOST GOOD EMPTY DATE "\r\n", &both),
        ERR_INVALID);
}

static void test_the_clock(void **state) {
    (void)state;
    static const struct {
        int64_t expires_s; /* 0: not presigned */
        int64_t now_s;
        int out;
    } rows[] = {
        {0, 0, 0},
        {0, 900, 0},
        {0, -900, 0},
        {0, 901, ERR_TIME_SKEWED},
        {0, -901, ERR_TIME_SKEWED},
        {60, 0, 0},
        {60, 60, 0},
        {60, 61, ERR_EXPIRED},
        {60, -900, 0},
        {60, -901, ERR_TIME_SKEWED},
        {5000, 4000, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sigv4_auth auth = {
            .time_s = NOW, .expires_s = rows[i].expires_s, .is_presigned = rows[i].expires_s > 0};
        assert_int_equal(sigv4_check_time(&auth, NOW + rows[i].now_s, NULL), rows[i].out);
    }
}

/* What sigv4_sign makes, as a head. */
static void print_head(struct buf *buf, const struct sigv4_request *request,
                       const struct sigv4_signed *made) {
    buf_printf(buf, "%s %s HTTP/1.1\r\nHost: %.*s\r\n", request->method, made->target,
               SPAN_ARGS(request->host));
    if (made->authorization != NULL)
        buf_printf(buf, "Authorization: %s\r\nx-amz-date: %s\r\nx-amz-content-sha256: %s\r\n",
                   made->authorization, made->amz_date, made->content_sha256);
    for (size_t i = 0; i < request->header_count; i++)
        buf_printf(buf, "%.*s: %.*s\r\n", SPAN_ARGS(request->headers[i].name),
                   SPAN_ARGS(request->headers[i].value));
    buf_puts(buf, "\r\n");
}

static void test_signed_by_us(void **state) {
    (void)state;
    static const struct uri_param params[] = {{SPAN_LITERAL("uploadId"), SPAN_LITERAL("a b/c+d")},
                                              {SPAN_LITERAL("acl"), SPAN_LITERAL("")}};
    static const struct http1_header headers[] = {
        {SPAN_LITERAL("X-Amz-Meta-Note"), SPAN_LITERAL(" two  spaces ")},
        {SPAN_LITERAL("content-type"), SPAN_LITERAL("text/plain")}};
    const struct sigv4_request request = {.method = "PUT",
                                          .host = SPAN_LITERAL("127.0.0.1:9000"),
                                          .path = SPAN_LITERAL("/bucket/a key/\xc3\xa9 (1)"),
                                          .params = params,
                                          .param_count = 2,
                                          .headers = headers,
                                          .header_count = 2};
    for (int presigned = 0; presigned < 2; presigned++) {
        _cleanup_(arena_finip) struct arena arena;
        _cleanup_(buf_finip) struct buf buf = BUF_INIT;
        _cleanup_(parsed_finip) struct parsed parsed;
        struct sigv4_signed made;
        arena_init(&arena, 65536);
        int code = presigned ? sigv4_presign(&request, &example, NOW, 60, &arena, &made, NULL)
                             : sigv4_sign(&request, &example, NULL, NOW, &arena, &made, NULL);
        assert_int_equal(code, 0);
        print_head(&buf, &request, &made);
        assert_int_equal(parse(buf.data, &parsed), 0);
        assert_int_equal(parsed.auth.is_presigned, presigned);
        assert_int_equal(parsed.auth.payload, SIGV4_PAYLOAD_UNSIGNED);
        assert_true(span_is(parsed.uri.key, "a key/\xc3\xa9 (1)"));
        assert_int_equal(verify(&parsed), 0);
        arena_reset(&arena);
        arena.limit_bytes = 64;
        assert_int_equal(sigv4_sign(&request, &example, NULL, NOW, &arena, &made, NULL), ERR_LIMIT);
    }
}

/* A small request must cost less than 6 us; a loaded machine or a sanitizer takes longer, so it is
 * only told. */
static void test_cost(void **state) {
    (void)state;
    _cleanup_(parsed_finip) struct parsed parsed;
    uint8_t key[SHA256_SIZE] = {0};
    struct timespec from, to;
    assert_int_equal(
        parse("GET /?max-keys=2&prefix=J HTTP/1.1\r\n" HOST GOOD EMPTY DATE "\r\n", &parsed), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(sigv4_verify(&parsed.auth, &parsed.request, &parsed.uri, key, NULL),
                         ERR_SIGNATURE_MISMATCH);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    double us = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                2000 / 1e3;
    print_message("# verification: %.2f us\n", us);
    assert_true(us < 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_examples), cmocka_unit_test(test_refusals_of_headers),
        cmocka_unit_test(test_refusals_of_queries), cmocka_unit_test(test_the_clock),
        cmocka_unit_test(test_signed_by_us),        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
