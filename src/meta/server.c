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

static int take_flushed(struct meta *meta, struct peer *peer, struct span item) {
    if (item.size != meta->group_count * sizeof(uint64_t))
        return ERR_PROTOCOL;
    for (uint32_t g = 0; g < meta->group_count; g++) {
        uint64_t slot;
        memcpy(&slot, item.data + g * sizeof slot, sizeof slot);
        peer_note_flushed(peer, g, slot);
    }
    return 0;
}

static int take_frame(struct meta *meta, uint32_t node, struct span body) {
    struct peer *peer = node != meta->identity.node_id ? peers_get(meta, node) : NULL;
    enum peer_item kind;
    struct span item;
    if (peer == NULL)
        return ERR_PROTOCOL;
    peer_note_heard(peer, clock_now_ns());
    int r;
    while ((r = peer_item_next(&body, &kind, &item, NULL)) == 0) {
        if (kind == PEER_MESSAGE)
            r = take_message(meta, node, item);
        else if (kind == PEER_FLUSHED)
            r = take_flushed(meta, peer, item); /* unknown kinds are a newer peer's */
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

/* ---- queries ---- */

static int send_answer(struct rpc_conn *conn, struct meta_answer answer, const struct buf *reply,
                       const char *story) {
    struct iovec iov[2] = {{&answer, sizeof answer}, {reply->data, reply->size}};
    if (answer.code != 0)
        iov[1] = (struct iovec){(char *)(uintptr_t)story, strlen(story)};
    return rpc_send(conn, RPC_META_REPLY, iov, 2, clock_deadline_ms(ANSWER_MS), NULL);
}

static int handle_query(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
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
    int r = meta_local_query(meta, request.group, bytes, clock_deadline_ms(wait_ms), &reply, &err);
    struct meta_answer answer = {r, meta_local_leader(meta, request.group)};
    return send_answer(conn, answer, &reply, err_message(&err, r));
}

static int handle_status(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type, (void)body;
    struct meta *meta = context;
    struct meta_group_status groups[GROUPS_MAX];
    struct meta_status_row rows[GROUPS_MAX];
    unsigned count = meta_status(meta, groups, GROUPS_MAX);
    for (unsigned i = 0; i < count; i++) {
        const struct meta_group_status *group = &groups[i];
        rows[i] = (struct meta_status_row){.group = group->group,
                                           .leader = group->leader,
                                           .leads = group->leads,
                                           .hosted = (uint8_t)(group->hosted + group->damaged),
                                           .votes = group->votes,
                                           .voter_count = (uint8_t)group->voter_count,
                                           .ballot_round = group->ballot_round,
                                           .chosen_upto = group->chosen_upto,
                                           .applied_upto = group->applied_upto};
        memcpy(rows[i].voters, group->voters, sizeof rows[i].voters);
    }
    struct iovec iov = {rows, count * sizeof *rows};
    return rpc_send(conn, RPC_META_REPLY, &iov, 1, clock_deadline_ms(ANSWER_MS), NULL);
}

/* ---- replicas ---- */

static int handle_host(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct meta *meta = context;
    struct meta_replica replica;
    struct err err = {0};
    if (body->size != sizeof replica)
        return rpc_send_error(conn, ERR_PROTOCOL, "a request that is cut off",
                              clock_deadline_ms(ANSWER_MS), NULL);
    memcpy(&replica, body->data, sizeof replica);
    int r = type == RPC_META_MAKE ? host_make(meta, replica.group, &replica.born, &err)
                                  : host_drop(meta, replica.group, replica.born, &err);
    if (r != 0)
        return rpc_send_error(conn, r, err_message(&err, r), clock_deadline_ms(ANSWER_MS), NULL);
    struct iovec iov = {&replica, sizeof replica};
    return rpc_send(conn, RPC_META_REPLY, &iov, 1, clock_deadline_ms(ANSWER_MS), NULL);
}

static int handle_view(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type, (void)body;
    struct meta *meta = context;
    struct meta_replica rows[GROUPS_MAX];
    for (uint32_t g = 0; g < meta->group_count; g++)
        rows[g] = (struct meta_replica){g, replicas_get(&meta->replicas, g).born};
    struct iovec iov = {rows, meta->group_count * sizeof *rows};
    return rpc_send(conn, RPC_META_REPLY, &iov, 1, clock_deadline_ms(ANSWER_MS), NULL);
}

void server_add_handlers(struct meta *meta, struct rpc_server *server) {
    rpc_server_handle(server, RPC_PAXOS, handle_paxos, meta);
    rpc_server_handle(server, RPC_META_CALLS, remote_serve, meta);
    rpc_server_handle(server, RPC_META_QUERY, handle_query, meta);
    rpc_server_handle(server, RPC_META_STATUS, handle_status, meta);
    rpc_server_handle(server, RPC_META_MAKE, handle_host, meta);
    rpc_server_handle(server, RPC_META_DROP, handle_host, meta);
    rpc_server_handle(server, RPC_META_VIEW, handle_view, meta);
    rpc_server_handle(server, RPC_META_SNAPSHOT, snapshot_serve, meta);
}
