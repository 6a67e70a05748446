/* The worker role: asks the scheduler for tasks, fetches their input, runs them in a sandbox,
 * stores their output. */
#ifndef QUERN_WORKER_WORKER_H
#define QUERN_WORKER_WORKER_H

#include "meta/client.h"
#include "rpc/rpc.h"
#include "store/client.h"

struct worker;
struct launcher;

/* Forks the launcher, the small process that starts tasks. Call first in the process: before any
 * thread exists and before memory is large. dir is for scratch files of tasks. */
int launcher_start(const char *dir, struct launcher **ret_launcher, struct err *err);
struct launcher *launcher_stop(struct launcher *launcher);

/* What sandbox this machine allows: 0 to 4 (COMPUTE.md), and one line that says why not more. */
int launcher_sandbox_level(const struct launcher *launcher, const char **ret_reason);

struct worker_options {
    struct launcher *launcher;
    uint32_t self;
    unsigned slots;  /* 0 = number of processors */
    const char *dir; /* scratch */
};

int worker_start(const struct worker_options *options, struct meta_client *meta,
                 struct store_client *store, struct rpc_client *rpc, struct worker **ret_worker,
                 struct err *err);
struct worker *worker_stop(struct worker *worker);

#endif
