/* The gateway over its wire: requests as bytes, replies as bytes, behind it a catalogue and a store
 * in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/digest.h"
#include "gateway/fakes_test.h"
#include "gateway/gateway.h"
#include "os/clock.h"
#include "os/net.h"
#include "wire/sigv4.h"

#define ACCESS_KEY "QUERNTEST"
#define SECRET_KEY "a secret for the test"

struct world {
    struct meta_client meta;
    struct store_client store;
    struct gateway *gateway;
    char address[NET_ADDRESS_SIZE];
    int fd; /* one kept connection */
};

struct reply {
    int status;
    struct buf head;
    struct buf body;
};

/* What a request has besides method and path; all may be left out. */
struct extra {
    const char *query; /* "a=b&c", encoded and sorted */
    const char *header, *value;
    const char *header2, *value2;
    struct span body;
    bool no_reply_body; /* HEAD, 304 */
    const char *secret;
    size_t cut; /* send only so much of the body, then close */
};

/* ---- a client ---- */

/* Long enough for 64 MiB under a sanitizer on a busy machine. */
static uint64_t soon(void) {
    return clock_deadline_ms(240000);
}

static void client_connect(struct world *world) {
    if (world->fd < 0)
        assert_int_equal(net_connect(world->address, soon(), &world->fd, NULL), 0);
}

static void client_close(struct world *world) {
    if (world->fd >= 0)
        close(world->fd);
    world->fd = -1;
}

static struct span find_header(const struct reply *reply, const char *name) {
    char line[64];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *found = reply->head.data != NULL ? strcasestr(reply->head.data, line) : NULL;
    if (found == NULL)
        return (struct span){0};
    found += strlen(line);
    return (struct span){found, strcspn(found, "\r")};
}

static void assert_header(const struct reply *reply, const char *name, const char *value) {
    struct span found = find_header(reply, name);
    if (!span_is(found, value))
        fail_msg("%s is \"%.*s\", not \"%s\"", name, SPAN_ARGS(found), value);
}

static void read_reply(struct world *world, struct reply *reply, bool no_body) {
    buf_clear(&reply->head);
    buf_clear(&reply->body);
    while (reply->head.size < 4 ||
           memcmp(reply->head.data + reply->head.size - 4, "\r\n\r\n", 4) != 0) {
        char byte;
        assert_int_equal(net_read_all(world->fd, &byte, 1, soon(), NULL), 0);
        buf_append(&reply->head, &byte, 1);
    }
    assert_int_equal(sscanf(reply->head.data, "HTTP/1.1 %d ", &reply->status), 1);
    size_t size = strtoul(find_header(reply, "Content-Length").data != NULL
                              ? find_header(reply, "Content-Length").data
                              : "0",
                          NULL, 10);
    if (reply->status != 100 && !no_body && size > 0) {
        assert_int_equal(
            net_read_all(world->fd, buf_reserve(&reply->body, size), size, soon(), NULL), 0);
        reply->body.size = size;
    }
    if (span_is(find_header(reply, "Connection"), "close"))
        client_close(world);
}

/* Parameters of the query out of its text, which needs no decoding in these tests. */
static size_t split_query(const char *query, struct uri_param *params) {
    size_t count = 0;
    while (query != NULL && *query != '\0') {
        size_t size = strcspn(query, "&"), name = strcspn(query, "=&");
        params[count++] = (struct uri_param){
            {query, name}, {query + name + (name < size), size - name - (name < size)}};
        query += size + (query[size] == '&');
    }
    return count;
}

