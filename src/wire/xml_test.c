/* XML bodies in rows: what they mean or that they are refused; what is written can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "wire/utf8.h"
#include "wire/xml.h"

#define ARENA_BYTES (8u << 20)

static void test_complete(void **state) {
    (void)state;
    static const char body[] =
        "<?xml version=\"1.0\"?>\n<CompleteMultipartUpload xmlns=\"" XML_NAMESPACE "\">\n"
        " <Part><ETag>&quot;abc&quot;</ETag><PartNumber> 1 "
        "</PartNumber><Other><Deep/></Other></Part>\n"
        " <Part><PartNumber>10000</PartNumber><ETag>def</ETag>"
        "<ChecksumCRC32C>4waSgw==</ChecksumCRC32C></Part>\n</CompleteMultipartUpload>";
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct xml_complete complete;
    assert_int_equal(xml_read_complete(span_of(body), &arena, &complete, NULL), 0);
    assert_int_equal(complete.part_count, 2);
    assert_int_equal(complete.parts[0].number, 1);
    assert_true(span_is(complete.parts[0].etag, "abc"));
    assert_int_equal(complete.parts[0].checksum_kind, CHECKSUM_NONE);
    assert_int_equal(complete.parts[1].number, 10000);
    assert_true(span_is(complete.parts[1].etag, "def"));
    assert_int_equal(complete.parts[1].checksum_kind, CHECKSUM_CRC32C);
    assert_true(span_is(complete.parts[1].checksum, "4waSgw=="));
}

#define COMPLETE(inside) "<CompleteMultipartUpload>" inside "</CompleteMultipartUpload>"

static void test_complete_refusals(void **state) {
    (void)state;
    static const char *const rows[] = {
        "",
        "<",
        "<CompleteMultipartUpload>",
        COMPLETE(""),
        "<Delete/>",
        COMPLETE("<Part/>"),
        COMPLETE("<Part><PartNumber>1</PartNumber></Part>"),
        COMPLETE("<Part><ETag>a</ETag></Part>"),
        COMPLETE("<Part><PartNumber>0</PartNumber><ETag>a</ETag></Part>"),
        COMPLETE("<Part><PartNumber>10001</PartNumber><ETag>a</ETag></Part>"),
        COMPLETE("<Part><PartNumber>99999999999999</PartNumber><ETag>a</ETag></Part>"),
        COMPLETE("<Part><PartNumber>-1</PartNumber><ETag>a</ETag></Part>"),
        COMPLETE("<Part><PartNumber>1</PartNumber><ETag>a<b/></ETag></Part>"),
        COMPLETE("<Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumCRC32>x</ChecksumCRC32></"
                 "Part>"),
        COMPLETE("<Part><PartNumber>1</PartNumber><ETag>&a;</ETag></Part>"),
        "<!DOCTYPE a [<!ENTITY b \"c\">]>" COMPLETE(
            "<Part><PartNumber>1</PartNumber><ETag>&b;</ETag></Part>"),
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\">" COMPLETE(
            "<Part><PartNumber>1</PartNumber><ETag>b</ETag></Part>"),
        COMPLETE("<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></"
                 "a></a></a></a></a>"
                 "</a></a></a></a><Part><PartNumber>1</PartNumber><ETag>b</ETag></Part>"),
        COMPLETE("<Part><PartNumber>1</PartNumber><ETag>\xff</ETag></Part>"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct xml_complete complete = {.part_count = 77};
        assert_int_equal(xml_read_complete(span_of(rows[i]), &arena, &complete, NULL),
                         ERR_MALFORMED_XML);
        assert_int_equal(complete.part_count, 77);
    }
}

static void test_delete_and_location(void **state) {
    (void)state;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct xml_delete delete;
    assert_int_equal(
        xml_read_delete(
            SPAN_LITERAL("<Delete><Quiet>true</Quiet><Object><Key> a&lt;b</Key></Object>"
                         "<Object><Key>c</Key><VersionId>null</VersionId></Object></Delete>"),
            &arena, &delete, NULL),
        0);
    assert_true(delete.is_quiet && delete.object_count == 2);
    assert_true(span_is(delete.objects[0].key, " a<b"));
    assert_true(span_is(delete.objects[1].version_id, "null"));
    assert_int_equal(xml_read_delete(SPAN_LITERAL("<Delete><Object><Key/></Object></Delete>"),
                                     &arena, &delete, NULL),
                     ERR_MALFORMED_XML);
    struct span location;
    assert_int_equal(xml_read_create_bucket(SPAN_LITERAL(" \n"), &arena, &location, NULL), 0);
    assert_int_equal(location.size, 0);
    assert_int_equal(
        xml_read_create_bucket(
            SPAN_LITERAL("<s3:CreateBucketConfiguration xmlns:s3=\"" XML_NAMESPACE "\">"
                         "<s3:LocationConstraint>eu-west-1</s3:LocationConstraint>"
                         "</s3:CreateBucketConfiguration>"),
            &arena, &location, NULL),
        0);
    assert_true(span_is(location, "eu-west-1"));
}

/* A Delete of so many keys, written by our own writer. */
static int delete_many(unsigned count, struct arena *arena, struct xml_delete *ret_delete) {
    _cleanup_(buf_finip) struct buf buf = BUF_INIT;
    xml_begin(&buf);
    xml_open_root(&buf, "Delete");
    for (unsigned i = 0; i < count; i++) {
        xml_open(&buf, "Object");
        xml_number(&buf, "Key", i);
        xml_close(&buf, "Object");
    }
    xml_bool(&buf, "Quiet", false);
    xml_close(&buf, "Delete");
    return xml_read_delete(buf_span(&buf), arena, ret_delete, NULL);
}

