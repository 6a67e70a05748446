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
#define FAREWELL_MS 3000
#define FAREWELL_BYTES ((size_t)64 << 20)

static_assert(INPUT_BYTES >= HTTP1_HEAD_BYTES_MAX, "a head must fit");

/* ---- reading heads ---- */

static void input_compact(struct input *input) {
    memmove(input->data, input->data + input->start, input->end - input->start);
    input->end -= input->start;
    input->start = 0;
}

enum head { HEAD_WHOLE, HEAD_LATER, HEAD_NONE };

static int time_out(struct request *request) {
    return err_set(&request->err, ERR_REQUEST_TIMEOUT, "%s", err_text(ERR_REQUEST_TIMEOUT));
}

/* Adds what can be read. HEAD_LATER: nothing more has come yet; HEAD_NONE: the client closed
 * between requests. */
static int read_more(struct request *request, enum head *ret_head) {
    struct input *input = request->input;
    size_t got;
    if (clock_now_ns() >= input->head_deadline_ns)
        return time_out(request);
    *ret_head = HEAD_LATER;
    if (input->end > 0 && !server_linger(request->conn, LINGER_MS))
        return 0;
    int rc = net_read(request->conn->fd, input->data + input->end, input->room - input->end,
                      input->head_deadline_ns, &got, &request->err);
    if (rc != 0)
        return rc == ERR_TIMEOUT ? time_out(request) : rc;
    if (got == 0 && input->end > 0)
        return err_set(&request->err, ERR_CLOSED, "closed within a head");
    *ret_head = got > 0 ? HEAD_WHOLE : HEAD_NONE; /* whole as far as it goes: parse it */
    input->end += got;
    return 0;
}

static int read_head(struct request *request, enum head *ret_head) {
    struct input *input = request->input;
    input_compact(input);
    for (;;) {
        size_t head_bytes = 0;
        struct span bytes = {input->data, input->end};
        int rc =
            input->end > 0 ? http1_parse(bytes, &request->http, &head_bytes, &request->err) : 0;
        if (rc != 0)
            return rc;
        if (head_bytes > 0) {
            input->start = head_bytes;
            *ret_head = HEAD_WHOLE;
            return 0;
        }
        rc = read_more(request, ret_head);
        if (rc != 0 || *ret_head != HEAD_WHOLE)
            return rc;
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
    arena_init(&request->arena, REQUEST_ARENA_BYTES_MAX);
    gateway_next_request_id(gateway, request->id);
}

static int serve_whole(struct request *request) {
    request->deadline_ns = clock_deadline_ms(REQUEST_MS_MAX);
    body_init(request);
    return handle(request);
}

enum next { NEXT_REQUEST, NEXT_PARK, NEXT_CLOSE, NEXT_FAREWELL };

static enum next serve_one(struct request *request) {
    enum head head = HEAD_WHOLE;
    int rc = read_head(request, &head);
    if (rc == 0 && head != HEAD_WHOLE)
        return head == HEAD_LATER ? NEXT_PARK : NEXT_CLOSE;
    bool is_in_step = rc == 0; /* else where the next head would begin is unknown */
    if (rc == 0)
        rc = serve_whole(request);
    if (!is_in_step || !body_drain(request)) {
        is_in_step = false;
        request->reply.must_close = true;
    }
    if (rc != 0)
        reply_failure(request, rc);
    body_close(request);
    arena_fini(&request->arena);
    if (!is_in_step)
        return NEXT_FAREWELL;
    return request->reply.must_close || !request->http.keep_alive ? NEXT_CLOSE : NEXT_REQUEST;
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
        enum next next = serve_one(&work->request);
        if (next == NEXT_FAREWELL)
            say_farewell(conn, &work->input);
        if (next == NEXT_FAREWELL || next == NEXT_CLOSE || server_is_stopping(conn->server))
            return SERVER_CLOSE;
        if (next == NEXT_PARK)
            return SERVER_PARK;
        work->input.head_deadline_ns = clock_deadline_ms(HEAD_MS_MAX);
        if (work->input.start == work->input.end && !server_linger(conn, LINGER_MS))
            return SERVER_PARK;
    }
}

/* ---- half a head, while its connection is parked ---- */

struct half {
    uint64_t deadline_ns;
    size_t size;
    char bytes[];
};

static void take_half(struct server_conn *conn, struct input *input) {
    struct half *half = conn->state;
    input->head_deadline_ns = clock_deadline_ms(HEAD_MS_MAX);
    if (half == NULL)
        return;
    memcpy(input->data, half->bytes, half->size);
    input->end = half->size;
    input->head_deadline_ns = half->deadline_ns;
    free(half);
    conn->state = NULL;
}

static enum server_verdict keep_half(struct server_conn *conn, const struct input *input) {
    size_t size = input->end - input->start;
    if (size == 0)
        return SERVER_PARK;
    struct half *half = malloc(sizeof *half + size);
    if (half == NULL)
        return SERVER_CLOSE;
    half->deadline_ns = input->head_deadline_ns;
    half->size = size;
    memcpy(half->bytes, input->data + input->start, size);
    conn->state = half;
    return SERVER_PARK;
}

void session_closed(void *gateway, struct server_conn *conn) {
    (void)gateway;
    free(conn->state);
}

enum server_verdict session_serve(void *gateway, struct server_conn *conn) {
    struct work *work = malloc(sizeof *work);
    if (work == NULL)
        return SERVER_CLOSE;
    work->request.reply.head = (struct buf){.limit = 64 << 10};
    work->input = (struct input){.data = work->data, .room = sizeof work->data};
    take_half(conn, &work->input);
    enum server_verdict verdict = serve(gateway, conn, work);
    if (verdict == SERVER_PARK)
        verdict = keep_half(conn, &work->input);
    buf_fini(&work->request.reply.head);
    free(work);
    return verdict;
}
