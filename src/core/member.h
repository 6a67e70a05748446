/* How a group's replicas get to the nodes where they are wanted: given what is, the next step.
 *
 * A replica is made on its node, taken in as a learner, made a voter once it has caught up, in
 * exchange for one that is not wanted any more; whoever is out of the configuration is dropped. One
 * voter a step (PAXOS.md 2.11). A replica that its node has made anew (it had lost what it had
 * promised) is exchanged the same way: what is wanted is nodes, what votes is replicas.
 *
 * Pure: asked again and again with a fresh view until nothing is left to do; a step that was lost,
 * or taken twice, does no harm. */
#ifndef QUERN_CORE_MEMBER_H
#define QUERN_CORE_MEMBER_H

#include "core/paxos_config.h"

#define MEMBER_NODES_MAX 16u

struct member_node {
    uint32_t node;
    bool wanted;   /* shall have a voter */
    bool known;    /* it was asked and has answered: what follows is true */
    uint32_t born; /* of the replica it has; 0 = none */
};

struct member_view {
    const struct paxos_config *config; /* the newest chosen, as the leader has it */
    uint32_t leader;                   /* its node */
    bool settled;                      /* paxos_is_settled, of the leader */
    uint32_t node_count;
    struct member_node nodes[MEMBER_NODES_MAX]; /* all that are wanted, and all that may have a
                                                   replica */
    uint64_t lags[PAXOS_MEMBERS_MAX];           /* of the members, in order (paxos_lag_of) */
};

enum member_action {
    MEMBER_NOTHING,
    MEMBER_MAKE,     /* a replica on node */
    MEMBER_CHANGE,   /* to config */
    MEMBER_TRANSFER, /* leadership to node */
    MEMBER_DROP      /* the replica (node, born) */
};

struct member_step {
    enum member_action action;
    uint32_t node;
    uint32_t born;
    struct paxos_config config;
};

/* MEMBER_NOTHING also when the next step must wait for something (a node's answer, a learner). */
void member_plan(const struct member_view *view, struct member_step *ret_step);

/* All wanted nodes have a voter, and nobody else is a member. */
bool member_is_done(const struct member_view *view);

#endif
