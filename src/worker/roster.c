/* The list of attempts and its lock. */
#include "worker/roster.h"

#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "os/clock.h"

#define GATHER_MS 5u /* results that come so soon after another go with it */

struct grant {
    struct arena *arena;
    unsigned refs; /* attempts; under the roster's lock */
};

void roster_init(struct roster *roster) {
    *roster = (struct roster){0};
    pthread_mutex_init(&roster->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&roster->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    list_init(&roster->attempts);
}

static void grant_unref(struct grant *grant) {
    if (--grant->refs > 0)
        return;
    arena_fini(grant->arena);
    free(grant->arena);
    free(grant);
}

/* Under the lock. */
static void drop(struct roster *roster, struct attempt *attempt) {
    list_remove(&attempt->node);
    roster->counts[attempt->state]--;
    grant_unref(attempt->grant);
    arena_fini(&attempt->arena);
    free(attempt);
}

static void move(struct roster *roster, struct attempt *attempt, enum attempt_state state) {
    roster->counts[attempt->state]--;
    roster->counts[state]++;
    attempt->state = state;
    pthread_cond_broadcast(&roster->changed);
}

void roster_fini(struct roster *roster) {
    ASSERT(roster->counts[ATTEMPT_RUNNING] == 0);
    while (!list_is_empty(&roster->attempts))
        drop(roster, LIST_ENTRY(roster->attempts.next, struct attempt, node));
    pthread_cond_destroy(&roster->changed);
    pthread_mutex_destroy(&roster->mutex);
}

/* False when the deadline has passed. A condition has no clock of its own to name, so waits are cut
 * to what is left. */
static bool wait_change(struct roster *roster, uint64_t deadline_ns) {
    uint64_t now_ns = clock_now_ns();
    if (now_ns >= deadline_ns)
        return false;
    uint64_t left_ns = deadline_ns - now_ns < NS_PER_S ? deadline_ns - now_ns : NS_PER_S;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t sum_ns = (uint64_t)until.tv_nsec + left_ns;
    until.tv_sec += (time_t)(sum_ns / NS_PER_S);
    until.tv_nsec = (long)(sum_ns % NS_PER_S);
    pthread_cond_timedwait(&roster->changed, &roster->mutex, &until);
    return true;
}

static int add_work(struct roster *roster, const Pb__TaskWork *work, struct grant *grant) {
    if (work->lease == NULL || work->lease->task == NULL || work->input == NULL)
        return ERR_PROTOCOL;
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return ERR_NOMEM;
    attempt->grant = grant;
    attempt->work = work;
    arena_init(&attempt->arena, ROSTER_RESULT_BYTES);
    grant->refs++;
    list_add_tail(&roster->attempts, &attempt->node);
    roster->counts[ATTEMPT_READY]++;
    return 0;
}

int roster_add(struct roster *roster, const Pb__TaskGrant *message, struct arena *arena,
               struct err *err) {
    struct grant *grant = malloc(sizeof *grant);
    if (grant == NULL) {
        arena_fini(arena);
        free(arena);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    *grant = (struct grant){arena, 1};
    pthread_mutex_lock(&roster->mutex);
    int code = 0;
    for (size_t i = 0; i < message->n_work && code == 0; i++)
        code = add_work(roster, message->work[i], grant);
    pthread_cond_broadcast(&roster->changed);
    grant_unref(grant);
    pthread_mutex_unlock(&roster->mutex);
    return code == 0 ? 0 : err_set(err, code, "the scheduler's grant cannot be taken");
}

static struct attempt *first_ready(struct roster *roster) {
    LIST_FOR_EACH(node, &roster->attempts) {
        struct attempt *attempt = LIST_ENTRY(node, struct attempt, node);
        if (attempt->state == ATTEMPT_READY)
            return attempt;
    }
    return NULL;
}

struct attempt *roster_take(struct roster *roster, uint64_t deadline_ns) {
    struct attempt *attempt = NULL;
    pthread_mutex_lock(&roster->mutex);
    while (!roster->stopping && (attempt = first_ready(roster)) == NULL &&
           wait_change(roster, deadline_ns))
        continue;
    if (attempt != NULL)
        move(roster, attempt, ATTEMPT_RUNNING);
    pthread_mutex_unlock(&roster->mutex);
    return attempt;
}

int roster_start(struct roster *roster, struct attempt *attempt, struct sandbox *sandbox,
                 const struct sandbox_task *task, struct err *err) {
    pthread_mutex_lock(&roster->mutex);
    int code = attempt->lost ? err_set(err, ERR_LEASE_LOST, "another has the task")
                             : sandbox_start(sandbox, task, err);
    if (code == 0)
        attempt->sandbox = sandbox;
    pthread_mutex_unlock(&roster->mutex);
    return code;
}

void roster_ended(struct roster *roster, struct attempt *attempt) {
    pthread_mutex_lock(&roster->mutex);
    attempt->sandbox = NULL;
    pthread_mutex_unlock(&roster->mutex);
}

void roster_finish(struct roster *roster, struct attempt *attempt, Pb__TaskResult *result) {
    pthread_mutex_lock(&roster->mutex);
    attempt->result = result;
    move(roster, attempt, ATTEMPT_DONE);
    if (attempt->lost)
        drop(roster, attempt);
    pthread_mutex_unlock(&roster->mutex);
}

/* Under the lock. One that runs is dropped by who runs it, one that is being committed by the
 * committer. */
static void lose(struct roster *roster, struct attempt *attempt) {
    attempt->lost = true;
    if (attempt->state == ATTEMPT_READY)
        drop(roster, attempt);
    else if (attempt->sandbox != NULL)
        sandbox_kill(attempt->sandbox);
}

static bool is_lease(const Pb__TaskLease *a, const Pb__TaskLease *b) {
    return b->task != NULL && a->lease_epoch == b->lease_epoch &&
           a->task->phase == b->task->phase && a->task->index == b->task->index &&
           span_equal(pb_span(a->task->job), pb_span(b->task->job));
}

static bool is_among(const struct attempt *attempt, Pb__TaskLease *const *leases, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (is_lease(attempt->work->lease, leases[i]))
            return true;
    return false;
}

static void lose_if(struct roster *roster, bool all, Pb__TaskLease *const *leases, size_t count) {
    pthread_mutex_lock(&roster->mutex);
    for (struct list *node = roster->attempts.next, *next; node != &roster->attempts; node = next) {
        next = node->next;
        struct attempt *attempt = LIST_ENTRY(node, struct attempt, node);
        if (all || is_among(attempt, leases, count))
            lose(roster, attempt);
    }
    pthread_cond_broadcast(&roster->changed);
    pthread_mutex_unlock(&roster->mutex);
}

void roster_lose(struct roster *roster, Pb__TaskLease *const *leases, size_t count) {
    if (count > 0)
        lose_if(roster, false, leases, count);
}

void roster_lose_all(struct roster *roster) {
    lose_if(roster, true, NULL, 0);
}

/* Under the lock. */
static unsigned busy(const struct roster *roster) {
    return roster->counts[ATTEMPT_READY] + roster->counts[ATTEMPT_RUNNING];
}

/* Under the lock. Results that wait for their commit hold memory: they count once there are many.
 * Work is asked for by the half of what is wanted, for each grant costs an entry of the log. */
static unsigned room(const struct roster *roster, unsigned busy_max) {
    unsigned held = busy(roster) + roster->counts[ATTEMPT_DONE];
    if (busy(roster) >= busy_max || held >= ROSTER_ATTEMPTS_MAX)
        return 0;
    unsigned free_slots = busy_max - busy(roster);
    return busy(roster) == 0 || 2 * free_slots >= busy_max ? free_slots : 0;
}

unsigned roster_wait_done(struct roster *roster, struct attempt **ret_attempts, unsigned count) {
    unsigned found = 0;
    pthread_mutex_lock(&roster->mutex);
    while (roster->counts[ATTEMPT_DONE] == 0 && !roster->stopping)
        wait_change(roster, DEADLINE_NONE);
    uint64_t until_ns = clock_deadline_ms(GATHER_MS);
    while (roster->counts[ATTEMPT_DONE] < count && busy(roster) > 0 && !roster->stopping &&
           wait_change(roster, until_ns))
        continue;
    LIST_FOR_EACH(node, &roster->attempts) {
        struct attempt *attempt = LIST_ENTRY(node, struct attempt, node);
        if (attempt->state == ATTEMPT_DONE && found < count)
            ret_attempts[found++] = attempt;
    }
    pthread_mutex_unlock(&roster->mutex);
    return found;
}

void roster_forget(struct roster *roster, struct attempt **attempts, unsigned count) {
    pthread_mutex_lock(&roster->mutex);
    for (unsigned i = 0; i < count; i++)
        drop(roster, attempts[i]);
    pthread_cond_broadcast(&roster->changed);
    pthread_mutex_unlock(&roster->mutex);
}

static Pb__TaskLease *copy_lease(struct arena *arena, const Pb__TaskLease *lease) {
    Pb__TaskLease *copy = arena_new(arena, Pb__TaskLease);
    Pb__TaskAddress *address = arena_new(arena, Pb__TaskAddress);
    struct id128 *job = arena_new(arena, struct id128);
    if (copy == NULL || address == NULL || job == NULL)
        return NULL;
    *job = pb_id128(lease->task->job);
    *address = *lease->task;
    address->job = pb_id(job);
    *copy = *lease;
    copy->task = address;
    return copy;
}

int roster_leases(struct roster *roster, struct arena *arena, Pb__TaskLease ***ret_leases,
                  size_t *ret_count) {
    pthread_mutex_lock(&roster->mutex);
    size_t count = 0, total = 0;
    for (unsigned i = 0; i < ATTEMPT_STATES; i++)
        total += roster->counts[i];
    Pb__TaskLease **leases = arena_array(arena, Pb__TaskLease *, total + 1);
    LIST_FOR_EACH(node, &roster->attempts) {
        const struct attempt *attempt = LIST_ENTRY(node, struct attempt, node);
        if (leases != NULL && !attempt->lost &&
            (leases[count] = copy_lease(arena, attempt->work->lease)) != NULL)
            count++;
    }
    pthread_mutex_unlock(&roster->mutex);
    if (arena->overflowed)
        return ERR_NOMEM;
    *ret_leases = leases;
    *ret_count = count;
    return 0;
}

unsigned roster_wait_room(struct roster *roster, unsigned busy_max, uint64_t deadline_ns) {
    unsigned free_slots;
    pthread_mutex_lock(&roster->mutex);
    while ((free_slots = room(roster, busy_max)) == 0 && !roster->stopping &&
           wait_change(roster, deadline_ns))
        continue;
    pthread_mutex_unlock(&roster->mutex);
    return free_slots;
}

void roster_stop(struct roster *roster) {
    pthread_mutex_lock(&roster->mutex);
    roster->stopping = true;
    pthread_cond_broadcast(&roster->changed);
    pthread_mutex_unlock(&roster->mutex);
}