static void print_request(struct world *world, const char *method, const char *path,
                          const struct extra *extra, struct buf *out) {
    struct arena arena;
    struct uri_param params[8];
    struct http1_header headers[2];
    struct sigv4_signed done;
    char hash[2 * SHA256_SIZE + 1];
    uint8_t bytes[SHA256_SIZE];
    arena_init(&arena, 1 << 20);
    digest_of(DIGEST_SHA256, extra->body, bytes);
    struct sigv4_request request = {
        .method = method, .host = span_of(world->address), .path = span_of(path)};
    request.params = params;
    request.param_count = split_query(extra->query, params);
    if (extra->header != NULL)
        headers[request.header_count++] =
            (struct http1_header){span_of(extra->header), span_of(extra->value)};
    if (extra->header2 != NULL)
        headers[request.header_count++] =
            (struct http1_header){span_of(extra->header2), span_of(extra->value2)};
    request.headers = headers;
    request.payload = hex_encode(bytes, sizeof bytes, hash);
    struct sigv4_credentials credentials = {
        span_of(ACCESS_KEY), span_of(extra->secret != NULL ? extra->secret : SECRET_KEY),
        span_of("us-east-1"), span_of("s3")};
    assert_int_equal(sigv4_sign(&request, &credentials, NULL, (int64_t)(clock_wall_ms() / 1000),
                                &arena, &done, NULL),
                     0);
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nx-amz-date: %s\r\n", method,
               done.target, world->address, done.authorization, done.amz_date);
    buf_printf(out, "x-amz-content-sha256: %s\r\n", done.content_sha256);
    for (size_t i = 0; i < request.header_count; i++)
        buf_printf(out, "%.*s: %.*s\r\n", SPAN_ARGS(headers[i].name), SPAN_ARGS(headers[i].value));
    if (extra->body.data != NULL)
        buf_printf(out, "Content-Length: %zu\r\n", extra->body.size);
    buf_puts(out, "\r\n");
    buf_append(out, extra->body.data, extra->cut > 0 ? extra->cut : extra->body.size);
    arena_fini(&arena);
}

static void perform(struct world *world, const char *method, const char *path,
                    const struct extra *extra, struct reply *reply) {
    struct buf out = {.limit = 128 << 20};
    client_connect(world);
    print_request(world, method, path, extra, &out);
    assert_int_equal(net_write(world->fd, out.data, out.size, soon(), NULL), 0);
    buf_fini(&out);
    if (extra->cut > 0)
        shutdown(world->fd, SHUT_WR);
    read_reply(world, reply, extra->no_reply_body || strcmp(method, "HEAD") == 0);
}

#define EXPECT(status_, method, path, ...)                                                         \
    do {                                                                                           \
        perform(world, method, path, &(struct extra){__VA_ARGS__}, &reply);                        \
        if (reply.status != (status_))                                                             \
            fail_msg("%s %s: %d, not %d: %s", method, path, reply.status, status_,                 \
                     reply.body.data);                                                             \
    } while (0)

static void assert_body(const struct reply *reply, const char *part) {
    if (reply->body.data == NULL || strstr(reply->body.data, part) == NULL)
        fail_msg("no \"%s\" in \"%s\"", part, reply->body.data != NULL ? reply->body.data : "");
}

static struct span text_body(const char *text) {
    return span_of(text);
}

/* ---- the world ---- */

static int world_start(void **state) {
    struct world *world = calloc(1, sizeof *world);
    int fd = -1;
    struct err err;
    fake_meta_init(&world->meta);
    pthread_mutex_init(&world->store.lock, NULL);
    assert_int_equal(net_listen("127.0.0.1:0", &fd, world->address, &err), 0);
    struct gateway_options options = {.listen_fd = fd,
                                      .access_key = ACCESS_KEY,
                                      .secret_key = SECRET_KEY,
                                      .self = 1,
                                      .meta = &world->meta,
                                      .store_client = &world->store};
    assert_int_equal(gateway_start(&options, &world->gateway, &err), 0);
    world->fd = -1;
    *state = world;
    return 0;
}

static int world_stop(void **state) {
    struct world *world = *state;
    client_close(world);
    gateway_stop(world->gateway);
    assert_int_equal(world->store.writes_open, 0);
    fake_meta_fini(&world->meta);
    fake_store_fini(&world->store);
    free(world);
    return 0;
}

#define BEGIN                                                                                      \
    struct world *world = *state;                                                                  \
    struct reply reply = {0}
#define END                                                                                        \
    buf_fini(&reply.head);                                                                         \
    buf_fini(&reply.body)

static char *big_lines(size_t size) {
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = i % 64 == 63 ? '\n' : (char)('a' + i / 64 % 26);
    return data;
}

/* ---- tests ---- */