static void test_limits(void **state) {
    (void)state;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct xml_delete delete;
    assert_int_equal(delete_many(XML_DELETE_MAX, &arena, &delete), 0);
    assert_int_equal(delete.object_count, XML_DELETE_MAX);
    assert_true(span_is(delete.objects[999].key, "999"));
    assert_int_equal(delete_many(XML_DELETE_MAX + 1, &arena, &delete), ERR_MALFORMED_XML);
    arena_reset(&arena);
    arena.limit_bytes = 64;
    assert_int_equal(delete_many(1, &arena, &delete), ERR_LIMIT);
}

static void test_escapes(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"plain", "plain"},
        {"a&b<c>\"'", "a&amp;b&lt;c&gt;&quot;'"},
        {"\t\r\n", "&#9;&#13;&#10;"},
        {"\x01x\xff", "\xef\xbf\xbdx\xef\xbf\xbd"},
        {"\xc3\xa9\xf0\x9f\x98\x80", "\xc3\xa9\xf0\x9f\x98\x80"},
        {"\xef\xbf\xbf", "\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        _cleanup_(buf_finip) struct buf buf = BUF_INIT;
        xml_escape(&buf, span_of(rows[i][0]));
        assert_string_equal(buf.data, rows[i][1]);
    }
}

/* Any bytes come out as XML that parses; text that XML can carry comes back the same. */
static void test_round_trips(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 1998);
    for (int round = 0; round < 2000; round++) {
        _cleanup_(arena_finip) struct arena arena;
        _cleanup_(buf_finip) struct buf buf = BUF_INIT;
        arena_init(&arena, ARENA_BYTES);
        char text[32];
        struct span in = {text, 1 + rng_below(&rng, sizeof text - 1)};
        bool is_plain = round & 1, has_control = false;
        for (size_t i = 0; i < in.size; i++) {
            text[i] = (char)(is_plain ? 1 + rng_below(&rng, 127) : rng_below(&rng, 256));
            has_control |= (unsigned char)text[i] < 0x20 && strchr("\t\r\n", text[i]) == NULL;
        }
        xml_open(&buf, "Delete");
        xml_open(&buf, "Object");
        xml_text(&buf, "Key", in);
        xml_close(&buf, "Object");
        xml_close(&buf, "Delete");
        struct xml_delete delete;
        assert_int_equal(xml_read_delete(buf_span(&buf), &arena, &delete, NULL), 0);
        assert_true(utf8_is_valid(delete.objects[0].key));
        if (is_plain && !has_control)
            assert_true(span_equal(delete.objects[0].key, in));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_complete_refusals),
        cmocka_unit_test(test_delete_and_location),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
