/* Who a group's replicas are. A configuration is itself chosen, in a slot s, and governs the slots
 * above s: votes for them count only from its voters. Nothing is proposed above s before s is
 * chosen and phase 1 was done with the new voters (sealed configuration entries; PAXOS.md 2.11). */
#ifndef QUERN_CORE_PAXOS_CONFIG_H
#define QUERN_CORE_PAXOS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/paxos_value.h"

#define PAXOS_VOTERS_MAX 7u
#define PAXOS_MEMBERS_MAX 9u /* with learners */

/* A replica is known by its node and its birth: a node counts the replicas it ever made. One that
 * lost what it had promised is never used again: the node makes another, which enters as a learner.
 */
struct paxos_member {
    uint32_t node;
    uint32_t born;
    bool voter; /* else a learner: is sent everything, counts for nothing */
};

struct paxos_config {
    uint64_t slot; /* in which it was chosen; 0 = the group was founded with it */
    uint32_t count;
    struct paxos_member members[PAXOS_MEMBERS_MAX];
};

/* At least one voter, at most PAXOS_VOTERS_MAX; no member twice. */
bool paxos_config_is_sane(const struct paxos_config *config);
uint32_t paxos_config_voters(const struct paxos_config *config); /* their number */
/* NULL when it is none of the members. */
const struct paxos_member *paxos_config_find(const struct paxos_config *config, uint32_t node,
                                             uint32_t born);
/* Whether at most one voter goes and at most one comes, who was a learner. Learners come and go
 * freely. */
bool paxos_config_is_step(const struct paxos_config *from, const struct paxos_config *to);

/* Sealed; without the slot. */
struct paxos_value *paxos_config_encode(const struct paxos_config *config);
/* Errors: ERR_CORRUPT: not a sane configuration. */
int paxos_config_decode(struct span bytes, uint64_t slot, struct paxos_config *ret_config,
                        struct err *err);

#endif
