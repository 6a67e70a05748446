/* The calls of another node that come over one connection. Its thread hands them to the replica
 * thread, a frame at a time, and sends what was answered meanwhile, many answers in a frame; it
 * waits for both at once. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "meta/call.h"
#include "meta/engine.h"
#include "meta/row.h"
#include "os/clock.h"

#define LINGER_MS 1000 /* without a call under way: then the thread is somebody else's */
#define FRAME_MS 10000 /* to receive the rest of a frame, or to send one */
#define FRAME_BYTES ((size_t)256 << 10) /* a frame this full is sent */

struct remote {
    struct meta *meta;
    int wake_fd;
    uint32_t under_way;  /* the thread's: calls without an answer */
    struct buf frame;    /* the thread's, */
    struct list sending; /* and of struct call: to go into it */

    atomic_uint refs;      /* the thread's, and one of each call under way */
    pthread_mutex_t mutex; /* of the rest */
    struct list answered;  /* struct call */
    bool asleep;           /* the thread is to be woken */
};

static struct remote *remote_new(struct meta *meta) {
    struct remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL || (remote->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        free(remote);
        return NULL;
    }
    remote->meta = meta;
    remote->frame.limit = RPC_BODY_MAX;
    atomic_init(&remote->refs, 1);
    pthread_mutex_init(&remote->mutex, NULL);
    list_init(&remote->answered);
    list_init(&remote->sending);
    return remote;
}

static void remote_unref(struct remote *remote) {
    if (atomic_fetch_sub(&remote->refs, 1) > 1)
        return;
    list_append(&remote->answered, &remote->sending);
    for (struct list *node; (node = list_pop_head(&remote->answered)) != NULL;)
        call_unref(LIST_ENTRY(node, struct call, node));
    close(remote->wake_fd);
    pthread_mutex_destroy(&remote->mutex);
    buf_fini(&remote->frame);
    free(remote);
}

/* ---- from whoever answers ---- */

static void deliver(struct call *call) {
    struct remote *remote = call->owner;
    pthread_mutex_lock(&remote->mutex);
    list_add_tail(&remote->answered, &call->node);
    bool wake = remote->asleep;
    remote->asleep = false;
    pthread_mutex_unlock(&remote->mutex);
    if (wake)
        (void)!write(remote->wake_fd, &(uint64_t){1}, sizeof(uint64_t)); /* cannot be full */
    remote_unref(remote);
}

/* ---- calls ---- */

static void refuse(struct call *call, int code, const char *story) {
    buf_puts(&call->reply, story);
    call_finish(call, code);
}

/* Onto the list of what the replica thread is asked, unless it can be answered at once. */
static void take_call(struct remote *remote, const struct meta_call *head, struct span bytes,
                      struct list *asked) {
    struct meta *meta = remote->meta;
    struct err err = {0};
    bool submit = head->kind == META_CALL_COMMAND;
    struct call *call = call_new_owned(submit ? CALL_SUBMIT : CALL_READ, head->group, bytes,
                                       deliver, remote, head->id);
    atomic_fetch_add(&remote->refs, 1);
    remote->under_way++;
    int r = submit ? meta_local_check_submit(meta, head->group, bytes, &err)
                   : meta_local_check_group(meta, head->group, &err);
    if (r != 0)
        refuse(call, r, err_message(&err, r));
    else if (!submit && atomic_load(&meta->groups[head->group].read_free))
        call_finish(call, 0);
    else
        list_add_tail(asked, &call->node);
}

static int take_calls(struct remote *remote, struct span body) {
    struct meta_call head;
    struct span bytes;
    struct list asked;
    int r;
    list_init(&asked);
    while ((r = row_next_call(&body, &head, &bytes)) == 0)
        take_call(remote, &head, bytes, &asked);
    mailbox_post_calls(&remote->meta->mailbox, &asked);
    return r == ERR_NOT_FOUND ? 0 : r;
}

/* ---- answers ---- */

static void query_carry_out(struct remote *remote, struct call *call) {
    struct err err = {0};
    struct span query = {call->command, call->command_size};
    int r = meta_local_stale_query(remote->meta, call->group, query, &call->reply, &err);
    if (r == 0 && call->reply.size > RPC_BODY_MAX - FRAME_BYTES)
        r = err_set(&err, ERR_LIMIT, "an answer of %zu bytes", call->reply.size);
    if (r == 0)
        return;
    buf_clear(&call->reply);
    buf_puts(&call->reply, err_message(&err, r));
    call->code = r;
}

static void add_answer(struct remote *remote, struct call *call) {
    if (call->kind == CALL_READ && call->code == 0)
        query_carry_out(remote, call);
    if (call->code != 0 && call->reply.size == 0)
        buf_puts(&call->reply, err_text(call->code));
    struct meta_call_answer head = {.id = call->id,
                                    .code = call->code,
                                    .leader = meta_local_leader(remote->meta, call->group),
                                    .size = (uint32_t)call->reply.size};
    row_add_answer(&remote->frame, &head, buf_span(&call->reply));
    remote->under_way--;
    call_unref(call);
}

/* Behind those that are left of before. Once there is nothing, the next answer wakes the thread. */
static bool take_answered(struct remote *remote) {
    pthread_mutex_lock(&remote->mutex);
    list_append(&remote->sending, &remote->answered);
    bool some = !list_is_empty(&remote->sending);
    remote->asleep = !some;
    pthread_mutex_unlock(&remote->mutex);
    return some;
}

static int send_frame(struct remote *remote, struct rpc_conn *conn) {
    buf_clear(&remote->frame);
    while (remote->frame.size < FRAME_BYTES && !list_is_empty(&remote->sending))
        add_answer(remote, LIST_ENTRY(list_pop_head(&remote->sending), struct call, node));
    if (remote->frame.failed)
        return ERR_NOMEM;
    struct iovec iov = {remote->frame.data, remote->frame.size};
    return rpc_send(conn, RPC_META_ANSWERS, &iov, 1, clock_deadline_ms(FRAME_MS), NULL);
}

static int send_answers(struct remote *remote, struct rpc_conn *conn) {
    int r = 0;
    (void)!read(remote->wake_fd, &(uint64_t){0}, sizeof(uint64_t)); /* or it was not woken */
    while (r == 0 && take_answered(remote))
        r = send_frame(remote, conn);
    return r;
}

/* ---- the thread ---- */

static int serve_calls(struct remote *remote, struct rpc_conn *conn, struct buf *body) {
    int r = take_calls(remote, buf_span(body));
    while (r == 0 && (r = send_answers(remote, conn)) == 0) {
        bool ready;
        uint16_t type;
        bool idle = remote->under_way == 0;
        r = rpc_wait_or(conn, remote->wake_fd, idle ? clock_deadline_ms(LINGER_MS) : DEADLINE_NONE,
                        &ready, NULL);
        if (r == ERR_TIMEOUT)
            return 0;
        if (r != 0 || !ready)
            continue;
        r = rpc_receive(conn, &type, body, clock_deadline_ms(FRAME_MS), NULL);
        if (r == 0)
            r = type == RPC_META_CALLS ? take_calls(remote, buf_span(body)) : ERR_PROTOCOL;
    }
    return r;
}

/* Calls that are under way when the connection ends are answered to nobody. */
int remote_serve(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    struct remote *remote = remote_new(context);
    if (remote == NULL)
        return ERR_NOMEM;
    int r = serve_calls(remote, conn, body);
    remote_unref(remote);
    return r;
}