static void test_buckets(void **state) {
    BEGIN;
    EXPECT(404, "HEAD", "/bucket");
    EXPECT(404, "GET", "/bucket");
    assert_body(&reply, "<Code>NoSuchBucket</Code>");
    EXPECT(200, "PUT", "/bucket");
    EXPECT(409, "PUT", "/bucket");
    assert_body(&reply, "BucketAlreadyOwnedByYou");
    EXPECT(200, "HEAD", "/bucket");
    EXPECT(200, "GET", "/");
    assert_body(&reply, "<Name>bucket</Name>");
    EXPECT(400, "PUT", "/Bad_Name");
    assert_body(&reply, "InvalidBucketName");
    EXPECT(200, "PUT", "/bucket/key", .body = text_body("data"));
    EXPECT(409, "DELETE", "/bucket");
    assert_body(&reply, "BucketNotEmpty");
    EXPECT(200, "PUT", "/bucket/key2", .body = text_body("data")); /* the gates are open again */
    EXPECT(204, "DELETE", "/bucket/key");
    EXPECT(204, "DELETE", "/bucket/key2");
    EXPECT(204, "DELETE", "/bucket");
    EXPECT(404, "DELETE", "/bucket");
    EXPECT(404, "PUT", "/bucket/key", .body = text_body("data"));
    assert_body(&reply, "NoSuchBucket");
    char *data = big_lines(2 << 20);
    EXPECT(404, "PUT", "/bucket/key", .body = {data, 2 << 20});
    free(data);
    END;
}

/* A gateway died after it had shut some gates. */
static void test_delete_cut_off(void **state) {
    BEGIN;
    EXPECT(200, "PUT", "/bucket");
    struct arena arena;
    arena_init(&arena, 1 << 20);
    Pb__Command command = PB__COMMAND__INIT;
    Pb__BeginDeleteBucket begin = PB__BEGIN_DELETE_BUCKET__INIT;
    Pb__SetGate gate = PB__SET_GATE__INIT;
    Pb__Reply *result;
    begin.name = gate.bucket = (char[]){"bucket"};
    command.op_case = PB__COMMAND__OP_BEGIN_DELETE_BUCKET;
    command.begin_delete_bucket = &begin;
    assert_int_equal(meta_submit(&world->meta, 0, &command, 0, &arena, &result, NULL), 0);
    gate.epoch = result->bucket->epoch;
    gate.only_if_empty = true;
    command.op_case = PB__COMMAND__OP_SET_GATE;
    command.set_gate = &gate;
    for (uint32_t shard = 1; shard <= FAKE_SHARDS; shard++) {
        assert_int_equal(meta_submit(&world->meta, shard, &command, 0, &arena, &result, NULL), 0);
    }
    arena_fini(&arena);
    EXPECT(200, "PUT", "/bucket/key", .body = text_body("data"));
    EXPECT(200, "GET", "/bucket/key");
    EXPECT(200, "PUT", "/bucket/another", .body = text_body("data"));
    EXPECT(200, "GET", "/bucket");
    assert_body(&reply, "<Key>another</Key>");
    END;
}

