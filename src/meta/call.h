/* A question to the consensus thread, and the wait for its answer. Shared by who waits and who
 * answers; the last of them frees it, so that one may give up at its deadline. */
#ifndef QUERN_META_CALL_H
#define QUERN_META_CALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/span.h"

enum call_kind {
    CALL_SUBMIT, /* command: propose it; reply is what applying it gave */
    CALL_READ,   /* once answered, the state as applied is new enough for a linearizable read; the
                    command is the asker's own */
    CALL_POINT,  /* note a point of the log (keeper.c) */
    CALL_DISK,   /* command: struct disk_report */
    CALL_TRIM,   /* command: u64 by group, slots that may go: what the log needs without them is
                    durable */
    CALL_MAKE,   /* the like are of host.c */
    CALL_DROP,
    CALL_VIEW,     /* reply: struct host_view */
    CALL_CHANGE,   /* command: struct paxos_config */
    CALL_TRANSFER, /* command: u32 node */
    CALL_INSTALL   /* command: enum host_install */
};

struct call {
    struct list node; /* of whoever has it now */
    enum call_kind kind;
    uint32_t group;
    uint64_t lsn; /* TRIM: of the last record it waits for */
    atomic_uint refs;
    pthread_mutex_t mutex; /* of done */
    pthread_cond_t finished;
    bool done;
    int code;
    void (*deliver)(struct call *call); /* NULL: somebody waits for it; else takes it over */
    void *owner;                        /* of the deliverer, */
    uint64_t id;                        /* as this is */
    struct buf reply;                   /* a packed pb Reply, but for VIEW */
    size_t command_size;
    char command[];
};

/* Two references: the waiter's and the answerer's. Panics when out of memory. */
struct call *call_new(enum call_kind kind, uint32_t group, struct span command);
struct call *call_unref(struct call *call);
/* One that is handed to deliver() when it is answered; the only reference goes with it. */
struct call *call_new_owned(enum call_kind kind, uint32_t group, struct span command,
                            void (*deliver)(struct call *call), void *owner, uint64_t id);
/* Answers, and drops the answerer's reference. The reply was filled before. */
void call_finish(struct call *call, int code);
/* The code it was finished with; ERR_TIMEOUT at the deadline, and what became of it is unknown. */
int call_wait(struct call *call, uint64_t deadline_ns);

#endif
