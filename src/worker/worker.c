/* The worker's threads: one asks the scheduler and renews leases, one gives results in, one guards
 * the time of the last renewal, and one a slot runs tasks. */
#include "worker/worker.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"
#include "worker/launcher.h"
#include "worker/roster.h"
#include "worker/scratch.h"
#include "worker/task.h"

#define SLOTS_MAX 256u
#define GRANT_BYTES ((size_t)64 << 20)
#define CALL_MS (SCHED_POLL_MS + 500)
#define COMMIT_MS 60000u
#define COMMIT_BATCH 48u
#define RETRY_MS 50u
#define GUARD_MS 100u
#define RENEWED_MS_MAX                                                                             \
    (SCHED_LEASE_MS - 2 * GUARD_MS) /* then tasks are killed: others may have them soon */
#define COOL_MS 3000u
#define AHEAD_MS 20u             /* short tasks are fetched ahead, as many as run in this time */
#define AHEAD_MAX 32u            /* a slot */
#define TASK_US_UNKNOWN 1000000u /* until it is known, none is fetched ahead */

struct worker {
    struct launcher *launcher;
    struct sched_client *sched;
    struct roster roster;
    uint32_t self;
    atomic_uint_fast64_t renewed_ns; /* when the newest renewal that was answered was sent */
    atomic_uint_fast64_t task_us;    /* a running mean of how long a task takes */
    atomic_bool stopping;
    unsigned slot_count;
    unsigned thread_count;
    pthread_t threads[SLOTS_MAX + 3];
    struct worker_slot {
        struct worker *worker;
        struct slot slot;
    } slots[];
};

static void pause_ms(uint64_t ms) {
    clock_sleep_until(clock_deadline_ms(ms));
}

/* ---- slots ---- */

static void note_duration(struct worker *worker, uint64_t us) {
    uint64_t mean = atomic_load(&worker->task_us);
    atomic_store(&worker->task_us, (mean * 3 + us) / 4);
}

static void *slot_main(void *argument) {
    struct worker_slot *own = argument;
    struct worker *worker = own->worker;
    while (!atomic_load(&worker->stopping)) {
        struct attempt *attempt = roster_take(&worker->roster, clock_deadline_ms(COOL_MS));
        if (attempt == NULL) {
            slot_cool(&own->slot);
            continue;
        }
        uint64_t started_ns = clock_now_ns();
        task_run(&own->slot, attempt);
        note_duration(worker, (clock_now_ns() - started_ns) / 1000);
    }
    return NULL;
}

/* ---- asking and renewing ---- */

/* How many attempts to hold: a few milliseconds' worth, so that short tasks do not wait for the
 * scheduler, and long ones are not kept from other workers. */
static unsigned busy_max(const struct worker *worker) {
    if (launcher_is_dead(worker->launcher))
        return 0;
    uint64_t task_us = atomic_load(&worker->task_us) + 1;
    uint64_t ahead = AHEAD_MS * 1000 / task_us;
    return worker->slot_count * (1 + (unsigned)(ahead < AHEAD_MAX ? ahead : AHEAD_MAX));
}

static int poll_once(struct worker *worker, unsigned room, struct arena *arena,
                     Pb__TaskGrant **ret_grant, struct err *err) {
    Pb__TaskPoll poll = PB__TASK_POLL__INIT;
    poll.node = worker->self;
    poll.slots = room;
    poll.sandbox_level = (uint32_t)launcher_sandbox_level(worker->launcher, NULL);
    int code = roster_leases(&worker->roster, arena, &poll.running, &poll.n_running);
    return code != 0 ? code
                     : sched_client_poll(worker->sched, &poll, clock_deadline_ms(CALL_MS), arena,
                                         ret_grant, err);
}

