/* Frames over one connection. */
#include "rpc/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/crc.h"
#include "os/clock.h"
#include "os/net.h"

#define PARTS_MAX 8

struct rpc_conn *rpc_conn_new(int fd) {
    struct rpc_conn *conn = malloc(sizeof *conn);
    if (conn == NULL)
        return NULL;
    memset(conn, 0, offsetof(struct rpc_conn, buffer));
    conn->fd = fd;
    list_init(&conn->node_in_pool);
    return conn;
}

uint32_t rpc_conn_node(const struct rpc_conn *conn) {
    return conn->node;
}

int rpc_conn_fd(const struct rpc_conn *conn) {
    return conn->fd;
}

/* Whatever fails leaves the two ends out of step. */
static int conn_break(struct rpc_conn *conn, int rc) {
    atomic_store(&conn->broken, true);
    return rc;
}

int rpc_send(struct rpc_conn *conn, uint16_t type, const struct iovec *iov, int count,
             uint64_t deadline_ns, struct err *err) {
    ASSERT(count <= PARTS_MAX);
    uint8_t header[FRAME_HEADER_SIZE];
    struct iovec parts[1 + PARTS_MAX];
    struct frame frame = {.type = type};
    parts[0] = (struct iovec){header, sizeof header};
    for (int i = 0; i < count; i++) {
        parts[1 + i] = iov[i];
        ASSERT(iov[i].iov_len <= RPC_BODY_MAX - frame.length);
        frame.length += (uint32_t)iov[i].iov_len;
        frame.body_crc32c = crc32c_update(frame.body_crc32c, iov[i].iov_base, iov[i].iov_len);
    }
    frame_encode(&frame, header);
    int rc = net_write_all(conn->fd, parts, 1 + count, deadline_ns, err);
    return rc == 0 ? 0 : conn_break(conn, rc);
}

int rpc_send_now(struct rpc_conn *conn, uint16_t type, struct span body, struct buf *rest,
                 struct err *err) {
    ASSERT(body.size <= RPC_BODY_MAX);
    uint8_t header[FRAME_HEADER_SIZE];
    struct frame frame = {.type = type,
                          .length = (uint32_t)body.size,
                          .body_crc32c = crc32c_update(0, body.data, body.size)};
    frame_encode(&frame, header);
    struct iovec iov[] = {{header, sizeof header}, {(void *)(uintptr_t)body.data, body.size}};
    int rc = net_write_now(conn->fd, iov, 2, err);
    if (rc != 0)
        return conn_break(conn, rc);
    for (int i = 0; i < 2; i++)
        buf_append(rest, iov[i].iov_base, iov[i].iov_len);
    return rest->failed ? conn_break(conn, err_set(err, ERR_NOMEM, "the rest of a frame")) : 0;
}

int rpc_send_rest(struct rpc_conn *conn, struct span rest, uint64_t deadline_ns, struct err *err) {
    int rc = net_write(conn->fd, rest.data, rest.size, deadline_ns, err);
    return rc == 0 ? 0 : conn_break(conn, rc);
}

int rpc_send_error(struct rpc_conn *conn, int code, const char *message, uint64_t deadline_ns,
                   struct err *err) {
    ASSERT(code < 0);
    uint8_t head[FRAME_ERROR_HEAD_SIZE];
    frame_encode_error(code, head);
    struct iovec iov[] = {{head, sizeof head}, {(void *)(uintptr_t)message, strlen(message)}};
    return rpc_send(conn, RPC_ERROR, iov, 2, deadline_ns, err);
}

/* ---- receiving ---- */

static int conn_fill(struct rpc_conn *conn, size_t wanted, uint64_t deadline_ns, struct err *err) {
    if (conn->end - conn->start >= wanted)
        return 0;
    memmove(conn->buffer, conn->buffer + conn->start, conn->end - conn->start);
    conn->end -= conn->start;
    conn->start = 0;
    while (conn->end < wanted) {
        size_t got;
        int rc = net_read(conn->fd, conn->buffer + conn->end, sizeof conn->buffer - conn->end,
                          deadline_ns, &got, err);
        if (rc == 0 && got == 0)
            rc = err_set(err, ERR_CLOSED, "the peer closed the connection");
        if (rc != 0)
            return rc;
        conn->heard = true;
        conn->end += got;
    }
    return 0;
}

int rpc_wait(struct rpc_conn *conn, uint64_t deadline_ns, struct err *err) {
    return conn_fill(conn, 1, deadline_ns, err);
}

