/* The catalogue as others see it: commands and queries to a Paxos group, wherever its leader is.
 * Any thread; blocks.
 *
 * A local replica is called directly; otherwise the call goes to the leader over rpc, following its
 * changes until the deadline. A command is carried out at most once, however often it was sent
 * (core/catalog.h). One that failed with an error that err_is_transient() names is indeterminate:
 * it may have been chosen, or still be. After any other error it was not carried out. */
#ifndef QUERN_META_CLIENT_H
#define QUERN_META_CLIENT_H

#include "base/arena.h"
#include "base/err.h"
#include "core/place.h"
#include "wire/pb.h"

#define META_ROOT 0u

struct meta; /* this node's replicas: meta/meta.h */
struct meta_client;
struct map_cache;
struct rpc_client;

/* local may be NULL (a process that is no node). maps has the first cluster map known and gets
 * newer ones. Both outlive the client. */
struct meta_client *meta_client_new(struct meta *local, struct rpc_client *rpc,
                                    struct map_cache *maps);
struct meta_client *meta_client_free(struct meta_client *client);

/* Proposes the command, whose id, time and since_slot are set here; returns once it was chosen,
 * durable on a majority and applied. The reply is unpacked into the arena; a reply with a code
 * other than 0 is returned as that error (ret_reply is set as well). */
int meta_submit(struct meta_client *client, uint32_t group, const Pb__Command *command,
                uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err);

/* A linearizable read. Errors as above. */
int meta_query(struct meta_client *client, uint32_t group, const Pb__Query *query,
               uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err);

/* The newest cluster map this node knows; the caller drops the reference. Never NULL, never blocks.
 */
struct place_map *meta_map(struct meta_client *client);
/* Asks the root group for a newer one than epoch (a store said STALE); returns what is then known.
 */
struct place_map *meta_map_refresh(struct meta_client *client, uint64_t epoch,
                                   uint64_t deadline_ns);

/* Whether this node leads the group now (a hint: leadership is proven only by a chosen command). */
bool meta_leads(struct meta_client *client, uint32_t group);

#endif
