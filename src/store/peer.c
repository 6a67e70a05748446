/* Reading chunks of other nodes. */
#include "store/peer.h"

#include <stdlib.h>

#include "base/cleanup.h"

static int receive_range(struct rpc_conn *conn, void *piece, uint64_t length, store_sink *sink,
                         void *context, uint64_t deadline_ns, struct err *err) {
    for (;;) {
        uint16_t type;
        size_t size;
        int rc = rpc_receive_into(conn, &type, piece, CHUNK_FRAME_BYTES, &size,
                                  deadline_within(deadline_ns, PEER_STALL_MS_MAX), err);
        if (rc != 0)
            return rc;
        if (type == RPC_CHUNK_END && length == 0)
            return 0;
        if (type != RPC_CHUNK_DATA || size > length)
            return err_set(err, ERR_PROTOCOL, "node %u: a malformed answer to a read",
                           rpc_conn_node(conn));
        rc = sink(context, piece, size);
        if (rc != 0)
            return rc;
        length -= size;
    }
}

int peer_read(struct rpc_client *rpc, uint32_t node, const struct chunk_read_request *range,
              store_sink *sink, void *context, uint64_t deadline_ns, struct err *err) {
    struct rpc_conn *conn;
    int rc = rpc_open(rpc, node, deadline_within(deadline_ns, PEER_OPEN_MS_MAX), &conn, err);
    if (rc != 0)
        return rc;
    struct iovec iov = {(void *)(uintptr_t)range, sizeof *range};
    _cleanup_(freep) void *piece = malloc(CHUNK_FRAME_BYTES);
    if (piece == NULL)
        rc = err_set(err, ERR_NOMEM, "a piece of a chunk");
    if (rc == 0)
        rc = rpc_send(conn, RPC_CHUNK_READ, &iov, 1,
                      deadline_within(deadline_ns, PEER_STALL_MS_MAX), err);
    if (rc == 0)
        rc = receive_range(conn, piece, range->length, sink, context, deadline_ns, err);
    rpc_release(rpc, conn, rc == 0);
    return rc;
}
