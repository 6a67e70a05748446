/* The life of a connection: heads in, one reply each, in order; keep-alive, pipelining, and a clean
 * end.
 *
 * Memory for a request exists only while a thread serves the connection: a parked one holds none,
 * so it is parked only when nothing was read ahead. */
#include "gateway/session.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "gateway/auth.h"
#include "gateway/gateway_impl.h"
#include "gateway/request.h"
#include "gateway/route.h"
#include "os/clock.h"
#include "os/net.h"

#define INPUT_BYTES ((size_t)64 << 10)
#define HEAD_MS_MAX 30000    /* from a head's first byte to its last */
#define REQUEST_MS_MAX 30000 /* of waiting for the catalogue and the stores */
#define LINGER_MS 50
#define FAREWELL_MS 500
#define FAREWELL_BYTES ((size_t)1 << 20)

static_assert(INPUT_BYTES >= HTTP1_HEAD_BYTES_MAX, "a head must fit");

/* ---- reading heads ---- */

static void input_compact(struct input *input) {
    memmove(input->data, input->data + input->start, input->end - input->start);
    input->end -= input->start;
    input->start = 0;
}

/* Reads and parses a head. 0 with *ret_done false when the client has closed between requests. */
static int read_head(struct request *request, bool *ret_done) {
    struct input *input = request->input;
    uint64_t deadline_ns = clock_deadline_ms(HEAD_MS_MAX);
    input_compact(input);
    for (;;) {
        size_t head_bytes = 0, got;
        struct span bytes = {input->data, input->end};
        int rc =
            input->end > 0 ? http1_parse(bytes, &request->http, &head_bytes, &request->err) : 0;
        if (rc != 0)
            return rc;
        if (head_bytes > 0) {
            input->start = head_bytes;
            *ret_done = false;
            return 0;
        }
        rc = net_read(request->conn->fd, input->data + input->end, input->room - input->end,
                      deadline_ns, &got, &request->err);
        if (rc != 0)
            return rc == ERR_TIMEOUT ? err_set(&request->err, ERR_REQUEST_TIMEOUT, "%s",
                                               err_text(ERR_REQUEST_TIMEOUT))
                                     : rc;
        if (got == 0 && input->end == 0) {
            *ret_done = true;
            return 0;
        }
        if (got == 0)
            return err_set(&request->err, ERR_CLOSED, "closed within a head");
        input->end += got;
    }
}

/* ---- one request ---- */

static int take_uri_apart(struct request *request) {
    int rc = uri_parse(request->http.target, &request->arena, &request->uri, &request->err);
    if (rc != 0)
        return rc;
    request->bucket = request_string(request, request->uri.bucket);
    request->key = request_string(request, request->uri.key);
    return request_memory(request);
}

static int handle(struct request *request) {
    const struct route *route;
    int rc = take_uri_apart(request);
    if (rc == 0)
        rc = route_find(request, &route);
    if (rc == 0 && !route->is_public)
        rc = auth_check(request);
    if (rc == 0)
        rc = body_open(request);
    return rc != 0 ? rc : route->handle(request);
}

/* Replies with the error unless the reply is already under way: then only the connection's end can
 * tell. */
static void reply_failure(struct request *request, int rc) {
    if (request->reply.is_head_sent || rc == ERR_CLOSED)
        request->reply.must_close = true;
    else
        reply_error(request, rc);
}

static void request_init(struct request *request, struct gateway *gateway, struct server_conn *conn,
                         struct input *input) {
    struct buf head = request->reply.head; /* kept from one request to the next */
    memset(request, 0, offsetof(struct request, http));
    memset(&request->uri, 0, sizeof *request - offsetof(struct request, uri));
    request->gateway = gateway;
    request->conn = conn;
    request->input = input;
    request->bucket = request->key = "";
    request->reply.head = head;
    request->http.method = HTTP1_GET;
    request->http.keep_alive = false;
    request->http.minor = 1;
    request->http.header_count = 0;
    request->deadline_ns = clock_deadline_ms(REQUEST_MS_MAX);
    arena_init(&request->arena, REQUEST_ARENA_BYTES_MAX);
    gateway_next_request_id(gateway, request->id);
}

/* True when another request may follow on the connection. */
static bool serve_one(struct request *request) {
    bool closed = false;
    int rc = read_head(request, &closed);
    if (closed)
        return false;
    if (rc == 0) {
        body_init(request);
        rc = handle(request);
    } else {
        request->reply.must_close = true; /* where the next head would begin is unknown */
    }
    if (!body_drain(request))
        request->reply.must_close = true;
    if (rc != 0)
        reply_failure(request, rc);
    body_close(request);
    arena_fini(&request->arena);
    return !request->reply.must_close && request->http.keep_alive;
}

/* ---- the connection ---- */

/* Lets the client read the last reply: closing with unread bytes in the socket would reset the
 * connection and lose it. */
static void say_farewell(struct server_conn *conn, struct input *input) {
    uint64_t deadline_ns = clock_deadline_ms(FAREWELL_MS);
    size_t got = 1, total = 0;
    shutdown(conn->fd, SHUT_WR);
    while (got > 0 && total < FAREWELL_BYTES &&
           net_read(conn->fd, input->data, input->room, deadline_ns, &got, NULL) == 0)
        total += got;
}

struct work {
    struct request request;
    struct input input;
    char data[INPUT_BYTES];
};

static enum server_verdict serve(struct gateway *gateway, struct server_conn *conn,
                                 struct work *work) {
    for (;;) {
        request_init(&work->request, gateway, conn, &work->input);
        if (!serve_one(&work->request)) {
            say_farewell(conn, &work->input);
            return SERVER_CLOSE;
        }
        if (server_is_stopping(conn->server))
            return SERVER_CLOSE;
        if (work->input.start == work->input.end && !server_linger(conn, LINGER_MS))
            return SERVER_PARK;
    }
}

enum server_verdict session_serve(void *gateway, struct server_conn *conn) {
    struct work *work = malloc(sizeof *work);
    if (work == NULL)
        return SERVER_CLOSE;
    work->request.reply.head = (struct buf){.limit = 64 << 10};
    work->input = (struct input){.data = work->data, .room = sizeof work->data};
    enum server_verdict verdict = serve(gateway, conn, work);
    buf_fini(&work->request.reply.head);
    free(work);
    return verdict;
}