static int ask_for_work(struct worker *worker, unsigned room, struct err *err) {
    struct arena *arena = malloc(sizeof *arena);
    if (arena == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    arena_init(arena, GRANT_BYTES);
    Pb__TaskGrant *grant = NULL;
    uint64_t sent_ns = clock_now_ns();
    int code = poll_once(worker, room, arena, &grant, err);
    if (code != 0) {
        arena_fini(arena);
        free(arena);
        return code;
    }
    atomic_store(&worker->renewed_ns, sent_ns);
    if (grant->n_work == 0)
        atomic_store(&worker->task_us, TASK_US_UNKNOWN); /* what comes next is another job's */
    roster_lose(&worker->roster, grant->lost, grant->n_lost);
    return roster_add(&worker->roster, grant, arena, err);
}

static int renew(struct worker *worker, struct err *err) {
    struct arena arena;
    arena_init(&arena, GRANT_BYTES);
    Pb__TaskRenew message = PB__TASK_RENEW__INIT;
    Pb__TaskRenewed *renewed;
    message.node = worker->self;
    uint64_t sent_ns = clock_now_ns();
    int code = roster_leases(&worker->roster, &arena, &message.running, &message.n_running);
    if (code == 0)
        code = sched_client_renew(worker->sched, &message, clock_deadline_ms(CALL_MS), &arena,
                                  &renewed, err);
    if (code == 0) {
        atomic_store(&worker->renewed_ns, sent_ns);
        roster_lose(&worker->roster, renewed->lost, renewed->n_lost);
    }
    arena_fini(&arena);
    return code;
}

static void *ask_main(void *argument) {
    struct worker *worker = argument;
    bool failing = false;
    while (!atomic_load(&worker->stopping)) {
        uint64_t renew_at_ns = atomic_load(&worker->renewed_ns) + SCHED_RENEW_MS * NS_PER_MS;
        unsigned room = roster_wait_room(&worker->roster, busy_max(worker), renew_at_ns);
        struct err err = {0};
        int code = room > 0 ? ask_for_work(worker, room, &err) : renew(worker, &err);
        if (code != 0 && !failing && !atomic_load(&worker->stopping))
            log_info("worker: no answer from the scheduler: %s", err_message(&err, code));
        if (code != 0)
            pause_ms(RETRY_MS);
        failing = code != 0;
    }
    return NULL;
}

static void *guard_main(void *argument) {
    struct worker *worker = argument;
    bool told = false;
    while (!atomic_load(&worker->stopping)) {
        pause_ms(GUARD_MS);
        if (!told && (told = launcher_is_dead(worker->launcher)))
            log_error("worker: the launcher has died: no tasks here until the node starts again");
        if (clock_now_ns() - atomic_load(&worker->renewed_ns) > RENEWED_MS_MAX * NS_PER_MS)
            roster_lose_all(&worker->roster);
    }
    return NULL;
}

/* ---- giving results in ---- */

static int commit(struct worker *worker, struct attempt **attempts, unsigned count,
                  struct err *err) {
    Pb__TaskCommit commits[COMMIT_BATCH], *pointers[COMMIT_BATCH];
    for (unsigned i = 0; i < count; i++) {
        commits[i] = (Pb__TaskCommit)PB__TASK_COMMIT__INIT;
        commits[i].lease = attempts[i]->work->lease;
        commits[i].result = attempts[i]->result;
        pointers[i] = &commits[i];
    }
    Pb__TaskCommits message = PB__TASK_COMMITS__INIT;
    message.commits = pointers;
    message.n_commits = count;
    struct arena arena;
    arena_init(&arena, GRANT_BYTES);
    Pb__TaskCommitted *committed;
    int code = sched_client_commit(worker->sched, &message, clock_deadline_ms(CALL_MS), &arena,
                                   &committed, err);
    arena_fini(&arena);
    return code;
}

/* Tries until the scheduler has answered; a result that is never taken is lost with its lease, and
 * the task runs again. */
static void *commit_main(void *argument) {
    struct worker *worker = argument;
    struct attempt *attempts[COMMIT_BATCH];
    unsigned count;
    while ((count = roster_wait_done(&worker->roster, attempts, COMMIT_BATCH)) > 0) {
        uint64_t give_up_ns = clock_deadline_ms(COMMIT_MS);
        struct err err = {0};
        int code;
        while ((code = commit(worker, attempts, count, &err)) != 0 && err_is_transient(code) &&
               clock_now_ns() < give_up_ns && !atomic_load(&worker->stopping))
            pause_ms(RETRY_MS);
        if (code != 0)
            log_warn("worker: %u results were not taken: %s", count, err_message(&err, code));
        roster_forget(&worker->roster, attempts, count);
    }
    return NULL;
}

/* ---- start and stop ---- */

static int start_thread(struct worker *worker, void *(*run)(void *), void *argument,
                        struct err *err) {
    int code = pthread_create(&worker->threads[worker->thread_count], NULL, run, argument);
    if (code != 0)
        return err_errno(err, code, "cannot start a thread");
    worker->thread_count++;
    return 0;
}

static int start_threads(struct worker *worker, struct err *err) {
    int code = start_thread(worker, commit_main, worker, err);
    if (code == 0)
        code = start_thread(worker, guard_main, worker, err);
    for (unsigned i = 0; i < worker->slot_count && code == 0; i++)
        code = start_thread(worker, slot_main, &worker->slots[i], err);
    return code != 0 ? code : start_thread(worker, ask_main, worker, err);
}

static int init_slots(struct worker *worker, const struct worker_options *options,
                      struct meta_client *meta, struct store_client *store, unsigned count,
                      struct err *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", options->dir, SCRATCH_FILES);
    int code = file_make_directories(path, err);
    for (unsigned i = 0; i < count && code == 0; i++) {
        worker->slots[i].worker = worker;
        struct slot *slot = &worker->slots[i].slot;
        *slot = (struct slot){.roster = &worker->roster,
                              .launcher = options->launcher,
                              .meta = meta,
                              .store = store,
                              .self = options->self};
        code = slot_init(slot, path, err);
        worker->slot_count = i + 1;
    }
    return code;
}

static unsigned choose_slots(const struct worker_options *options) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count =
        options->slots != 0 ? options->slots : (unsigned)(processors > 0 ? processors : 1);
    return count < SLOTS_MAX ? count : SLOTS_MAX;
}

