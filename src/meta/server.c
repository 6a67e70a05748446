/* What other nodes send: Paxos frames, and calls to the catalogue. */
#include <string.h>

#include "base/cleanup.h"
#include "meta/engine.h"
#include "meta/request.h"
#include "os/clock.h"

#define SILENT_MS                                                                                  \
    60000 /* a peer that sends nothing for so long is gone; keepers send every few seconds */
#define ANSWER_MS 10000 /* to write an answer */
#define WAIT_MS_MAX 60000

/* ---- Paxos ---- */

static int take_message(struct meta *meta, uint32_t node, struct span item) {
    struct paxos_message *message;
    int r = paxos_message_decode(item, &message, NULL);
    if (r != 0)
        return r;
    if (message->from != node) {
        paxos_message_free(message);
        return ERR_PROTOCOL;
    }
    mailbox_post_message(&meta->mailbox, message);
    return 0;
}

static int take_flushed(struct meta *meta, uint32_t voter, struct span item) {
    if (item.size != meta->group_count * sizeof(uint64_t))
        return ERR_PROTOCOL;
    for (uint32_t g = 0; g < meta->group_count; g++) {
        uint64_t slot;
        memcpy(&slot, item.data + g * sizeof slot, sizeof slot);
        atomic_store(&meta->flushed[voter][g], slot);
    }
    return 0;
}

static int take_frame(struct meta *meta, uint32_t node, struct span body) {
    uint32_t voter = meta_voter(meta, node);
    enum peer_item kind;
    struct span item;
    if (voter == meta->voter_count)
        return ERR_PROTOCOL;
    atomic_store(&meta->heard_ns[voter], clock_now_ns());
    int r;
    while ((r = peer_item_next(&body, &kind, &item, NULL)) == 0) {
        if (kind == PEER_MESSAGE)
            r = take_message(meta, node, item);
        else if (kind == PEER_FLUSHED)
            r = take_flushed(meta, voter, item); /* unknown kinds are a newer peer's */
        if (r != 0)
            return r;
    }
    return r == ERR_NOT_FOUND ? 0 : r;
}

/* One-way: frames until the peer goes away. That it went is a hint that it crashed. */
static int handle_paxos(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct meta *meta = context;
    uint32_t node = rpc_conn_node(conn);
    int r = 0;
    while (r == 0 && type == RPC_PAXOS) {
        r = take_frame(meta, node, buf_span(body));
        if (r == 0)
            r = rpc_receive(conn, &type, body, clock_deadline_ms(SILENT_MS), NULL);
    }
    if (r == ERR_CLOSED)
        mailbox_post_reset(&meta->mailbox, node);
    return r != 0 ? r : ERR_PROTOCOL;
}

/* ---- calls ---- */

static int send_answer(struct rpc_conn *conn, struct meta_answer answer, const struct buf *reply,
                       const char *story) {
    struct iovec iov[2] = {{&answer, sizeof answer}, {reply->data, reply->size}};
    if (answer.code != 0)
        iov[1] = (struct iovec){(char *)(uintptr_t)story, strlen(story)};
    return rpc_send(conn, RPC_META_REPLY, iov, 2, clock_deadline_ms(ANSWER_MS), NULL);
}

static int handle_call(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct meta *meta = context;
    struct meta_request request;
    if (body->size < sizeof request)
        return rpc_send_error(conn, ERR_PROTOCOL, "a request that is cut off",
                              clock_deadline_ms(ANSWER_MS), NULL);
    memcpy(&request, body->data, sizeof request);
    struct span bytes = {body->data + sizeof request, body->size - sizeof request};
    uint32_t wait_ms = request.wait_ms < WAIT_MS_MAX ? request.wait_ms : WAIT_MS_MAX;
    _cleanup_(buf_finip) struct buf reply = {.limit = RPC_BODY_MAX - sizeof(struct meta_answer)};
    struct err err = {0};
    int r = (type == RPC_META_SUBMIT ? meta_local_submit : meta_local_query)(
        meta, request.group, bytes, clock_deadline_ms(wait_ms), &reply, &err);
    struct meta_answer answer = {r, meta_local_leader(meta, request.group)};
    return send_answer(conn, answer, &reply, err_message(&err, r));
}

static int handle_status(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type, (void)body;
    struct meta *meta = context;
    struct meta_group_status groups[GROUPS_MAX];
    struct meta_status_row rows[GROUPS_MAX];
    unsigned count = meta_status(meta, groups, GROUPS_MAX);
    for (unsigned i = 0; i < count; i++)
        rows[i] = (struct meta_status_row){.group = groups[i].group,
                                           .leader = groups[i].leader,
                                           .leads = groups[i].leads,
                                           .ballot_round = groups[i].ballot_round,
                                           .chosen_upto = groups[i].chosen_upto,
                                           .applied_upto = groups[i].applied_upto};
    struct iovec iov = {rows, count * sizeof *rows};
    return rpc_send(conn, RPC_META_REPLY, &iov, 1, clock_deadline_ms(ANSWER_MS), NULL);
}

void server_add_handlers(struct meta *meta, struct rpc_server *server) {
    rpc_server_handle(server, RPC_PAXOS, handle_paxos, meta);
    rpc_server_handle(server, RPC_META_SUBMIT, handle_call, meta);
    rpc_server_handle(server, RPC_META_QUERY, handle_call, meta);
    rpc_server_handle(server, RPC_META_STATUS, handle_status, meta);
}
