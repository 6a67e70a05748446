/* The load generator's connections and their loop. */
#include "cli/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/rng.h"
#include "cli/load_reply.h"
#include "os/clock.h"
#include "os/net.h"

#define BLOCK_BYTES (1u << 20) /* of random bytes; bodies repeat it */
#define REPLY_HEAD_BYTES_MAX 8192u
#define DROP_BYTES (4u << 20) /* of a reply's body at once */
#define EVENTS_MAX 128
#define STALL_MS 60000
#define FAILURES_MAX 1000u

struct connection {
    int fd; /* -1: not connected */
    bool is_busy;
    bool waits_to_send;
    uint64_t begun_ns;
    struct span head; /* what is left to send of it */
    uint64_t body_left;
    bool has_reply; /* its head is whole */
    struct load_reply reply;
    uint64_t reply_left;
    size_t reply_size; /* in reply_head */
    char head_bytes[LOAD_HEAD_BYTES_MAX];
    char reply_head[REPLY_HEAD_BYTES_MAX];
};

struct load {
    const struct load_options *options;
    struct load_result *result;
    struct err *err;
    int epoll_fd;
    uint64_t deadline_ns; /* no request begins later */
    uint64_t begun;       /* requests */
    unsigned busy;        /* connections */
    char *block;
    struct connection *connections;
};

static int watch(struct load *load, struct connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(load->epoll_fd, operation, connection->fd, &event) != 0)
        return err_errno(load->err, errno, "epoll");
    return 0;
}

static int open_connection(struct load *load, struct connection *connection) {
    const struct load_options *options = load->options;
    size_t number = (size_t)(connection - load->connections);
    int code = net_connect(options->addresses[number % options->address_count],
                           clock_deadline_ms(STALL_MS), &connection->fd, load->err);
    return code != 0 ? code : watch(load, connection, EPOLL_CTL_ADD, EPOLLIN);
}

static void close_connection(struct connection *connection) {
    fd_closep(&connection->fd);
    connection->fd = -1;
    connection->waits_to_send = false;
}

static bool may_begin(const struct load *load) {
    const struct load_options *options = load->options;
    return (options->requests_max == 0 || load->begun < options->requests_max) &&
           clock_now_ns() < load->deadline_ns;
}

