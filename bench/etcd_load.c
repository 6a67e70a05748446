/* Clients of etcd: one thread, one epoll, gRPC over HTTP/2 (libnghttp2) with messages made by hand,
 * so that etcd and not its client is measured. Each client has one request under way and sends the
 * next when it is answered. The clients of a member share one connection, as etcd's own do; with
 * more of them etcd answers less. Prints a JSON object as `quern bench` does.
 * Usage: bench_etcd_load put|get ADDRESS,... CLIENTS KEYS BYTES DURATION */
#include <errno.h>
#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/rng.h"
#include "cli/load.h"
#include "cli/options.h"
#include "os/clock.h"
#include "os/net.h"

#define CLIENTS_MAX 1024u
#define ADDRESSES_MAX 16u
#define VALUE_BYTES_MAX 16384u
#define RECEIVE_BYTES 65536u
#define EVENTS_MAX 128
#define STALL_MS 60000
#define GRPC_HEAD 5u /* u8 compressed, u32 size, big-endian */

struct connection {
    int fd;
    nghttp2_session *session;
    struct buf sending;
};

struct client {
    struct connection *connection;
    uint64_t begun_ns;
    struct buf request;
    size_t sent;        /* of it */
    uint64_t got_bytes; /* of the reply's messages */
    bool is_accepted;   /* grpc-status is 0 */
};

static struct {
    bool is_put;
    uint64_t client_count, key_count, value_bytes, duration_ms;
    char addresses[ADDRESSES_MAX][NET_ADDRESS_SIZE];
    size_t address_count;
    char value[VALUE_BYTES_MAX];
    uint64_t deadline_ns; /* no request begins later */
    uint64_t begun;       /* requests */
    uint64_t busy;        /* clients */
    struct load_result result;
    struct client clients[CLIENTS_MAX];
    struct connection connections[ADDRESSES_MAX];
} load;

/* ---- messages: etcdserverpb.PutRequest {1: key, 2: value}, RangeRequest {1: key} ---- */

static void put_varint(struct buf *buf, uint64_t value) {
    for (; value >= 128; value >>= 7)
        buf_putc(buf, (char)(value | 128));
    buf_putc(buf, (char)value);
}

static void put_bytes(struct buf *message, unsigned field, struct span bytes) {
    put_varint(message, field << 3 | 2 /* length-delimited */);
    put_varint(message, bytes.size);
    buf_append(message, bytes.data, bytes.size);
}

static void make_request(struct buf *request, uint64_t number) {
    char key[32];
    int key_size = snprintf(key, sizeof key, "bench/x-%06" PRIu64, number % load.key_count);
    buf_clear(request);
    buf_append(request, "\0\0\0\0", GRPC_HEAD);
    put_bytes(request, 1, (struct span){key, (size_t)key_size});
    if (load.is_put)
        put_bytes(request, 2, (struct span){load.value, load.value_bytes});
    uint32_t size = __builtin_bswap32((uint32_t)(request->size - GRPC_HEAD));
    memcpy(request->data + 1, &size, sizeof size);
}

/* ---- requests ---- */

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room,
                            uint32_t *ret_flags, nghttp2_data_source *source, void *context) {
    (void)session, (void)stream, (void)context;
    struct client *client = source->ptr;
    size_t left = client->request.size - client->sent, size = left < room ? left : room;
    memcpy(to, client->request.data + client->sent, size);
    client->sent += size;
    if (client->sent == client->request.size)
        *ret_flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

#define HEADER(name, value)                                                                        \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1,             \
            sizeof(value) - 1, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE        \
    }

static void begin_request(struct client *client) {
    nghttp2_nv put = HEADER(":path", "/etcdserverpb.KV/Put"),
               get = HEADER(":path", "/etcdserverpb.KV/Range");
    nghttp2_nv headers[] = {
        HEADER(":method", "POST"),
        HEADER(":scheme", "http"),
        load.is_put ? put : get,
        HEADER(":authority", "etcd"),
        HEADER("content-type", "application/grpc"),
        HEADER("te", "trailers"),
    };
    make_request(&client->request, load.begun++);
    client->sent = client->got_bytes = 0;
    client->is_accepted = false;
    client->begun_ns = clock_now_ns();
    nghttp2_data_provider body = {.source.ptr = client, .read_callback = read_request};
    int stream = nghttp2_submit_request(client->connection->session, NULL, headers,
                                        sizeof headers / sizeof *headers, &body, client);
    if (stream < 0)
        panic("a request: %s", nghttp2_strerror(stream));
    load.busy++;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *context) {
    (void)flags, (void)context;
    struct client *client = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    const struct span header = {(const char *)name, name_size},
                      text = {(const char *)value, value_size};
    if (client != NULL && span_is(header, "grpc-status"))
        client->is_accepted = span_is(text, "0");
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *context) {
    (void)flags, (void)data, (void)context;
    struct client *client = nghttp2_session_get_stream_user_data(session, stream);
    if (client != NULL)
        client->got_bytes += size;
    return 0;
}