static void test_objects(void **state) {
    BEGIN;
    EXPECT(200, "PUT", "/bucket");
    EXPECT(200, "PUT", "/bucket/some%key", .body = text_body("hello"), .header = "Content-Type",
           .value = "text/plain", .header2 = "X-Amz-Meta-Colour", .value2 = "blue");
    assert_header(&reply, "ETag", "\"5d41402abc4b2a76b9719d911017c592\"");
    EXPECT(200, "GET", "/bucket/some%key", .header = "x-amz-checksum-mode", .value = "ENABLED");
    assert_string_equal(reply.body.data, "hello");
    assert_header(&reply, "Content-Type", "text/plain");
    assert_header(&reply, "x-amz-meta-colour", "blue");
    assert_header(&reply, "x-amz-checksum-crc32c", "mnG7TA==");
    assert_header(&reply, "Content-Length", "5");
    EXPECT(200, "HEAD", "/bucket/some%key");
    assert_header(&reply, "Content-Length", "5");
    EXPECT(206, "GET", "/bucket/some%key", .header = "Range", .value = "bytes=1-3");
    assert_string_equal(reply.body.data, "ell");
    assert_header(&reply, "Content-Range", "bytes 1-3/5");
    EXPECT(416, "GET", "/bucket/some%key", .header = "Range", .value = "bytes=5-");
    assert_body(&reply, "InvalidRange");
    EXPECT(304, "GET", "/bucket/some%key", .header = "If-None-Match", .no_reply_body = true,
           .value = "\"5d41402abc4b2a76b9719d911017c592\"");
    EXPECT(412, "GET", "/bucket/some%key", .header = "If-Match", .value = "\"x\"");
    EXPECT(412, "PUT", "/bucket/some%key", .body = text_body("x"), .header = "If-None-Match",
           .value = "*");
    EXPECT(200, "GET", "/bucket/some%key", .query = "response-content-type=a%2Fb");
    assert_header(&reply, "Content-Type", "a%2Fb"); /* the test's client encodes once more */
    EXPECT(404, "GET", "/bucket/none");
    assert_body(&reply, "<Code>NoSuchKey</Code>");
    EXPECT(200, "PUT", "/bucket/empty", .body = (struct span){"", 0});
    EXPECT(200, "GET", "/bucket/empty");
    assert_header(&reply, "Content-Length", "0");
    EXPECT(204, "DELETE", "/bucket/none");
    EXPECT(200, "PUT", "/bucket/copy", .header = "x-amz-copy-source",
           .value = "/bucket/some%25key");
    assert_body(&reply, "5d41402abc4b2a76b9719d911017c592");
    EXPECT(200, "GET", "/bucket/copy");
    assert_header(&reply, "x-amz-meta-colour", "blue");
    END;
}

static void test_big_object(void **state) {
    BEGIN;
    size_t size = 3u << 20;
    char *data = big_lines(size), etag[40];
    uint8_t md5[MD5_SIZE];
    digest_of(DIGEST_MD5, (struct span){data, size}, md5);
    etag[0] = '"';
    strcat(hex_encode(md5, sizeof md5, etag + 1), "\"");
    EXPECT(200, "PUT", "/bucket");
    EXPECT(200, "PUT", "/bucket/big", .body = {data, size});
    assert_header(&reply, "ETag", etag);
    EXPECT(200, "GET", "/bucket/big");
    assert_int_equal(reply.body.size, size);
    assert_memory_equal(reply.body.data, data, size);
    EXPECT(206, "GET", "/bucket/big", .header = "Range", .value = "bytes=-100001");
    assert_int_equal(reply.body.size, 100001);
    assert_memory_equal(reply.body.data, data + size - 100001, 100001);
    EXPECT(200, "PUT", "/bucket/copy", .header = "x-amz-copy-source", .value = "bucket/big");
    assert_int_equal(world->store.count, 2);
    EXPECT(200, "GET", "/bucket/copy");
    assert_memory_equal(reply.body.data, data, size);
    free(data);
    END;
}

/* 64 MiB and a bit: the cut goes to the last newline, and the parts make the whole. */
static void test_cut_at_line(void **state) {
    BEGIN;
    size_t size = CHUNK_BYTES_MAX + 1000;
    char *data = big_lines(size);
    data[CHUNK_BYTES_MAX - 1] = 'x'; /* so that the line before is the last whole one */
    EXPECT(200, "PUT", "/bucket");
    EXPECT(200, "PUT", "/bucket/big", .body = {data, size});
    assert_int_equal(world->store.count, 2);
    assert_int_equal(world->store.chunks[0].size, CHUNK_BYTES_MAX - 64);
    EXPECT(206, "GET", "/bucket/big", .header = "Range", .value = "bytes=67108000-");
    assert_memory_equal(reply.body.data, data + 67108000, size - 67108000);
    size = CHUNK_BYTES_MAX; /* exactly: one chunk, wherever its last line ends */
    EXPECT(200, "PUT", "/bucket/big2", .body = {data, size});
    assert_int_equal(world->store.count, 3);
    free(data);
    END;
}

