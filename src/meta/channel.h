/* Calls to the catalogue of another node, many under way at once over one connection. What is asked
 * while a frame is being sent goes out together with the next; answers come in any order and are
 * told by their ids. No thread sends: whoever asks does, for all who wait with it. One receives. */
#ifndef QUERN_META_CHANNEL_H
#define QUERN_META_CHANNEL_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct channel;
struct rpc_client;

/* leaders, by group: who leads it now, 0 when that is not known; outlives the channel. Panics when
 * out of memory. */
struct channel *channel_new(struct rpc_client *rpc, uint32_t node, const atomic_uint *leaders);
struct channel *channel_free(struct channel *channel); /* nobody may be calling */

struct channel_call {
    uint32_t kind; /* enum meta_call_kind */
    uint32_t group;
    struct span bytes; /* a packed Command or Query */
};

/* Waits for the answer, which is appended to ret_reply; *ret_leader is the group's as that node
 * knows it, or 0. Any thread. Errors: the node's; ERR_TIMEOUT, ERR_CLOSED and those of rpc_open,
 * after which what became of the call is unknown. */
int channel_call(struct channel *channel, const struct channel_call *call, uint64_t deadline_ns,
                 uint32_t *ret_leader, struct buf *ret_reply, struct err *err);

/* Another node leads the group: this one may hang, and who waits gets ERR_TIMEOUT. leaders says so
 * already. Any thread; brief. */
void channel_depose(struct channel *channel, uint32_t group);

uint32_t channel_node(const struct channel *channel);

#endif
