/* Sending to a peer. */
#include "meta/peer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "meta/engine.h"
#include "os/clock.h"

#define QUEUE_MAX 1024u
#define QUEUE_BYTES_MAX ((size_t)32 << 20)
#define ITEM_HEAD 8u
#define FRAME_BYTES_MAX (RPC_BODY_MAX - PAXOS_MESSAGE_MAX) /* a frame this full is sent */
#define CONNECT_MS 300
#define SEND_MS 2000
#define RETRY_MS 20 /* between attempts to connect */

struct peer {
    struct meta *meta;
    uint32_t node;
    pthread_t thread;
    struct rpc_conn *conn; /* the sender's, as the next two; NULL = none */
    struct buf frame;
    struct buf rest;   /* of a frame, to be sent before others */
    uint64_t retry_ns; /* the thread's: not connected before */
    atomic_uint refusals;
    _Atomic uint64_t heard_ns;
    _Atomic uint64_t flushed_slots[GROUPS_MAX]; /* that its state store holds durably, as it said */

    pthread_mutex_t mutex; /* of the rest */
    pthread_cond_t queued;
    struct paxos_message *queue[QUEUE_MAX]; /* a ring */
    uint32_t first;
    uint32_t count;
    size_t bytes;
    bool flushed;
    bool sending; /* somebody does */
    bool stopping;
};

void peer_send(struct peer *peer, struct paxos_message *message) {
    size_t size = paxos_message_size(message);
    pthread_mutex_lock(&peer->mutex);
    bool room = peer->count < QUEUE_MAX && peer->bytes + size <= QUEUE_BYTES_MAX;
    if (room) {
        peer->queue[(peer->first + peer->count++) % QUEUE_MAX] = message;
        peer->bytes += size;
    }
    pthread_mutex_unlock(&peer->mutex);
    if (!room)
        paxos_message_free(message);
}

void peer_send_flushed(struct peer *peer) {
    pthread_mutex_lock(&peer->mutex);
    peer->flushed = true;
    pthread_cond_signal(&peer->queued);
    pthread_mutex_unlock(&peer->mutex);
}

uint32_t peer_refusals(const struct peer *peer) {
    return atomic_load(&peer->refusals);
}

uint32_t peer_node(const struct peer *peer) {
    return peer->node;
}

void peer_note_heard(struct peer *peer, uint64_t now_ns) {
    atomic_store(&peer->heard_ns, now_ns);
}

uint64_t peer_heard_ns(const struct peer *peer) {
    return atomic_load(&peer->heard_ns);
}

void peer_note_flushed(struct peer *peer, uint32_t group, uint64_t slot) {
    atomic_store(&peer->flushed_slots[group], slot);
}

uint64_t peer_flushed(const struct peer *peer, uint32_t group) {
    return atomic_load(&peer->flushed_slots[group]);
}

/* ---- frames ---- */

static void item_head(struct buf *frame, size_t size, enum peer_item kind) {
    uint32_t head[2] = {(uint32_t)size, (uint32_t)kind};
    buf_append(frame, head, sizeof head);
}

static void message_add(struct buf *frame, struct paxos_message *message) {
    item_head(frame, paxos_message_size(message), PEER_MESSAGE);
    paxos_message_encode(message, frame);
    paxos_message_free(message);
}

static void flushed_add(struct meta *meta, struct buf *frame) {
    item_head(frame, meta->group_count * sizeof(uint64_t), PEER_FLUSHED);
    bool damaged = damage_is_final(meta);
    for (uint32_t g = 0; g < meta->group_count; g++) {
        uint64_t slot = damaged ? 0 : atomic_load(&meta->groups[g].flushed);
        buf_append(frame, &slot, sizeof slot);
    }
}

int peer_item_next(struct span *body, enum peer_item *ret_kind, struct span *ret_item,
                   struct err *err) {
    uint32_t head[2];
    if (body->size == 0)
        return ERR_NOT_FOUND;
    if (body->size < ITEM_HEAD)
        return err_set(err, ERR_PROTOCOL, "an item's head is cut off");
    memcpy(head, body->data, sizeof head);
    if (head[0] > body->size - ITEM_HEAD)
        return err_set(err, ERR_PROTOCOL, "an item of %u bytes is cut off", head[0]);
    *ret_kind = (enum peer_item)head[1];
    *ret_item = (struct span){body->data + ITEM_HEAD, head[0]};
    body->data += ITEM_HEAD + head[0];
    body->size -= ITEM_HEAD + head[0];
    return 0;
}

static bool has_work(const struct peer *peer) {
    return peer->count > 0 || peer->flushed || peer->rest.size > 0;
}

