/* A chunk on its way to all its holders at once: to those that are up when it is opened, in blocks.
 * A holder that fails, or takes no byte for PEER_STALL_MS_MAX, is dropped as long as a majority of
 * the slice's owners remains. One thread. */
#ifndef QUERN_STORE_FANOUT_H
#define QUERN_STORE_FANOUT_H

#include "store/client_internal.h"

struct holder {
    uint32_t node;
    struct rpc_conn *conn;     /* another node's, or NULL */
    struct local_write *local; /* this node's, or NULL */
    bool durable;
};

struct fanout {
    struct store_client *client;
    struct id128 id;
    uint64_t epoch; /* of the map that gave the holders */
    struct holder holders[PLACE_REPLICAS_MAX];
    unsigned holder_count;
    unsigned needed;    /* of them: a majority of the owners */
    struct err failure; /* of the holder that failed last; ERR_STALE stays and is everybody's */
};

/* Draws an id and opens its holders. On failure, and at the end, call fanout_close. Errors:
 * ERR_BUSY when no slice has enough holders up, ERR_STALE when the owners are others by now, or why
 * the majority was lost; of all calls. */
int fanout_open(struct fanout *fanout, struct store_client *client, uint64_t length_max,
                uint64_t deadline_ns, struct err *err);
int fanout_send(struct fanout *fanout, const char *data, size_t size, uint64_t deadline_ns,
                struct err *err);
/* Returns once a majority is durable; the rest get a moment, and complete by themselves. */
int fanout_end(struct fanout *fanout, uint64_t length, uint32_t crc32c, uint64_t deadline_ns,
               struct err *err);
/* Holders that were not told the end drop what they have. Also of a zeroed or closed one. */
void fanout_close(struct fanout *fanout);

#endif