/* A reply to a get is good when it is large enough to hold the value. */
static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context) {
    (void)context;
    struct client *client = nghttp2_session_get_stream_user_data(session, stream);
    uint64_t least_bytes = GRPC_HEAD + (load.is_put ? 0 : load.value_bytes);
    if (code != 0 || !client->is_accepted)
        panic("etcd refused a request");
    if (client->got_bytes < least_bytes)
        panic("a reply of %" PRIu64 " bytes without the value", client->got_bytes);
    load.result.requests++;
    load_count_latency(&load.result, clock_now_ns() - client->begun_ns);
    load.busy--;
    if (clock_now_ns() < load.deadline_ns)
        begin_request(client);
    return 0;
}

/* ---- connections ---- */

/* All that is ready in one write. */
static void send_some(struct connection *connection) {
    const uint8_t *data;
    struct err err = {0};
    buf_clear(&connection->sending);
    for (ssize_t size; (size = nghttp2_session_mem_send(connection->session, &data)) != 0;) {
        if (size < 0)
            panic("HTTP/2: %s", nghttp2_strerror((int)size));
        buf_append(&connection->sending, data, (size_t)size);
    }
    if (connection->sending.size > 0 &&
        net_write(connection->fd, connection->sending.data, connection->sending.size,
                  clock_deadline_ms(STALL_MS), &err) != 0)
        panic("%s", err.text);
}

static void receive_some(struct connection *connection) {
    static uint8_t bytes[RECEIVE_BYTES];
    ssize_t got = recv(connection->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        panic("etcd closed a connection");
    ssize_t taken = nghttp2_session_mem_recv(connection->session, bytes, (size_t)got);
    if (taken < 0)
        panic("HTTP/2: %s", nghttp2_strerror((int)taken));
    send_some(connection);
}

static void open_session(struct connection *connection) {
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        panic("out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    if (nghttp2_session_client_new(&connection->session, callbacks, NULL) != 0 ||
        nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, NULL, 0) != 0)
        panic("out of memory");
    nghttp2_session_callbacks_del(callbacks);
}

static void open_connection(int epoll_fd, struct connection *connection, const char *address) {
    struct err err = {0};
    if (net_connect(address, clock_deadline_ms(STALL_MS), &connection->fd, &err) != 0)
        panic("%s", err.text);
    open_session(connection);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        panic("epoll: %m");
}

static void run(int epoll_fd) {
    struct epoll_event events[EVENTS_MAX];
    for (uint64_t i = 0; i < load.client_count; i++) {
        load.clients[i].connection = &load.connections[i % load.address_count];
        begin_request(&load.clients[i]);
    }
    for (size_t i = 0; i < load.address_count; i++)
        send_some(&load.connections[i]);
    while (load.busy > 0) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, STALL_MS);
        if (count == 0)
            panic("nothing moved for %d s", STALL_MS / 1000);
        for (int i = 0; i < count; i++)
            receive_some(events[i].data.ptr);
    }
}

/* ---- the command ---- */

static bool take_addresses(struct span rest) {
    for (struct span address; rest.size > 0 && load.address_count < ADDRESSES_MAX;) {
        span_cut(&rest, ',', &address);
        snprintf(load.addresses[load.address_count++], NET_ADDRESS_SIZE, "%.*s",
                 SPAN_ARGS(address));
    }
    return load.address_count > 0 && rest.size == 0;
}

static bool take_arguments(int argc, char **argv) {
    if (argc != 7 || (strcmp(argv[1], "put") != 0 && strcmp(argv[1], "get") != 0))
        return false;
    load.is_put = strcmp(argv[1], "put") == 0;
    return take_addresses(span_of(argv[2])) &&
           options_parse_number(OPTION_NUMBER, argv[3], &load.client_count) &&
           load.client_count >= 1 && load.client_count <= CLIENTS_MAX &&
           options_parse_number(OPTION_NUMBER, argv[4], &load.key_count) && load.key_count >= 1 &&
           options_parse_number(OPTION_BYTES, argv[5], &load.value_bytes) &&
           load.value_bytes <= VALUE_BYTES_MAX &&
           options_parse_number(OPTION_DURATION, argv[6], &load.duration_ms);
}

static void print(double seconds) {
    printf("{\"requests\": %" PRIu64 ", \"requests_per_second\": %.1f, \"p50_ms\": %.6f, "
           "\"p99_ms\": %.6f, \"client_cores\": %.3f}\n",
           load.result.requests, (double)load.result.requests / seconds,
           (double)load_percentile_ns(&load.result, 500) / 1e6,
           (double)load_percentile_ns(&load.result, 990) / 1e6,
           (double)clock_cpu_ns() / 1e9 / seconds);
}

int main(int argc, char **argv) {
    if (!take_arguments(argc, argv)) {
        fprintf(stderr, "usage: bench_etcd_load put|get ADDRESS,... CLIENTS KEYS BYTES DURATION\n");
        return 2;
    }
    struct rng rng;
    rng_init(&rng, 1);
    for (uint64_t i = 0; i < load.value_bytes; i++)
        load.value[i] = (char)rng_next(&rng);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        panic("epoll: %m");
    for (size_t i = 0; i < load.address_count; i++)
        open_connection(epoll_fd, &load.connections[i], load.addresses[i]);
    uint64_t begun_ns = clock_now_ns();
    load.deadline_ns = begun_ns + load.duration_ms * NS_PER_MS;
    run(epoll_fd);
    print((double)(clock_now_ns() - begun_ns) / 1e9);
    return 0;
}