static void test_bad_bodies(void **state) {
    BEGIN;
    char *data = big_lines(2 << 20);
    EXPECT(200, "PUT", "/bucket");
    EXPECT(400, "PUT", "/bucket/big", .body = {data, 2 << 20}, .cut = 1 << 20);
    assert_body(&reply, "IncompleteBody");
    client_close(world);
    EXPECT(404, "GET", "/bucket/big");
    EXPECT(400, "PUT", "/bucket/big", .body = {data, 2 << 20}, .header = "Content-MD5",
           .value = "AAAAAAAAAAAAAAAAAAAAAA==");
    assert_body(&reply, "BadDigest");
    EXPECT(400, "PUT", "/bucket/big", .body = {data, 100}, .header = "Content-MD5", .value = "no");
    assert_body(&reply, "InvalidDigest");
    EXPECT(400, "PUT", "/bucket/big", .body = {data, 100}, .header = "x-amz-checksum-crc32c",
           .value = "AAAAAA==");
    assert_body(&reply, "BadDigest");
    EXPECT(411, "PUT", "/bucket/big");
    data[2100] = '\0';
    for (size_t i = 0; i < 2100; i++)
        data[i] = 'm';
    EXPECT(400, "PUT", "/bucket/big", .body = {data, 100}, .header = "x-amz-meta-long",
           .value = data);
    assert_body(&reply, "MetadataTooLarge");
    EXPECT(404, "GET", "/bucket/big");
    assert_int_equal(world->store.count, 0);
    free(data);
    END;
}

static void test_refusals(void **state) {
    BEGIN;
    EXPECT(200, "PUT", "/bucket");
    EXPECT(403, "GET", "/bucket", .secret = "wrong");
    assert_body(&reply, "SignatureDoesNotMatch");
    EXPECT(501, "GET", "/bucket", .query = "torrent=");
    EXPECT(501, "PUT", "/bucket", .query = "policy=", .body = text_body("{}"));
    EXPECT(404, "GET", "/bucket", .query = "policy=");
    assert_body(&reply, "NoSuchBucketPolicy");
    EXPECT(200, "GET", "/bucket", .query = "location=");
    assert_body(&reply, "LocationConstraint");
    EXPECT(405, "POST", "/bucket/key", .body = text_body("x"));
    EXPECT(404, "GET", "/-/nothing");
    assert_body(&reply, "\"code\":\"NoSuchKey\"");
    char key[1100];
    memset(key, 'k', sizeof key);
    memcpy(key, "/bucket/", 8);
    key[8 + 1025] = '\0';
    EXPECT(400, "PUT", key, .body = text_body("x"));
    assert_body(&reply, "KeyTooLongError");
    key[8 + 1024] = '\0';
    EXPECT(200, "PUT", key, .body = text_body("x"));
    EXPECT(400, "PUT", "/bucket/\xff\xfe", .body = text_body("x"));
    END;
}

static void send_raw(struct world *world, const char *bytes) {
    client_connect(world);
    assert_int_equal(net_write(world->fd, bytes, strlen(bytes), soon(), NULL), 0);
}

static void test_connections(void **state) {
    BEGIN;
    send_raw(
        world,
        "GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 200);
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 200);
    assert_true(world->fd >= 0);
    clock_sleep_until(clock_deadline_ms(120)); /* past the linger: it is parked, and comes back */
    send_raw(world, "GET /-/readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    read_reply(world, &reply, false);
    assert_true(world->fd < 0);
    send_raw(world, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 403); /* anonymous */
    send_raw(world, "BREW / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_reply(world, &reply, false);
    assert_in_range(reply.status, 400, 499);
    assert_true(world->fd < 0);
    struct buf large = BUF_INIT;
    buf_puts(&large, "GET / HTTP/1.1\r\nHost: x\r\nX-Large: ");
    for (int i = 0; i < 20000; i++)
        buf_putc(&large, 'x');
    send_raw(world, large.data);
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 431);
    buf_fini(&large);
    END;
}

/* Half heads of many clients hold no threads, and each is taken up where it was left. */
static void test_slow_clients(void **state) {
    BEGIN;
    int fds[300];
    for (int i = 0; i < 300; i++) {
        fds[i] = -1;
        assert_int_equal(net_connect(world->address, soon(), &fds[i], NULL), 0);
        assert_int_equal(net_write(fds[i], "GET /-/healthz HT", 17, soon(), NULL), 0);
    }
    EXPECT(200, "GET", "/");
    client_close(world);
    world->fd = fds[299];
    clock_sleep_until(clock_deadline_ms(200));
    send_raw(world, "TP/1.1\r\nHost: x\r\n\r\n");
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 200);
    for (int i = 0; i < 299; i++)
        close(fds[i]);
    END;
}

