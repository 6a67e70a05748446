/* Sending to a peer what the replica thread has for it: many messages in a frame, over a connection
 * of its own. As long as that takes it all, nobody waits and the replica thread sends; a thread of
 * the peer connects, anew when it breaks, and sends what must wait. What does not fit in the queue
 * is dropped, as networks do.
 *
 * A frame RPC_PAXOS holds items, {u32 size, u32 kind, bytes}. */
#ifndef QUERN_META_PEER_H
#define QUERN_META_PEER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct meta;
struct paxos_message;
struct peer;

enum peer_item {
    PEER_MESSAGE = 1, /* a Paxos message */
    PEER_FLUSHED = 2  /* u64 by group: what the sender's state store holds durably */
};

struct peer *peer_start(struct meta *meta, uint32_t node);
struct peer *peer_stop(struct peer *peer); /* NULL is fine */

/* Takes over the message; it is sent with the next peer_flush, or by the thread. */
void peer_send(struct peer *peer, struct paxos_message *message);
/* Sends what was given to peer_send, as far as that goes without waiting: the thread does the rest.
 * Any thread. */
void peer_flush(struct peer *peer);
/* Tells the peer what is flushed here, soon. */
void peer_send_flushed(struct peer *peer);
/* How often in a row the peer refused a connection; 0 after one was made. Any thread. */
uint32_t peer_refusals(const struct peer *peer);

uint32_t peer_node(const struct peer *peer);
/* What was last heard of it. Any thread. */
void peer_note_heard(struct peer *peer, uint64_t now_ns);
uint64_t peer_heard_ns(const struct peer *peer); /* 0 = never */
void peer_note_flushed(struct peer *peer, uint32_t group, uint64_t slot);
uint64_t peer_flushed(const struct peer *peer, uint32_t group);

/* Takes the next item off a frame's body. ERR_NOT_FOUND at its end, ERR_PROTOCOL. */
int peer_item_next(struct span *body, enum peer_item *ret_kind, struct span *ret_item,
                   struct err *err);

#endif
