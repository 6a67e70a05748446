/* The channels to all nodes. Any thread. */
#ifndef QUERN_META_CHANNELS_H
#define QUERN_META_CHANNELS_H

#include "meta/channel.h"

#define CHANNELS_MAX 256u /* nodes; those beyond are not called: ERR_LIMIT */

struct channels;

struct channels *channels_new(struct rpc_client *rpc);
struct channels *channels_free(struct channels *channels); /* nobody may be calling */

/* channel_call() to a node. */
int channels_call(struct channels *channels, uint32_t node, const struct channel_call *call,
                  uint64_t deadline_ns, uint32_t *ret_leader, struct buf *ret_reply,
                  struct err *err);

/* The group is led by this node now, or it is not known by whom (0). Who waits for another one's
 * answer gets ERR_TIMEOUT, and so does who asks another one later. Brief. */
void channels_set_leader(struct channels *channels, uint32_t group, uint32_t leader);

#endif
