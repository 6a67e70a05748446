/* One connection between nodes: frames in and out through a small read buffer. Inside rpc/ only. */
#ifndef QUERN_RPC_CONN_H
#define QUERN_RPC_CONN_H

#include <stdatomic.h>

#include "base/list.h"
#include "rpc/rpc.h"
#include "wire/frame.h"

#define RPC_BUFFER_BYTES 4096

struct rpc_conn {
    int fd;        /* the server's connections belong to os/server */
    uint32_t node; /* the other end, once greeted */
    bool greeted;
    atomic_bool broken; /* a failure left it out of step: only to be closed */
    bool pooled;        /* came from the pool, so that the peer may have closed it meanwhile */
    bool heard;         /* a byte came since it was opened */
    struct list node_in_pool; /* client */
    uint64_t released_ns;
    size_t start, end; /* of what is read and not yet taken from buffer */
    uint8_t buffer[RPC_BUFFER_BYTES];
};

struct rpc_conn *rpc_conn_new(int fd); /* NULL: out of memory */

int rpc_send_hello(struct rpc_conn *conn, const struct rpc_identity *self, uint64_t deadline_ns,
                   struct err *err);
/* Receives the other's hello and checks version and cluster; sets conn->node. WRONG_CLUSTER,
 * VERSION, PROTOCOL. */
int rpc_receive_hello(struct rpc_conn *conn, const struct rpc_identity *self, uint64_t deadline_ns,
                      struct err *err);

static inline bool rpc_conn_has_bytes(const struct rpc_conn *conn) {
    return conn->start < conn->end;
}

#endif
