/* A channel: who asks sends, one thread receives. */
#include "meta/channel.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "meta/row.h"
#include "os/clock.h"
#include "rpc/rpc.h"

#define OPEN_MS 300
#define SEND_MS 1000
#define FRAME_MS 10000           /* from an answer's first byte to its last */
#define FRAME_BYTES (256u << 10) /* a frame this full is sent */
#define BUCKETS 64u
#define DEPOSED "another node leads now"

struct waiter { /* on the stack of who asks; the channel's mutex guards it */
    struct list node;
    uint64_t id;
    uint64_t sent_ns;
    const struct channel_call *call;
    pthread_cond_t woken; /* answered, or it is this one's turn to send */
    bool done;
    int code;
    uint32_t leader;
    struct buf *reply;
    struct err *err;
};

struct channel {
    uint32_t node;
    struct rpc_client *rpc;
    const atomic_uint *leaders;
    pthread_t receiver;
    pthread_mutex_t mutex;  /* of the rest */
    pthread_cond_t changed; /* for the receiver */
    struct rpc_conn *conn;  /* NULL: none; opened by who sends, released by the receiver */
    bool sending;
    bool ending; /* the connection is being released */
    bool stopping;
    uint64_t last_id;
    uint64_t heard_ns;
    struct list queue;         /* struct waiter, to be sent */
    struct list sent[BUCKETS]; /* the like, to be answered, by id */
    struct buf frame;          /* the sender's */
};

/* ---- answers; the channel's mutex is held ---- */

static void waiter_end(struct waiter *waiter, int code, const char *story) {
    list_remove(&waiter->node);
    waiter->code = code;
    waiter->done = true;
    if (code != 0)
        err_set(waiter->err, code, "%s", story);
    pthread_cond_signal(&waiter->woken);
}

static void list_end(struct list *waiters, int code, const char *story) {
    while (!list_is_empty(waiters))
        waiter_end(LIST_ENTRY(waiters->next, struct waiter, node), code, story);
}

static struct waiter *find(struct channel *channel, uint64_t id) {
    struct list *bucket = &channel->sent[id % BUCKETS];
    LIST_FOR_EACH(node, bucket) {
        struct waiter *waiter = LIST_ENTRY(node, struct waiter, node);
        if (waiter->id == id)
            return waiter;
    }
    return NULL;
}

static void take_answer(struct channel *channel, const struct meta_call_answer *head,
                        struct span bytes) {
    struct waiter *waiter = find(channel, head->id);
    if (waiter == NULL)
        return; /* given up meanwhile */
    waiter->leader = head->leader;
    if (head->code != 0) {
        char story[sizeof waiter->err->text];
        snprintf(story, sizeof story, "%.*s", SPAN_ARGS(bytes));
        waiter_end(waiter, head->code, story);
        return;
    }
    buf_append(waiter->reply, bytes.data, bytes.size);
    waiter_end(waiter, waiter->reply->failed ? ERR_NOMEM : 0, "an answer of the catalogue");
}

static int take_answers(struct channel *channel, struct span body) {
    struct meta_call_answer head;
    struct span bytes;
    int r;
    channel->heard_ns = clock_now_ns();
    while ((r = row_next_answer(&body, &head, &bytes)) == 0)
        take_answer(channel, &head, bytes);
    return r == ERR_NOT_FOUND ? 0 : r;
}

/* ---- the receiver ---- */

/* What was sent is in doubt; what was not goes over the next connection. */
static void end_connection(struct channel *channel, int code, const char *story) {
    struct rpc_conn *conn = channel->conn;
    channel->ending = true;
    rpc_shutdown(conn);
    while (channel->sending)
        pthread_cond_wait(&channel->changed, &channel->mutex);
    for (uint32_t i = 0; i < BUCKETS; i++)
        list_end(&channel->sent[i], code, story);
    rpc_release(channel->rpc, conn, false);
    channel->conn = NULL;
    channel->ending = false;
    if (!list_is_empty(&channel->queue))
        pthread_cond_signal(&LIST_ENTRY(channel->queue.next, struct waiter, node)->woken);
}

