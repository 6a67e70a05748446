/* One slot of a worker, and the running of one attempt in it: input, sandbox, output, judgement. */
#ifndef QUERN_WORKER_TASK_H
#define QUERN_WORKER_TASK_H

#include "meta/client.h"
#include "store/client.h"
#include "worker/roster.h"

struct launcher;

struct slot { /* one thread's */
    struct roster *roster;
    struct launcher *launcher;
    struct meta_client *meta;
    struct store_client *store;
    uint32_t self;
    int input_fd; /* scratch files, used again by each task */
    int output_fd;
    struct sandbox *sandbox; /* warm, of the job below; NULL */
    struct id128 job;
};

int slot_init(struct slot *slot, const char *dir, struct err *err);
void slot_fini(struct slot *slot);
/* No task has come for a while. */
void slot_cool(struct slot *slot);

/* Runs the attempt to its end and makes it DONE. Whatever goes wrong is in the result. */
void task_run(struct slot *slot, struct attempt *attempt);

#endif
