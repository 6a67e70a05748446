/* Serving: hello first, then one exchange after the other, each by its type's handler. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"
#include "os/server.h"
#include "rpc/conn.h"

#define HELLO_MS 5000
#define FRAME_MS 30000 /* from a frame's first byte to its last */
#define LINGER_MS 20
#define IDLE_MS_MAX                                                                                \
    90000 /* longer than the client keeps one, so that it is the client who closes */
#define THREADS_MAX 512
#define TYPES_MAX 128

struct rpc_server {
    struct rpc_identity self;
    struct server *server;
    struct {
        rpc_handler *handle;
        void *context;
    } handlers[TYPES_MAX];
};

static int handle_ping(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)context;
    return rpc_send(conn, type, &(struct iovec){body->data, body->size}, 1,
                    clock_deadline_ms(FRAME_MS), NULL);
}

struct rpc_server *rpc_server_new(const struct rpc_identity *self) {
    struct rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        panic("out of memory for the rpc server");
    server->self = *self;
    rpc_server_handle(server, RPC_PING, handle_ping, NULL);
    return server;
}

void rpc_server_handle(struct rpc_server *server, uint16_t type, rpc_handler *handler,
                       void *context) {
    ASSERT(type < TYPES_MAX && server->handlers[type].handle == NULL && server->server == NULL);
    server->handlers[type].handle = handler;
    server->handlers[type].context = context;
}

static void serve_opened(void *context, struct server_conn *conn) {
    (void)context;
    conn->state = rpc_conn_new(conn->fd);
}

static void serve_closed(void *context, struct server_conn *conn) {
    (void)context;
    free(conn->state);
}

/* A stranger is told why before the door closes. */
static int serve_hello(struct rpc_server *server, struct rpc_conn *conn) {
    uint64_t deadline_ns = clock_deadline_ms(HELLO_MS);
    struct err err = {0};
    int rc = rpc_receive_hello(conn, &server->self, deadline_ns, &err);
    if (rc == 0)
        return rpc_send_hello(conn, &server->self, deadline_ns, &err);
    if (rc == ERR_WRONG_CLUSTER || rc == ERR_VERSION || rc == ERR_PROTOCOL)
        rpc_send_error(conn, rc, err_message(&err, rc), deadline_ns, NULL);
    return rc;
}

static int serve_exchange(struct rpc_server *server, struct rpc_conn *conn, struct buf *body) {
    uint16_t type;
    int rc = rpc_receive(conn, &type, body, clock_deadline_ms(FRAME_MS), NULL);
    if (rc != 0)
        return rc;
    if (type >= TYPES_MAX || server->handlers[type].handle == NULL) {
        rpc_send_error(conn, ERR_PROTOCOL, "this node does not serve that message",
                       clock_deadline_ms(HELLO_MS), NULL);
        return ERR_PROTOCOL;
    }
    rc = server->handlers[type].handle(server->handlers[type].context, conn, type, body);
    return rc == 0 && conn->broken ? ERR_CLOSED : rc;
}

static enum server_verdict serve(void *context, struct server_conn *server_conn) {
    struct rpc_server *server = context;
    struct rpc_conn *conn = server_conn->state;
    if (conn == NULL || (!conn->greeted && serve_hello(server, conn) != 0))
        return SERVER_CLOSE;
    _cleanup_(buf_finip) struct buf body = {.limit = RPC_BODY_MAX};
    while (rpc_conn_has_bytes(conn) || server_linger(server_conn, LINGER_MS)) {
        if (serve_exchange(server, conn, &body) != 0 || server_is_stopping(server_conn->server))
            return SERVER_CLOSE;
    }
    return SERVER_PARK;
}

int rpc_server_start(struct rpc_server *server, int listen_fd, struct err *err) {
    ASSERT(server->server == NULL);
    struct server_protocol protocol = {server, serve_opened, serve, serve_closed};
    struct server_options options = {
        .name = "rpc", .threads_max = THREADS_MAX, .idle_ms_max = IDLE_MS_MAX};
    return server_start(listen_fd, &protocol, &options, &server->server, err);
}

void rpc_server_stop(struct rpc_server *server) {
    server->server = server_stop(server->server);
}

struct rpc_server *rpc_server_free(struct rpc_server *server) {
    if (server == NULL)
        return NULL;
    rpc_server_stop(server);
    free(server);
    return NULL;
}
