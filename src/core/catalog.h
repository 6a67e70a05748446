/* The catalogue: the state machine that every Paxos group replicates. Commands and queries are
 * packed pb messages (wire/catalog.proto); the state is an ordered map of bytes behind a small
 * table of functions, so that the server runs it over RocksDB and the simulator over memory.
 *
 * Deterministic: no clock, no randomness, no I/O of its own. An environment error from the map
 * (I/O, memory) is never a command's result: apply returns it and the caller stops the replica
 * (PAXOS.md 2.0, 10).
 *
 * A command is applied at most once, however often and late it is sent. The newest CATALOG_WINDOW
 * commands are remembered with their results: one that comes again is answered as before. A command
 * names a slot that was applied before it was first sent (since_slot); where commands after that
 * slot have been forgotten it may be one of them, and is refused with ERR_FORGOTTEN. The sender of
 * a first try that is refused so may name a newer slot: the reply's. */
#ifndef QUERN_CORE_CATALOG_H
#define QUERN_CORE_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define CATALOG_WINDOW 131072u

/* An ordered map. get appends to ret_value: 0, ERR_NOT_FOUND, or an environment error. Iterators
 * see own writes; spans live until the next move. put and delete are NULL for a read-only view. */
struct catalog_kv {
    void *context;
    int (*get)(void *context, struct span key, struct buf *ret_value, struct err *err);
    void (*put)(void *context, struct span key, struct span value);
    void (*del)(void *context, struct span key);
    void *(*iter_new)(void *context);
    void (*iter_free)(void *iter);
    void (*iter_seek)(void *iter, struct span key);
    bool (*iter_valid)(void *iter);
    void (*iter_next)(void *iter);
    struct span (*iter_key)(void *iter);
    struct span (*iter_value)(void *iter);
    int (*iter_error)(void *iter, struct err *err);
};

struct catalog;

/* Which group, and which of its states when there are two (one is used, the other is being fetched
 * or removed): all keys begin with it, big-endian u16. */
static inline uint32_t catalog_space(uint32_t group, uint32_t generation) {
    return generation << 8 | group;
}
static inline uint32_t catalog_group_of(uint32_t space) {
    return space & 0xffu;
}

/* One group's; reads the window of remembered ids from kv. group here and below is a space. */
int catalog_open(uint32_t group, const struct catalog_kv *kv, struct catalog **ret_catalog,
                 struct err *err);
struct catalog *catalog_close(struct catalog *catalog);

/* Applies the commands of one slot in order, through kv (one atomic batch of the caller's).
 * replies[i] gets command i's packed pb Reply; a command that is malformed or refused gets a Reply
 * with a code and changes nothing. One thread. */
int catalog_apply(struct catalog *catalog, const struct catalog_kv *kv, uint64_t slot,
                  const struct span *commands, unsigned count, struct buf *replies,
                  struct err *err);

/* Whether the command makes the state larger for good: not one that deletes, or that ends what was
 * begun. False for one that is malformed. Any thread. */
bool catalog_grows(struct span command);

/* Answers a packed pb Query from a read-only view with a packed pb Reply. Any thread. */
int catalog_query(uint32_t group, const struct catalog_kv *kv, struct span query,
                  struct buf *ret_reply, struct err *err);

#endif
