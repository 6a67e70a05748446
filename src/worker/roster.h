/* The attempts that a worker holds, from grant to commit, and who may touch them when. One lock
 * guards all of it.
 *
 *   granted -> READY -> RUNNING -> DONE -> committed and freed
 *                 \________\_________\______ lost: another has the task; killed, dropped, never
 * committed */
#ifndef QUERN_WORKER_ROSTER_H
#define QUERN_WORKER_ROSTER_H

#include <pthread.h>

#include "base/arena.h"
#include "base/list.h"
#include "sched/client.h"
#include "worker/sandbox.h"

#define ROSTER_RESULT_BYTES ((size_t)8 << 20)
#define ROSTER_ATTEMPTS_MAX 1024u

enum attempt_state { ATTEMPT_READY, ATTEMPT_RUNNING, ATTEMPT_DONE, ATTEMPT_STATES };

struct grant; /* one reply of the scheduler: its works share its memory */

struct attempt {
    struct list node;
    enum attempt_state state;
    bool lost;
    struct sandbox *sandbox; /* while a process runs in it */
    struct grant *grant;
    const Pb__TaskWork *work; /* in the grant's memory */
    struct arena arena;       /* the result's */
    Pb__TaskResult *result;   /* from DONE on */
};

struct roster {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct list attempts; /* oldest first */
    unsigned counts[ATTEMPT_STATES];
    bool stopping;
};

void roster_init(struct roster *roster);
void roster_fini(struct roster *roster); /* drops what is left */

/* Takes all the works of a grant; arena (heap, of malloc) is the roster's from now on, also on
 * failure. */
int roster_add(struct roster *roster, const Pb__TaskGrant *grant, struct arena *arena,
               struct err *err);

/* The oldest that is READY becomes RUNNING. NULL after deadline_ns without one, or when the roster
 * is stopping. */
struct attempt *roster_take(struct roster *roster, uint64_t deadline_ns);

/* Starts the attempt's process, unless the attempt is lost by now (ERR_LEASE_LOST). */
int roster_start(struct roster *roster, struct attempt *attempt, struct sandbox *sandbox,
                 const struct sandbox_task *task, struct err *err);
/* Its process has ended. */
void roster_ended(struct roster *roster, struct attempt *attempt);
/* RUNNING becomes DONE; a lost one is freed. result lives in attempt->arena. */
void roster_finish(struct roster *roster, struct attempt *attempt, Pb__TaskResult *result);

/* Kills and drops attempts: those named, or all. */
void roster_lose(struct roster *roster, Pb__TaskLease *const *leases, size_t count);
void roster_lose_all(struct roster *roster);

/* Waits for DONE attempts, a few milliseconds longer while others are at work, and writes out at
 * most count of them; they stay in the roster (and are renewed) until roster_forget(). 0 when the
 * roster is stopping and nothing is DONE. */
unsigned roster_wait_done(struct roster *roster, struct attempt **ret_attempts, unsigned count);
void roster_forget(struct roster *roster, struct attempt **attempts, unsigned count);

/* The leases of all attempts, copied to the arena, for renewal. */
int roster_leases(struct roster *roster, struct arena *arena, Pb__TaskLease ***ret_leases,
                  size_t *ret_count);

/* Waits until fewer than busy_max attempts are READY or RUNNING, or until the deadline; returns how
 * many fewer. */
unsigned roster_wait_room(struct roster *roster, unsigned busy_max, uint64_t deadline_ns);
/* Ends all waits. */
void roster_stop(struct roster *roster);

#endif