static int receive_frame(struct rpc_conn *conn, struct buf *body, struct err *err) {
    uint16_t type;
    int r = rpc_wait(conn, DEADLINE_NONE, err);
    if (r == 0)
        r = rpc_receive(conn, &type, body, clock_deadline_ms(FRAME_MS), err);
    return r == 0 && type != RPC_META_ANSWERS ? err_set(err, ERR_PROTOCOL, "not an answer") : r;
}

static void *receive(void *argument) {
    struct channel *channel = argument;
    struct buf body = {.limit = RPC_BODY_MAX};
    pthread_setname_np(pthread_self(), "channel");
    pthread_mutex_lock(&channel->mutex);
    for (;;) {
        while (channel->conn == NULL && !channel->stopping)
            pthread_cond_wait(&channel->changed, &channel->mutex);
        if (channel->conn == NULL)
            break;
        struct err err = {0};
        struct rpc_conn *conn = channel->conn; /* nobody else takes it away */
        pthread_mutex_unlock(&channel->mutex);
        int r = receive_frame(conn, &body, &err);
        pthread_mutex_lock(&channel->mutex);
        if (r == 0)
            r = take_answers(channel, buf_span(&body));
        if (r != 0)
            end_connection(channel, r, err_message(&err, r));
    }
    pthread_mutex_unlock(&channel->mutex);
    buf_fini(&body);
    return NULL;
}

/* ---- sending; the mutex is held, but for the I/O ---- */

static void gather(struct channel *channel) {
    buf_clear(&channel->frame);
    while (!list_is_empty(&channel->queue) && channel->frame.size < FRAME_BYTES) {
        struct waiter *waiter = LIST_ENTRY(channel->queue.next, struct waiter, node);
        const struct channel_call *call = waiter->call;
        struct meta_call head = {.id = waiter->id,
                                 .group = call->group,
                                 .size = (uint32_t)call->bytes.size,
                                 .kind = call->kind};
        row_add_call(&channel->frame, &head, call->bytes);
        list_remove(&waiter->node);
        list_add_tail(&channel->sent[waiter->id % BUCKETS], &waiter->node);
        waiter->sent_ns = clock_now_ns();
    }
    if (channel->frame.failed)
        panic("out of memory for calls to a node");
}

static int connect_channel(struct channel *channel, struct err *err) {
    struct rpc_conn *conn;
    pthread_mutex_unlock(&channel->mutex);
    int r = rpc_open(channel->rpc, channel->node, clock_deadline_ms(OPEN_MS), &conn, err);
    pthread_mutex_lock(&channel->mutex);
    if (r == 0) {
        channel->conn = conn;
        channel->heard_ns = clock_now_ns();
    }
    return r;
}

static void send_frame(struct channel *channel) {
    struct err err = {0};
    channel->sending = true;
    int r = channel->conn != NULL ? 0 : connect_channel(channel, &err);
    if (r == 0) {
        gather(channel);
        struct rpc_conn *conn = channel->conn; /* stays while this one is sending */
        pthread_mutex_unlock(&channel->mutex);
        struct iovec iov = {channel->frame.data, channel->frame.size};
        if (rpc_send(conn, RPC_META_CALLS, &iov, 1, clock_deadline_ms(SEND_MS), NULL) != 0)
            rpc_shutdown(conn); /* the receiver sees it */
        pthread_mutex_lock(&channel->mutex);
    } else {
        list_end(&channel->queue, r, err_message(&err, r));
    }
    channel->sending = false;
    pthread_cond_signal(&channel->changed);
}

/* ---- asking ---- */

static bool may_send(const struct channel *channel) {
    return !channel->sending && !channel->ending && !list_is_empty(&channel->queue);
}

static bool is_deposed(const struct channel *channel, uint32_t group) {
    uint32_t leader = atomic_load(&channel->leaders[group]);
    return leader != 0 && leader != channel->node;
}

