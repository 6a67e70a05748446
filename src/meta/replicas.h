/* Which replicas of Paxos groups a node has: DIR/replicas, replaced whole. What it says is durable
 * before it is acted upon.
 *
 * A replica is known by its node and its birth. Births of a node are never used twice: the founders
 * of a cluster were born 1, later ones are numbered by the node's start and a count. A replica
 * whose row is gone, or names another birth, never existed any more: nothing in log or state store
 * counts for it.
 *
 *     u64 magic, u32 version, u32 rows, then {u32 born, u32 zero, u64 since_seq, u64 trimmed_upto}
 *     each, u32 crc32c of all before it; little-endian
 *
 * Any thread; blocks for the disk. */
#ifndef QUERN_META_REPLICAS_H
#define QUERN_META_REPLICAS_H

#include <pthread.h>

#include "core/place.h"

struct replica_row {
    uint32_t born;         /* 0 = none */
    uint64_t since_seq;    /* what the log lost before it was not this replica's */
    uint64_t trimmed_upto; /* slots that the log need not hold any more */
};

struct replicas {
    char *path;
    uint32_t boot;
    pthread_mutex_t mutex; /* of the rest */
    uint32_t births;       /* in this process */
    struct replica_row rows[PLACE_GROUPS_MAX];
};

#define REPLICA_FOUNDER 1u /* the birth of those a cluster begins with */

/* The founders that the map places on node (NULL: none), written to dir (made when absent). Before
 * the node has an identity: from then on a table that is missing was lost, and its promises with
 * it. */
int replicas_found(const char *dir, const struct place_map *map, uint32_t node, struct err *err);

/* A table that is missing has no replicas. boot grows with every start. Errors: ERR_CORRUPT,
 * ERR_VERSION, ERR_IO. */
int replicas_open(struct replicas *replicas, const char *dir, uint32_t boot, struct err *err);
void replicas_close(struct replicas *replicas); /* also of a zeroed one */

struct replica_row replicas_get(struct replicas *replicas, uint32_t group);
/* A new replica of a group that has none. */
int replicas_make(struct replicas *replicas, uint32_t group, uint64_t since_seq, uint32_t *ret_born,
                  struct err *err);
int replicas_drop(struct replicas *replicas, uint32_t group, struct err *err);
/* By group, count of them; before the log is trimmed. */
int replicas_set_trimmed(struct replicas *replicas, const uint64_t *upto, uint32_t count,
                         struct err *err);
/* One group's: its state came from elsewhere. */
int replicas_set_trimmed_of(struct replicas *replicas, uint32_t group, uint64_t upto,
                            struct err *err);

#endif