/* Sends what the socket takes. 0; ERR_CLOSED when the connection is gone. */
static int send_some(struct load *load, struct connection *connection) {
    bool is_blocked = false;
    while (!is_blocked && (connection->head.size > 0 || connection->body_left > 0)) {
        uint64_t at = (load->options->body_bytes - connection->body_left) % BLOCK_BYTES;
        uint64_t step =
            BLOCK_BYTES - at < connection->body_left ? BLOCK_BYTES - at : connection->body_left;
        struct iovec parts[2] = {
            {(void *)(uintptr_t)connection->head.data, connection->head.size},
            {load->block + at, step},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return ERR_CLOSED;
        is_blocked = sent < 0 && errno == EAGAIN;
        size_t of_head = sent < 0                               ? 0
                         : (size_t)sent < connection->head.size ? (size_t)sent
                                                                : connection->head.size;
        connection->head.data += of_head;
        connection->head.size -= of_head;
        connection->body_left -= sent < 0 ? 0 : (uint64_t)sent - of_head;
    }
    if (is_blocked == connection->waits_to_send)
        return 0;
    connection->waits_to_send = is_blocked;
    return watch(load, connection, EPOLL_CTL_MOD, is_blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int begin_request(struct load *load, struct connection *connection) {
    struct span head;
    int code = load->options->head(load->options->context, load->begun, &head, load->err);
    if (code != 0)
        return code;
    ASSERT(head.size <= sizeof connection->head_bytes);
    if (connection->fd < 0 && (code = open_connection(load, connection)) != 0)
        return code;
    load->begun++;
    load->busy++;
    memcpy(connection->head_bytes, head.data, head.size);
    connection->head = (struct span){connection->head_bytes, head.size};
    connection->body_left = load->options->body_bytes;
    connection->is_busy = true;
    connection->has_reply = false;
    connection->reply_size = 0;
    connection->begun_ns = clock_now_ns();
    return 0;
}

static void end_request(struct load *load, struct connection *connection) {
    connection->is_busy = false;
    load->busy--;
}

static void fail_request(struct load *load, struct connection *connection, const char *what) {
    struct load_result *result = load->result;
    struct span line = {connection->reply_head, connection->reply_size}, first;
    span_cut(&line, '\r', &first);
    if (result->failures++ == 0)
        snprintf(result->first_failure, sizeof result->first_failure, "%s%s%.*s", what,
                 first.size > 0 ? ": " : "", SPAN_ARGS(first));
    end_request(load, connection);
    close_connection(connection);
}

/* The reply is whole and nothing follows it. */
static void finish_reply(struct load *load, struct connection *connection) {
    const struct load_reply *reply = &connection->reply;
    if (reply->status / 100 != 2)
        return fail_request(load, connection, "another status");
    if (reply->body_bytes != load->options->reply_bytes)
        return fail_request(load, connection, "another length");
    if (connection->head.size > 0 || connection->body_left > 0)
        return fail_request(load, connection, "an answer before the request was sent");
    load->result->requests++;
    load_count_latency(load->result, clock_now_ns() - connection->begun_ns);
    end_request(load, connection);
    if (!reply->keep_alive)
        close_connection(connection);
}

/* Reads into the head's buffer; what of it lies behind the head belongs to the body. Returns what
 * recv returned, or -1 with errno 0 for a reply that is none. */
static ssize_t receive_head(struct connection *connection) {
    char *at = connection->reply_head + connection->reply_size;
    ssize_t got = recv(connection->fd, at, sizeof connection->reply_head - connection->reply_size,
                       MSG_DONTWAIT);
    if (got <= 0)
        return got;
    connection->reply_size += (size_t)got;
    struct span bytes = {connection->reply_head, connection->reply_size};
    int head = load_reply_parse(bytes, &connection->reply);
    errno = 0;
    if (head < 0 || (head == 0 && connection->reply_size == sizeof connection->reply_head) ||
        (head > 0 && bytes.size - (size_t)head > connection->reply.body_bytes))
        return -1;
    if (head > 0) {
        connection->has_reply = true;
        connection->reply_left = connection->reply.body_bytes - (bytes.size - (size_t)head);
    }
    return got;
}

/* tcp(7): with MSG_TRUNC the bytes are counted and dropped, never copied. */
static ssize_t receive_body(struct connection *connection) {
    size_t size = connection->reply_left < DROP_BYTES ? (size_t)connection->reply_left : DROP_BYTES;
    ssize_t got = recv(connection->fd, NULL, size, MSG_DONTWAIT | MSG_TRUNC);
    if (got > 0)
        connection->reply_left -= (uint64_t)got;
    return got;
}

static void receive_some(struct load *load, struct connection *connection) {
    while (connection->is_busy) {
        ssize_t got = connection->has_reply ? receive_body(connection) : receive_head(connection);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0)
            return fail_request(load, connection,
                                got < 0 && errno == 0 ? "a reply that is none"
                                                      : "the connection was lost");
        if (connection->has_reply && connection->reply_left == 0)
            finish_reply(load, connection);
    }
}

/* As far as it goes without waiting: sends, receives, begins the next request. */
static int drive(struct load *load, struct connection *connection) {
    for (;;) {
        if (!connection->is_busy) {
            if (!may_begin(load)) {
                close_connection(connection);
                return 0;
            }
            int code = begin_request(load, connection);
            if (code != 0)
                return code;
        }
        if (send_some(load, connection) != 0)
            fail_request(load, connection, "the connection was lost");
        receive_some(load, connection);
        if (connection->is_busy)
            return 0;
        if (load->result->failures >= FAILURES_MAX)
            return err_set(load->err, ERR_LIMIT, "%u requests failed; the first: %s", FAILURES_MAX,
                           load->result->first_failure);
    }
}

static int run_loop(struct load *load) {
    struct epoll_event events[EVENTS_MAX];
    int code = 0;
    for (unsigned i = 0; i < load->options->connections && code == 0; i++)
        code = drive(load, &load->connections[i]);
    while (code == 0 && load->busy > 0) {
        int count = epoll_wait(load->epoll_fd, events, EVENTS_MAX, STALL_MS);
        if (count == 0)
            return err_set(load->err, ERR_TIMEOUT, "nothing moved for %d s", STALL_MS / 1000);
        if (count < 0 && errno != EINTR)
            return err_errno(load->err, errno, "epoll_wait");
        for (int i = 0; i < count && code == 0; i++)
            code = drive(load, events[i].data.ptr);
    }
    return code;
}

static void fill_block(char *block) {
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < BLOCK_BYTES; i += sizeof(uint64_t)) {
        uint64_t draw = rng_next(&rng);
        memcpy(block + i, &draw, sizeof draw);
    }
}

static void free_load(struct load *load) {
    for (unsigned i = 0; load->connections != NULL && i < load->options->connections; i++)
        fd_closep(&load->connections[i].fd);
    fd_closep(&load->epoll_fd);
    free(load->connections);
    free(load->block);
}

int load_run(const struct load_options *options, struct load_result *ret_result, struct err *err) {
    ASSERT(options->connections > 0 && options->connections <= LOAD_CONNECTIONS_MAX);
    ASSERT(options->requests_max > 0 || options->duration_ms > 0);
    ASSERT(options->address_count > 0);
    *ret_result = (struct load_result){0};
    _cleanup_(free_load) struct load load = {.options = options, .result = ret_result, .err = err};
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load.block = malloc(BLOCK_BYTES);
    load.connections = calloc(options->connections, sizeof *load.connections);
    for (unsigned i = 0; load.connections != NULL && i < options->connections; i++)
        load.connections[i].fd = -1;
    if (load.epoll_fd < 0 || load.block == NULL || load.connections == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for %u connections", options->connections);
    fill_block(load.block);
    uint64_t begun_ns = clock_now_ns(), cpu_ns = clock_cpu_ns();
    load.deadline_ns =
        options->duration_ms > 0 ? begun_ns + options->duration_ms * NS_PER_MS : DEADLINE_NONE;
    int code = run_loop(&load);
    ret_result->elapsed_ns = clock_now_ns() - begun_ns;
    ret_result->cpu_ns = clock_cpu_ns() - cpu_ns;
    return code;
}
