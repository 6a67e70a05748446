/* A stream of a chunk's bytes from another node: what the client's reads and repair share. */
#ifndef QUERN_STORE_PEER_H
#define QUERN_STORE_PEER_H

#include "os/clock.h"
#include "rpc/rpc.h"
#include "store/client.h"
#include "store/message.h"

#define PEER_OPEN_MS_MAX 2000  /* to connect to a node */
#define PEER_STALL_MS_MAX 5000 /* a node that takes no byte, or gives none, for so long is left */

static inline uint64_t deadline_within(uint64_t deadline_ns, uint64_t ms) {
    uint64_t soon_ns = clock_deadline_ms(ms);
    return soon_ns < deadline_ns ? soon_ns : deadline_ns;
}

/* Reads the range of the node's copy; the data was verified there and on the way. Not 0 from the
 * sink ends it with that code. */
int peer_read(struct rpc_client *rpc, uint32_t node, const struct chunk_read_request *range,
              store_sink *sink, void *context, uint64_t deadline_ns, struct err *err);

#endif
