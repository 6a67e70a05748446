/* The work of one round of repair: what is found missing, and its fetching. By the repair thread.
 */
#ifndef QUERN_STORE_REPAIR_WORK_H
#define QUERN_STORE_REPAIR_WORK_H

#include "store/local.h"
#include "store/message.h"

#define MISSING_MAX 4096u

/* A chunk that a peer has and this node has not. */
struct missing {
    struct chunk_list_item item;
    uint32_t node; /* that has it */
};

struct repair_work {
    struct store *store;
    const atomic_bool *stopping;         /* whatever is being done is to end soon */
    struct missing missing[MISSING_MAX]; /* a chunk may be there twice, by two peers */
    unsigned count;
    atomic_uint next;                   /* to be fetched */
    atomic_uint_fast64_t fetched_count; /* of all rounds */
};

/* Adds what the peer has and this node should have, and deletes what the peer knows to be dead. */
int repair_compare(struct repair_work *work, const struct place_map *map, uint32_t peer,
                   struct err *err);

/* To be called before the next two: entries of one chunk, by several peers, then lie together. */
void repair_sort(struct repair_work *work);

/* Fetches the list. */
void repair_fetch(struct repair_work *work);

/* How many chunks of the list are not here. */
unsigned repair_count_missing(struct repair_work *work);

#endif
