/* The scheduler: runs on every meta node, acts on the one that leads the root group. Grants leases
 * on tasks to workers that ask, takes their results, moves jobs through their phases and ends them.
 * All its state is in the root group. */
#ifndef QUERN_SCHED_SCHED_H
#define QUERN_SCHED_SCHED_H

#include "meta/client.h"
#include "rpc/rpc.h"
#include "store/client.h"

struct sched;

int sched_start(struct meta_client *meta, struct store_client *store, struct rpc_server *server,
                struct sched **ret_sched, struct err *err);
struct sched *sched_stop(struct sched *sched);

#endif
