/* A plan: what the world of a run is like, and a list of what is done to it at which time. Drawn
 * from a seed, or read from a schedule file; the rest (delays, losses) is drawn while it runs. */
#ifndef QUERN_SIM_PLAN_H
#define QUERN_SIM_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define SIM_ACTIONS_MAX 4096u

/* X(name, lowest, highest, how many of 100 seeds have it at all; the others have 0) */
#define SIM_OPTIONS(X)                                                                             \
    X(groups, 1, 3, 100)                                                                           \
    X(spares, 0, 2, 60) /* machines that hold nothing at first */                                  \
    X(clients, 2, 12, 100)                                                                         \
    X(horizon_ms, 3000, 30000, 100)                                                                \
    X(think_us, 100, 20000, 100) /* mean pause of a client */                                      \
    X(read_percent, 10, 60, 90)                                                                    \
    X(big_ppm, 10000, 500000, 15) /* of 64 ms in which commands fill a slot */                     \
    X(delay_us, 50, 3000, 100)    /* mean, of a message */                                         \
    X(loss_ppm, 1000, 200000, 60)                                                                  \
    X(dup_ppm, 1000, 200000, 60)                                                                   \
    X(spike_ppm, 1000, 50000, 60)        /* messages that come up to 300 ms late */                \
    X(flip_ppm, 100, 20000, 40)          /* messages with a bit turned over */                     \
    X(sync_us, 50, 3000, 100)            /* mean, of a write to the disk */                        \
    X(stall_ppm, 100, 5000, 40)          /* writes that take a second */                           \
    X(crash_at_sync_ppm, 100, 10000, 40) /* writes that end in a crash nobody is told of */        \
    X(tear_percent, 10, 100, 50)         /* crashes that leave half a record */                    \
    X(leader_percent, 10, 90, 60)        /* actions aimed at a leader */                           \
    X(flush_ms, 50, 2000, 90)            /* mean time between flushes of the state store */        \
    X(eager_flush_ppm, 1000, 100000, 30) /* slots that are flushed at once */                      \
    X(apply_us, 10, 2000, 70)                                                                      \
    X(recent_kib, 1, 64, 60)     /* chosen values in memory */                                     \
    X(check_slots, 8, 1024, 80)  /* the states are compared so often */                            \
    X(trim_percent, 10, 100, 80) /* flushes that trim the log below what a laggard needs */        \
    X(window, 1, 16, 40)         /* limits of the core that are smaller than they need be */       \
    X(open_max, 2, 40, 40)                                                                         \
    X(busy_records, 2, 16, 30)                                                                     \
    X(page_entries, 1, 8, 40)

/* X(name, shortest and longest mean time between two in ms, of 100 seeds) */
#define SIM_ACTIONS(X)                                                                             \
    X(crash, 200, 4000, 60)      /* power loss of one */                                           \
    X(kill, 200, 4000, 30)       /* SIGKILL: what was written to the disk stays */                 \
    X(blackout, 1500, 20000, 25) /* power loss of all */                                           \
    X(cut, 200, 3000, 60)                                                                          \
    X(mend, 200, 3000, 0)         /* goes with cut */                                              \
    X(hint, 100, 3000, 40)        /* a crash is reported that did not happen */                    \
    X(pause, 300, 5000, 35)       /* SIGSTOP for a while */                                        \
    X(clock, 500, 8000, 40)       /* its rate changes, or it jumps */                              \
    X(slow, 500, 8000, 30)        /* disk */                                                       \
    X(full, 500, 8000, 20)        /* disk */                                                       \
    X(fail, 1000, 12000, 25)      /* a write to the log fails */                                   \
    X(rot_state, 1500, 15000, 25) /* the state store of the frail machine cannot be read */        \
    X(rot_log, 500, 10000, 35)    /* some of its log goes bad */                                   \
    X(wipe, 2000, 20000, 20)      /* the frail machine gets a new disk */                          \
    X(members, 500, 8000, 45)     /* replicas are wanted elsewhere */                              \
    X(config, 500, 6000, 35)      /* an operator changes members by hand */                        \
    X(transfer, 300, 6000, 30)    /* of leadership */                                              \
    X(version, 500, 8000, 30)     /* a machine speaks an older or newer version */

enum sim_action_kind {
#define X(name, low, high, percent) SIM_DO_##name,
    SIM_ACTIONS(X)
#undef X
        SIM_ACTION_KINDS
};

struct sim_action {
    uint64_t at_us;
    enum sim_action_kind kind;
    uint32_t node; /* index, or who else is aimed at */
    uint32_t a;    /* drawn; each kind makes of them what it needs */
    uint32_t b;
};

struct sim_options {
    uint64_t seed;
    uint64_t nodes; /* with a replica of each group at first */
    uint64_t frail; /* index of the machine whose disk may lose things; nodes = none */
#define X(name, low, high, percent) uint64_t name;
    SIM_OPTIONS(X)
#undef X
};

struct sim_plan {
    struct sim_options options;
    uint32_t action_count;
    struct sim_action actions[SIM_ACTIONS_MAX]; /* by time */
};

void sim_plan_draw(struct sim_plan *plan, uint64_t seed);
const char *sim_action_name(enum sim_action_kind kind);

/* ---- schedule.c ---- */
void sim_schedule_write(const struct sim_plan *plan, FILE *file);
/* ERR_INVALID with the line. */
int sim_schedule_read(struct sim_plan *plan, FILE *file, struct err *err);
/* The smallest plan found that still fails, in place; fails(plan) runs one. */
void sim_schedule_shrink(struct sim_plan *plan, bool (*fails)(struct sim_plan *plan));

#endif