static void test_expect_continue(void **state) {
    BEGIN;
    struct buf out = BUF_INIT;
    EXPECT(200, "PUT", "/bucket");
    print_request(
        world, "PUT", "/bucket/key",
        &(struct extra){.body = text_body("hello"), .header = "Expect", .value = "100-continue"},
        &out);
    assert_int_equal(net_write(world->fd, out.data, out.size - 5, soon(), NULL), 0);
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 100);
    send_raw(world, "hello");
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 200);
    buf_clear(&out);
    print_request(world, "PUT", "/nobucket/key",
                  &(struct extra){.body = text_body("hello"),
                                  .header = "Expect",
                                  .value = "100-continue",
                                  .secret = "wrong"},
                  &out);
    assert_int_equal(net_write(world->fd, out.data, out.size - 5, soon(), NULL), 0);
    read_reply(world, &reply, false);
    assert_int_equal(reply.status, 403);
    assert_true(world->fd < 0);
    buf_fini(&out);
    END;
}

static void test_listing(void **state) {
    BEGIN;
    EXPECT(200, "PUT", "/bucket");
    static const char *const keys[] = {"a", "b/1", "b/2", "b/3/x", "c", "d/1", "e e"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char path[64];
        snprintf(path, sizeof path, "/bucket/%s", keys[i]);
        EXPECT(200, "PUT", path, .body = text_body("x"));
    }
    EXPECT(200, "GET", "/bucket", .query = "delimiter=/&list-type=2");
    assert_body(&reply, "<KeyCount>5</KeyCount>");
    assert_body(
        &reply,
        "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>d/</Prefix>");
    EXPECT(200, "GET", "/bucket", .query = "encoding-type=url&list-type=2&prefix=e");
    assert_body(&reply, "<Key>e%20e</Key>");
    EXPECT(200, "GET", "/bucket", .query = "list-type=2&prefix=b/&start-after=b/1");
    assert_body(&reply, "<KeyCount>2</KeyCount>");

    /* Page by page, one at a time, both versions. */
    char token[256] = "", query[400];
    int count = 0;
    for (bool more = true; more; count++) {
        snprintf(query, sizeof query, "%s%s%sdelimiter=/&list-type=2&max-keys=1",
                 token[0] != '\0' ? "continuation-token=" : "", token, token[0] != '\0' ? "&" : "");
        EXPECT(200, "GET", "/bucket", .query = query);
        const char *next = strstr(reply.body.data, "<NextContinuationToken>");
        more = next != NULL;
        if (more)
            snprintf(token, sizeof token, "%.*s", (int)strcspn(next + 23, "<"), next + 23);
    }
    assert_int_equal(count, 5);
    token[0] = '\0';
    count = 0;
    for (bool more = true; more; count++) {
        snprintf(query, sizeof query, "delimiter=/&marker=%s&max-keys=1", token);
        EXPECT(200, "GET", "/bucket", .query = query);
        const char *next = strstr(reply.body.data, "<NextMarker>");
        more = next != NULL;
        if (more)
            snprintf(token, sizeof token, "%.*s", (int)strcspn(next + 12, "<"), next + 12);
    }
    assert_int_equal(count, 5);
    EXPECT(200, "GET", "/bucket", .query = "max-keys=0");
    assert_body(&reply, "<IsTruncated>false</IsTruncated>");
    EXPECT(400, "GET", "/bucket", .query = "max-keys=x");

    EXPECT(200, "POST", "/bucket", .query = "delete=",
           .body = text_body(
               "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object></Delete>"));
    assert_body(&reply, "<Deleted><Key>a</Key></Deleted><Deleted><Key>none</Key></Deleted>");
    EXPECT(404, "GET", "/bucket/a");
    EXPECT(400, "POST", "/bucket", .query = "delete=", .body = text_body("<Delete><Obj"));
    assert_body(&reply, "MalformedXML");
    END;
}

