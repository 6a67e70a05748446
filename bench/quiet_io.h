/* A drive's callbacks for programs in which nothing fails: nobody reads, lags or diverges. */
#ifndef QUERN_BENCH_QUIET_IO_H
#define QUERN_BENCH_QUIET_IO_H

#include "base/assert.h"
#include "core/drive.h"

static inline void quiet_proposal_done(void *context, const struct paxos_result *result) {
    (void)context;
    if (result->code != 0)
        panic("a proposal failed: %s", err_name(result->code));
}

static inline void quiet_read_done(void *context, const struct paxos_result *result) {
    (void)context, (void)result;
}

static inline void quiet_leader_changed(void *context, const struct paxos_status *status) {
    (void)context, (void)status;
}

static inline void quiet_config_changed(void *context, const struct paxos_config *config) {
    (void)context, (void)config;
}

static inline void quiet_learn_serve(void *context, const struct paxos_serve *serve) {
    (void)context;
    panic("node %u lags, and nothing here makes it", serve->to);
}

static inline void quiet_fetch_snapshot(void *context, const struct paxos_fetch *fetch) {
    (void)context;
    panic("the state of node %u is wanted, and nothing here was lost", fetch->node);
}

static inline void quiet_diverged(void *context, uint64_t slot) {
    (void)context;
    panic("diverged at slot %llu", (unsigned long long)slot);
}

/* context, append, send and apply are for the program to fill in. */
static inline struct drive_io quiet_io(void) {
    return (struct drive_io){.proposal_done = quiet_proposal_done,
                             .read_done = quiet_read_done,
                             .leader_changed = quiet_leader_changed,
                             .config_changed = quiet_config_changed,
                             .learn_serve = quiet_learn_serve,
                             .fetch_snapshot = quiet_fetch_snapshot,
                             .diverged = quiet_diverged};
}

#endif
