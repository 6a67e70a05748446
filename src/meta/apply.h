/* The applier: chosen slots become changes of the state store, in order, many in one batch, and
 * their callers are answered. What a batch holds of a group and the group's applied slot are
 * written together (PAXOS.md 2.10). */
#ifndef QUERN_META_APPLY_H
#define QUERN_META_APPLY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/span.h"

struct call;
struct group;
struct kv_batch;
struct meta;
struct paxos_chosen;

/* The calls whose commands were proposed in one slot, in its order. */
struct proposal {
    struct list node; /* of its group's, until it is chosen */
    uint32_t count;
    struct call *calls[]; /* a reference each */
};

struct applier {
    pthread_t thread;
    struct kv_batch *batch;
    struct span *commands; /* BATCH_COMMANDS_MAX of them, */
    struct buf *replies;   /* and of them */
    bool ended;            /* the state store is damaged: nothing is applied any more */
    pthread_mutex_t mutex; /* of the rest */
    pthread_cond_t queued;
    struct list queue;
    bool stopping;
};

void applier_init(struct meta *meta);
void applier_fini(struct meta *meta);
void applier_start(struct meta *meta);
void applier_stop(struct meta *meta); /* what is queued is applied first */

/* Takes over the value's reference and the proposal of chosen->cookie. Never blocks for long. */
void applier_queue(struct group *group, const struct paxos_chosen *chosen);
/* Then the group's state is removed, and its catalogue closed; group->erasing tells when. */
void applier_queue_erase(struct group *group);
/* Applies all that is queued, in the caller's thread: recovery, before the start. ERR_CORRUPT: the
 * state store is damaged. Any other environment error panics. */
int applier_drain(struct meta *meta, struct err *err);

#endif