int worker_start(const struct worker_options *options, struct meta_client *meta,
                 struct store_client *store, struct rpc_client *rpc, struct worker **ret_worker,
                 struct err *err) {
    unsigned slots = choose_slots(options);
    struct worker *worker = calloc(1, sizeof *worker + slots * sizeof worker->slots[0]);
    if (worker == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    worker->launcher = options->launcher;
    worker->self = options->self;
    roster_init(&worker->roster);
    atomic_store(&worker->task_us, TASK_US_UNKNOWN);
    worker->sched = sched_client_new(meta, rpc);
    int code = worker->sched != NULL ? init_slots(worker, options, meta, store, slots, err)
                                     : err_set(err, ERR_NOMEM, "out of memory");
    if (code == 0)
        code = start_threads(worker, err);
    if (code != 0) {
        worker_stop(worker);
        return code;
    }
    *ret_worker = worker;
    return 0;
}

struct worker *worker_stop(struct worker *worker) {
    if (worker == NULL)
        return NULL;
    atomic_store(&worker->stopping, true);
    roster_stop(&worker->roster);
    roster_lose_all(&worker->roster);
    for (unsigned i = 0; i < worker->thread_count; i++)
        pthread_join(worker->threads[i], NULL);
    for (unsigned i = 0; i < worker->slot_count; i++)
        slot_fini(&worker->slots[i].slot);
    roster_fini(&worker->roster);
    sched_client_free(worker->sched);
    free(worker);
    return NULL;
}
