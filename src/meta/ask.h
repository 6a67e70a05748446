/* Questions to the leader of a group, asked until one is answered: this process's replica, or over
 * rpc another's. Any thread. */
#ifndef QUERN_META_ASK_H
#define QUERN_META_ASK_H

#include "meta/engine.h"

struct asker {
    struct meta *local; /* or NULL */
    struct rpc_client *rpc;
    struct channels *channels;
    struct map_cache *maps;
    atomic_uint leaders[GROUPS_MAX]; /* hints, of groups without a replica here */
    atomic_uint turn;                /* whom to ask when there is no hint */
};

enum question_kind {
    QUESTION_COMMAND,
    QUESTION_RECORD, /* a query that takes moments */
    QUESTION_LIST    /* one that may take long: it has a connection of its own, if it leaves */
};

struct question {
    enum question_kind kind;
    uint32_t group;
    struct span bytes;
    unsigned tries; /* that were made */
    uint32_t node;  /* asked last */
};

bool ask_is_hosted(const struct asker *asker, uint32_t group); /* in this process */

/* Appends the answer, a packed Reply. The same question may be asked several times: a command
 * carries its request id and is applied once. The error is the last try's. */
int ask(struct asker *asker, struct question *question, uint64_t deadline_ns, struct buf *ret_reply,
        struct err *err);

#endif