int rpc_wait_or(struct rpc_conn *conn, int wake_fd, uint64_t deadline_ns, bool *ret_ready,
                struct err *err) {
    struct pollfd fds[] = {{.fd = conn->fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};
    int ready = rpc_conn_has_bytes(conn) ? 1 : 0;
    while (ready == 0) {
        ready = poll(fds, 2, clock_poll_ms(deadline_ns));
        if (ready < 0 && errno != EINTR)
            return conn_break(conn, err_errno(err, errno, "poll"));
        if (ready == 0)
            return err_set(err, ERR_TIMEOUT, "nothing came");
        ready = ready < 0 ? 0 : ready;
    }
    *ret_ready = rpc_conn_has_bytes(conn) || fds[0].revents != 0;
    return 0;
}

void rpc_shutdown(struct rpc_conn *conn) {
    (void)shutdown(conn->fd, SHUT_RDWR); /* fails when the other end did: all the better */
}

static int conn_take(struct rpc_conn *conn, void *data, size_t size, uint64_t deadline_ns,
                     struct err *err) {
    size_t held = conn->end - conn->start;
    if (held > size)
        held = size;
    if (held > 0)
        memcpy(data, conn->buffer + conn->start, held);
    conn->start += held;
    return net_read_all(conn->fd, (char *)data + held, size - held, deadline_ns, err);
}

static int receive_header(struct rpc_conn *conn, uint64_t deadline_ns, struct frame *ret_frame,
                          struct err *err) {
    int rc = conn_fill(conn, FRAME_HEADER_SIZE, deadline_ns, err);
    if (rc == 0)
        rc = frame_decode(conn->buffer + conn->start, RPC_BODY_MAX, ret_frame, err);
    conn->start += rc == 0 ? FRAME_HEADER_SIZE : 0;
    return rc;
}

static int receive_body(struct rpc_conn *conn, const struct frame *frame, void *data,
                        uint64_t deadline_ns, struct err *err) {
    int rc = conn_take(conn, data, frame->length, deadline_ns, err);
    if (rc == 0 && crc32c_update(0, data, frame->length) != frame->body_crc32c)
        rc = err_set(err, ERR_CORRUPT, "a frame's body is damaged");
    return rc;
}

static int receive_error(struct rpc_conn *conn, const struct frame *frame, uint64_t deadline_ns,
                         struct err *err) {
    char body[FRAME_ERROR_HEAD_SIZE + sizeof err->text];
    if (frame->length > sizeof body)
        return conn_break(conn,
                          err_set(err, ERR_CORRUPT, "an error frame of %u bytes", frame->length));
    int rc = receive_body(conn, frame, body, deadline_ns, err);
    return rc != 0 ? conn_break(conn, rc)
                   : frame_decode_error((struct span){body, frame->length}, err);
}

int rpc_receive(struct rpc_conn *conn, uint16_t *ret_type, struct buf *body, uint64_t deadline_ns,
                struct err *err) {
    struct frame frame;
    int rc = receive_header(conn, deadline_ns, &frame, err);
    if (rc != 0)
        return conn_break(conn, rc);
    if (frame.type == RPC_ERROR)
        return receive_error(conn, &frame, deadline_ns, err);
    buf_clear(body);
    char *to = buf_reserve(body, frame.length);
    if (to == NULL)
        return conn_break(conn,
                          err_set(err, ERR_NOMEM, "no room for a frame of %u bytes", frame.length));
    rc = receive_body(conn, &frame, to, deadline_ns, err);
    if (rc != 0)
        return conn_break(conn, rc);
    body->size = frame.length;
    *ret_type = frame.type;
    return 0;
}

int rpc_receive_into(struct rpc_conn *conn, uint16_t *ret_type, void *data, size_t room,
                     size_t *ret_size, uint64_t deadline_ns, struct err *err) {
    struct frame frame;
    int rc = receive_header(conn, deadline_ns, &frame, err);
    if (rc != 0)
        return conn_break(conn, rc);
    if (frame.type == RPC_ERROR)
        return receive_error(conn, &frame, deadline_ns, err);
    if (frame.length > room)
        return conn_break(conn,
                          err_set(err, ERR_LIMIT, "a frame of %u bytes; there is room for %zu",
                                  frame.length, room));
    rc = receive_body(conn, &frame, data, deadline_ns, err);
    if (rc != 0)
        return conn_break(conn, rc);
    *ret_type = frame.type;
    *ret_size = frame.length;
    return 0;
}

/* ---- hello ---- */

int rpc_send_hello(struct rpc_conn *conn, const struct rpc_identity *self, uint64_t deadline_ns,
                   struct err *err) {
    uint8_t body[FRAME_HELLO_SIZE];
    struct frame_hello hello = {FRAME_PROTOCOL_VERSION, self->node_id, self->cluster_id,
                                self->incarnation};
    frame_encode_hello(&hello, body);
    return rpc_send(conn, RPC_HELLO, &(struct iovec){body, sizeof body}, 1, deadline_ns, err);
}

int rpc_receive_hello(struct rpc_conn *conn, const struct rpc_identity *self, uint64_t deadline_ns,
                      struct err *err) {
    char body[FRAME_HELLO_SIZE];
    size_t size;
    uint16_t type;
    struct frame_hello hello;
    int rc = rpc_receive_into(conn, &type, body, sizeof body, &size, deadline_ns, err);
    if (rc != 0)
        return rc;
    if (type != RPC_HELLO)
        return conn_break(conn,
                          err_set(err, ERR_PROTOCOL, "the connection did not begin with a hello"));
    rc = frame_decode_hello((struct span){body, size}, &hello, err);
    if (rc != 0)
        return conn_break(conn, rc);
    if (hello.version != FRAME_PROTOCOL_VERSION)
        return conn_break(
            conn, err_set(err, ERR_VERSION, "node %u speaks protocol %u, node %u speaks %u",
                          self->node_id, FRAME_PROTOCOL_VERSION, hello.node_id, hello.version));
    char ours[ID128_HEX_SIZE], theirs[ID128_HEX_SIZE];
    if (!id128_equal(hello.cluster_id, self->cluster_id))
        return conn_break(conn, err_set(err, ERR_WRONG_CLUSTER,
                                        "node %u is of cluster %s, node %u of cluster %s",
                                        self->node_id, id128_print(self->cluster_id, ours),
                                        hello.node_id, id128_print(hello.cluster_id, theirs)));
    conn->node = hello.node_id;
    conn->greeted = true;
    return 0;
}