static void test_multipart(void **state) {
    BEGIN;
    size_t size = 5u << 20;
    char *data = big_lines(size), id[40], query[128], etag[2][64], complete[512];
    EXPECT(200, "PUT", "/bucket");
    EXPECT(200, "POST", "/bucket/key", .query = "uploads=", .header = "Content-Type",
           .value = "text/x");
    snprintf(id, sizeof id, "%.32s", strstr(reply.body.data, "<UploadId>") + 10);
    for (int part = 1; part <= 2; part++) {
        snprintf(query, sizeof query, "partNumber=%d&uploadId=%s", part, id);
        EXPECT(200, "PUT", "/bucket/key", .query = query, .body = {data, part == 1 ? size : 10});
        snprintf(etag[part - 1], sizeof *etag, "%.*s", SPAN_ARGS(find_header(&reply, "ETag")));
    }
    snprintf(query, sizeof query, "uploadId=%s", id);
    EXPECT(200, "GET", "/bucket/key", .query = query);
    assert_body(&reply, "<PartNumber>2</PartNumber>");
    EXPECT(200, "GET", "/bucket", .query = "uploads=");
    assert_body(&reply, id);
    EXPECT(409, "DELETE", "/bucket");
    snprintf(complete, sizeof complete,
             "<CompleteMultipartUpload><Part><PartNumber>2</PartNumber><ETag>%s</ETag></Part>"
             "<Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>",
             etag[1], etag[0]);
    EXPECT(400, "POST", "/bucket/key", .query = query, .body = text_body(complete));
    assert_body(&reply, "InvalidPartOrder");
    snprintf(complete, sizeof complete,
             "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part>"
             "<Part><PartNumber>2</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>",
             etag[0], etag[1]);
    EXPECT(200, "POST", "/bucket/key", .query = query, .body = text_body(complete));
    assert_body(&reply, "-2&quot;</ETag>");
    EXPECT(200, "GET", "/bucket/key");
    assert_int_equal(reply.body.size, size + 10);
    assert_memory_equal(reply.body.data, data, size);
    assert_memory_equal(reply.body.data + size, data, 10);
    assert_header(&reply, "Content-Type", "text/x");
    EXPECT(404, "DELETE", "/bucket/key", .query = query);
    assert_body(&reply, "NoSuchUpload");
    EXPECT(404, "PUT", "/bucket/key", .query = "partNumber=1&uploadId=x", .body = text_body("x"));
    free(data);
    END;
}

/* A chunk that goes bad half way: the client must see a connection that ends, never a whole reply.
 */
static void test_bad_chunk(void **state) {
    BEGIN;
    char *data = big_lines(1 << 20), sink[65536];
    EXPECT(200, "PUT", "/bucket");
    EXPECT(200, "PUT", "/bucket/big", .body = {data, 1 << 20});
    world->store.corrupt = true;
    struct buf out = BUF_INIT;
    print_request(world, "GET", "/bucket/big", &(struct extra){0}, &out);
    assert_int_equal(net_write(world->fd, out.data, out.size, soon(), NULL), 0);
    size_t total = 0, got = 1;
    while (got > 0 && net_read(world->fd, sink, sizeof sink, soon(), &got, NULL) == 0)
        total += got;
    assert_in_range(total, 1, (1 << 20) - 1);
    client_close(world);
    buf_fini(&out);
    free(data);
    END;
}

static void test_api(void **state) {
    BEGIN;
    EXPECT(200, "PUT", "/bucket");
    EXPECT(200, "PUT", "/bucket/key", .body = text_body("x"));
    EXPECT(200, "GET", "/-/api/v1/status");
    assert_body(&reply, "\"name\": \"node1\"");
    EXPECT(200, "GET", "/-/api/v1/ring", .query = "bucket=bucket&key=key");
    assert_body(&reply, "\"inline\": true");
    EXPECT(403, "GET", "/-/api/v1/status", .secret = "wrong");
    END;
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        TEST(test_buckets),      TEST(test_delete_cut_off),
        TEST(test_objects),      TEST(test_big_object),
        TEST(test_cut_at_line),  TEST(test_bad_bodies),
        TEST(test_refusals),     TEST(test_connections),
        TEST(test_slow_clients), TEST(test_expect_continue),
        TEST(test_listing),      TEST(test_multipart),
        TEST(test_bad_chunk),    TEST(test_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
