/* Calls between the nodes of a cluster, over wire/frame.h and os/server.h.
 *
 * A connection carries one exchange at a time, as HTTP keep-alive does: the caller sends a request
 * frame (and, for streams, more), the handler answers with one or more frames, and both sides know
 * from the message type when it is over. The caller then gives the connection back to its pool.
 * Paxos messages are one-way: a connection of their own and nothing is answered. Every connection
 * opens with a hello that names cluster, node and incarnation; strangers are refused.
 *
 * A frame = {u32 magic, u16 type, u16 flags, u32 length, u32 crc32c of the body, u32 crc32c of the
 * header}, then length bytes of body, at most RPC_BODY_MAX. */
#ifndef QUERN_RPC_RPC_H
#define QUERN_RPC_RPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/span.h"

#define RPC_BODY_MAX ((uint32_t)4 << 20)

enum rpc_type {
#define X(number, name) RPC_##name = number,
#include "tbl/rpc_types.h"
#undef X
};

struct rpc_identity {
    struct id128 cluster_id;
    struct id128 incarnation;
    uint32_t node_id;
};

/* ---- either side of a connection ---- */

struct rpc_conn; /* one thread at a time; or one that sends and one that receives */

/* Sends one frame gathered from iov (at most 8 parts). */
int rpc_send(struct rpc_conn *conn, uint16_t type, const struct iovec *iov, int count,
             uint64_t deadline_ns, struct err *err);

/* The like without waiting: what does not fit the socket's buffer now is appended to rest, to be
 * sent by rpc_send_rest before anything else. */
int rpc_send_now(struct rpc_conn *conn, uint16_t type, struct span body, struct buf *rest,
                 struct err *err);
int rpc_send_rest(struct rpc_conn *conn, struct span rest, uint64_t deadline_ns, struct err *err);

/* Receives one frame. Its body replaces what is in body (reuse one buffer). ERR_CLOSED,
 * ERR_TIMEOUT, ERR_CORRUPT. A frame of type RPC_ERROR becomes that error, with the remote's story.
 */
int rpc_receive(struct rpc_conn *conn, uint16_t *ret_type, struct buf *body, uint64_t deadline_ns,
                struct err *err);

/* The like, into the caller's memory: the body's size goes to *ret_size; larger than room is
 * ERR_LIMIT. */
int rpc_receive_into(struct rpc_conn *conn, uint16_t *ret_type, void *data, size_t room,
                     size_t *ret_size, uint64_t deadline_ns, struct err *err);

/* Waits until something can be received: 0, or ERR_TIMEOUT, which leaves the connection in step. */
int rpc_wait(struct rpc_conn *conn, uint64_t deadline_ns, struct err *err);
/* The like; also ends when the descriptor wake_fd becomes readable. *ret_ready: something can be
 * received. */
int rpc_wait_or(struct rpc_conn *conn, int wake_fd, uint64_t deadline_ns, bool *ret_ready,
                struct err *err);
/* Whoever sends or receives now, and later, is told ERR_CLOSED. Any thread. */
void rpc_shutdown(struct rpc_conn *conn);

/* Answers with an error (an RPC_ERROR frame). */
int rpc_send_error(struct rpc_conn *conn, int code, const char *message, uint64_t deadline_ns,
                   struct err *err);

uint32_t rpc_conn_node(const struct rpc_conn *conn); /* the other end, from its hello */
int rpc_conn_fd(const struct rpc_conn *conn);

/* ---- calling ---- */

struct rpc_client; /* the pools of connections to all peers; any thread */

/* Asks where a node is: writes "HOST:PORT"; returns ERR_NOT_FOUND for an unknown one. Any thread.
 */
typedef int rpc_resolve(void *context, uint32_t node_id, char *ret_address, size_t size);

struct rpc_client *rpc_client_new(const struct rpc_identity *self, rpc_resolve *resolve,
                                  void *context);
struct rpc_client *rpc_client_free(struct rpc_client *client);

/* A connection to the node, pooled or new; checks that the node at the other end is the one meant.
 */
int rpc_open(struct rpc_client *client, uint32_t node_id, uint64_t deadline_ns,
             struct rpc_conn **ret_conn, struct err *err);
/* Gives it back: reusable only when the exchange is over (an error that the other end sent may end
 * it, too); else it is closed, as is one on which a send or receive failed, whatever is said here.
 * NULL is fine. */
void rpc_release(struct rpc_client *client, struct rpc_conn *conn, bool reusable);

/* One request frame, one reply frame. A pooled connection that turns out to be dead before any byte
 * of the reply is tried once more on a new one: only for messages that may be sent twice, so say so
 * with idempotent. */
int rpc_call(struct rpc_client *client, uint32_t node_id, uint16_t type, struct span request,
             bool idempotent, uint64_t deadline_ns, struct buf *ret_reply, struct err *err);

/* ---- serving ---- */

/* Deals with one exchange that began with the frame (type, body). Pool thread; may block, send and
 * receive. Returns 0 when the connection is in step and may carry the next exchange, else it is
 * closed. body is the handler's to overwrite. */
typedef int rpc_handler(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body);

struct rpc_server;

/* Listens on listen_fd (ownership passes). Handlers are added before it starts. */
struct rpc_server *rpc_server_new(const struct rpc_identity *self);
void rpc_server_handle(struct rpc_server *server, uint16_t type, rpc_handler *handler,
                       void *context);
int rpc_server_start(struct rpc_server *server, int listen_fd, struct err *err);
void rpc_server_stop(struct rpc_server *server); /* no handler runs when it returns */
struct rpc_server *rpc_server_free(struct rpc_server *server);

#endif