/* Fills the frame from the queue. The mutex is held, but not all the time. */
static void frame_gather(struct peer *peer) {
    struct buf *frame = &peer->frame;
    buf_clear(frame);
    if (peer->flushed)
        flushed_add(peer->meta, frame);
    peer->flushed = false;
    while (peer->count > 0 && frame->size < FRAME_BYTES_MAX && !peer->stopping) {
        struct paxos_message *message = peer->queue[peer->first];
        peer->first = (peer->first + 1) % QUEUE_MAX;
        peer->count--;
        peer->bytes -= paxos_message_size(message);
        pthread_mutex_unlock(&peer->mutex);
        message_add(frame, message);
        pthread_mutex_lock(&peer->mutex);
    }
}

static void disconnect(struct peer *peer) {
    rpc_release(peer->meta->client, peer->conn, false);
    peer->conn = NULL;
    buf_clear(&peer->rest);
    mailbox_post_reset(&peer->meta->mailbox, peer->node);
}

/* ---- whoever flushes ---- */

static void frame_send_now(struct peer *peer) {
    if (peer->frame.failed)
        return;
    if (rpc_send_now(peer->conn, RPC_PAXOS, buf_span(&peer->frame), &peer->rest, NULL) != 0)
        disconnect(peer);
}

void peer_flush(struct peer *peer) {
    pthread_mutex_lock(&peer->mutex);
    if (!peer->sending && peer->conn != NULL && peer->rest.size == 0 && has_work(peer)) {
        peer->sending = true;
        frame_gather(peer);
        pthread_mutex_unlock(&peer->mutex);
        frame_send_now(peer);
        pthread_mutex_lock(&peer->mutex);
        peer->sending = false;
    }
    if (!peer->sending && has_work(peer)) /* who is sending looks again */
        pthread_cond_signal(&peer->queued);
    pthread_mutex_unlock(&peer->mutex);
}

/* ---- the thread ---- */

static bool peer_connect(struct peer *peer) {
    if (peer->conn != NULL)
        return true;
    if (clock_now_ns() < peer->retry_ns)
        return false;
    int r =
        rpc_open(peer->meta->client, peer->node, clock_deadline_ms(CONNECT_MS), &peer->conn, NULL);
    if (r == 0)
        atomic_store(&peer->refusals, 0);
    else if (r == ERR_REFUSED && atomic_fetch_add(&peer->refusals, 1) == 0)
        mailbox_post_reset(&peer->meta->mailbox, peer->node);
    peer->retry_ns = clock_deadline_ms(RETRY_MS);
    return r == 0;
}

static void frame_send(struct peer *peer) {
    uint64_t deadline_ns = clock_deadline_ms(SEND_MS);
    struct iovec iov = {peer->frame.data, peer->frame.size};
    int r = 0;
    if (peer->rest.size > 0)
        r = rpc_send_rest(peer->conn, buf_span(&peer->rest), deadline_ns, NULL);
    if (r == 0 && iov.iov_len > 0)
        r = rpc_send(peer->conn, RPC_PAXOS, &iov, 1, deadline_ns, NULL);
    if (r != 0)
        disconnect(peer);
    buf_clear(&peer->rest);
}

static void *send_frames(void *argument) {
    struct peer *peer = argument;
    pthread_setname_np(pthread_self(), "peer");
    pthread_mutex_lock(&peer->mutex);
    while (!peer->stopping) {
        if (peer->sending || !has_work(peer)) {
            pthread_cond_wait(&peer->queued, &peer->mutex);
            continue;
        }
        peer->sending = true;
        frame_gather(peer);
        pthread_mutex_unlock(&peer->mutex);
        if (!peer->frame.failed && peer_connect(peer)) /* else it is lost */
            frame_send(peer);
        pthread_mutex_lock(&peer->mutex);
        peer->sending = false;
    }
    pthread_mutex_unlock(&peer->mutex);
    return NULL;
}

struct peer *peer_start(struct meta *meta, uint32_t node) {
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        panic("out of memory for a peer");
    peer->meta = meta;
    peer->node = node;
    peer->frame.limit = RPC_BODY_MAX;
    pthread_mutex_init(&peer->mutex, NULL);
    pthread_cond_init(&peer->queued, NULL);
    if (pthread_create(&peer->thread, NULL, send_frames, peer) != 0)
        panic("cannot start a peer's thread");
    return peer;
}

struct peer *peer_stop(struct peer *peer) {
    if (peer == NULL)
        return NULL;
    pthread_mutex_lock(&peer->mutex);
    peer->stopping = true;
    pthread_cond_signal(&peer->queued);
    pthread_mutex_unlock(&peer->mutex);
    pthread_join(peer->thread, NULL);
    rpc_release(peer->meta->client, peer->conn, false);
    buf_fini(&peer->frame);
    buf_fini(&peer->rest);
    for (; peer->count > 0; peer->count--, peer->first = (peer->first + 1) % QUEUE_MAX)
        paxos_message_free(peer->queue[peer->first]);
    free(peer);
    return NULL;
}