/* A node that has said nothing since it was asked hangs, or its connection does. */
static void give_up(struct channel *channel, struct waiter *waiter) {
    list_remove(&waiter->node);
    waiter->code = err_set(waiter->err, ERR_TIMEOUT, "it does not answer");
    if (waiter->sent_ns != 0 && channel->heard_ns < waiter->sent_ns && channel->conn != NULL)
        rpc_shutdown(channel->conn);
}

static void await_answer(struct channel *channel, struct waiter *waiter, uint64_t deadline_ns) {
    pthread_mutex_lock(&channel->mutex);
    waiter->id = ++channel->last_id;
    list_add_tail(&channel->queue, &waiter->node);
    if (is_deposed(channel, waiter->call->group)) /* since it was chosen to be asked */
        waiter_end(waiter, ERR_TIMEOUT, DEPOSED);
    bool in_time = true;
    while (!waiter->done && in_time) {
        if (may_send(channel))
            send_frame(channel);
        else
            in_time = clock_cond_wait(&waiter->woken, &channel->mutex, deadline_ns);
    }
    if (!waiter->done)
        give_up(channel, waiter);
    if (may_send(channel)) /* was woken to send, or did so for others */
        pthread_cond_signal(&LIST_ENTRY(channel->queue.next, struct waiter, node)->woken);
    pthread_mutex_unlock(&channel->mutex);
}

int channel_call(struct channel *channel, const struct channel_call *call, uint64_t deadline_ns,
                 uint32_t *ret_leader, struct buf *ret_reply, struct err *err) {
    if (call->bytes.size > RPC_BODY_MAX - FRAME_BYTES - sizeof(struct meta_call))
        return err_set(err, ERR_LIMIT, "a call of %zu bytes", call->bytes.size);
    struct err story = {0};
    struct waiter waiter = {.call = call, .reply = ret_reply, .err = &story};
    list_init(&waiter.node);
    clock_cond_init(&waiter.woken);
    await_answer(channel, &waiter, deadline_ns);
    pthread_cond_destroy(&waiter.woken);
    *ret_leader = waiter.leader;
    return waiter.code == 0 ? 0
                            : err_set(err, waiter.code, "node %u: %s", channel->node, story.text);
}

/* ---- leaders ---- */

static void depose_in(struct list *waiters, uint32_t group) {
    for (struct list *node = waiters->next, *next; node != waiters; node = next) {
        struct waiter *waiter = LIST_ENTRY(node, struct waiter, node);
        next = node->next;
        if (waiter->call->group == group)
            waiter_end(waiter, ERR_TIMEOUT, DEPOSED);
    }
}

void channel_depose(struct channel *channel, uint32_t group) {
    pthread_mutex_lock(&channel->mutex);
    depose_in(&channel->queue, group);
    for (uint32_t i = 0; i < BUCKETS; i++)
        depose_in(&channel->sent[i], group);
    pthread_mutex_unlock(&channel->mutex);
}

/* ---- lifetime ---- */

struct channel *channel_new(struct rpc_client *rpc, uint32_t node, const atomic_uint *leaders) {
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        panic("out of memory for a channel");
    channel->node = node;
    channel->rpc = rpc;
    channel->leaders = leaders;
    channel->frame.limit = RPC_BODY_MAX;
    pthread_mutex_init(&channel->mutex, NULL);
    pthread_cond_init(&channel->changed, NULL);
    list_init(&channel->queue);
    for (uint32_t i = 0; i < BUCKETS; i++)
        list_init(&channel->sent[i]);
    if (pthread_create(&channel->receiver, NULL, receive, channel) != 0)
        panic("cannot start the thread of a channel");
    return channel;
}

struct channel *channel_free(struct channel *channel) {
    pthread_mutex_lock(&channel->mutex);
    channel->stopping = true;
    if (channel->conn != NULL)
        rpc_shutdown(channel->conn);
    pthread_cond_signal(&channel->changed);
    pthread_mutex_unlock(&channel->mutex);
    pthread_join(channel->receiver, NULL);
    pthread_mutex_destroy(&channel->mutex);
    pthread_cond_destroy(&channel->changed);
    buf_fini(&channel->frame);
    free(channel);
    return NULL;
}

uint32_t channel_node(const struct channel *channel) {
    return channel->node;
}
