/* The loop gives leases on tasks to the workers that wait. */
#include "base/assert.h"
#include "base/cleanup.h"
#include "sched/impl.h"

#define GRANT_REPLY_BYTES ((size_t)2 << 20) /* of input a poll is given at once */
#define LATER_NS (60 * NS_PER_S)

/* ---- choosing ---- */

struct held {
    const struct job *job;
    const struct place_map *map;
};

/* Whether the first chunk of the task's input is the node's. */
static bool holds(void *context, uint32_t task, uint32_t node) {
    const struct held *held = context;
    size_t chunk;
    if (sched_job_phase(held->job) == PHASE_REDUCE)
        return true;
    const Pb__JobInput *input = sched_job_input(held->job, task, &chunk);
    if (input->n_chunks == 0)
        return true;
    const Pb__ChunkRef *ref =
        input->chunks[catalog_plan_is_whole(held->job->job->spec) ? 0 : chunk];
    uint32_t owners[PLACE_REPLICAS_MAX];
    unsigned count = place_owners(held->map, place_slice_of(held->map, pb_id128(ref->id)), owners);
    for (unsigned i = 0; i < count; i++) {
        if (owners[i] == node)
            return true;
    }
    return false;
}

static uint32_t waiting_of(const struct job *job) {
    uint32_t phase = sched_job_phase(job);
    return phase < PHASES ? job->phases[phase].waiting : 0;
}

static uint64_t waiting_tasks(const struct choice *choice) {
    uint64_t waiting = 0;
    if (choice->only != NULL)
        return waiting_of(choice->only);
    LIST_FOR_EACH(node, &choice->sched->jobs) {
        waiting += waiting_of(LIST_ENTRY(node, struct job, node));
    }
    return waiting;
}

static bool may_have_one(const struct choice *choice, const struct poller *poller,
                         const struct job *job) {
    return waiting_of(job) > 0 && job->pass != choice->sched->pass &&
           job->job->spec->sandbox_level_min <= poller->sandbox_level;
}

/* The job with the fewest running tasks that may have one for the poller. */
static struct job *next_job(const struct choice *choice, const struct poller *poller) {
    struct job *best = NULL;
    if (choice->only != NULL)
        return may_have_one(choice, poller, choice->only) ? choice->only : NULL;
    LIST_FOR_EACH(node, &choice->sched->jobs) {
        struct job *job = LIST_ENTRY(node, struct job, node);
        if (may_have_one(choice, poller, job) && (best == NULL || job->running < best->running))
            best = job;
    }
    return best;
}

static uint32_t choose_task(struct choice *choice, const struct poller *poller, struct job *job,
                            uint32_t phase) {
    struct held held = {job, choice->map};
    struct sched_chooser chooser = {.node = poller->worker,
                                    .alone = choice->workers < 2,
                                    .now_ns = choice->now_ns,
                                    .local_wait_ns = sched_local_wait_ns(job->task_us),
                                    .holds = holds,
                                    .context = &held};
    return sched_choose(&job->phases[phase], &chooser, &choice->again_ns);
}

static size_t input_bytes(const struct job *job, uint32_t phase, uint32_t index) {
    size_t chunk;
    if (phase == PHASE_REDUCE)
        return 0;
    const Pb__JobInput *input = sched_job_input(job, index, &chunk);
    return 256 + input->inline_data.len +
           (catalog_plan_is_whole(job->job->spec) ? 48 * input->n_chunks : 0);
}

/* Work for one poller: no more than its share of what waits, so that few tasks spread over all
 * workers. */
static void choose_for(struct choice *choice, struct poller *poller) {
    uint64_t share = (waiting_tasks(choice) + choice->workers - 1) / choice->workers;
    size_t bytes = 0;
    choice->sched->pass++;
    for (uint32_t given = 0; given < poller->slots && given < share && choice->count < BATCH_MAX &&
                             bytes < GRANT_REPLY_BYTES;) {
        struct job *job = next_job(choice, poller);
        if (job == NULL)
            return;
        uint32_t phase = sched_job_phase(job), index = choose_task(choice, poller, job, phase);
        if (index == SCHED_NO_TASK) {
            job->pass = choice->sched->pass;
            continue;
        }
        sched_set_state(&job->phases[phase], index, SCHED_GRANTING, choice->now_ns);
        choice->leases[choice->count] =
            sched_lease_new(choice->sched, job, phase, index, poller->worker);
        choice->pollers[choice->count++] = poller;
        poller->pending = true;
        bytes += input_bytes(job, phase, index);
        given++;
    }
}

static unsigned count_workers(const struct sched *sched, uint64_t now_ns) {
    unsigned count = 0;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        count += sched->worker_seen_ns[i] != 0 &&
                 now_ns - sched->worker_seen_ns[i] < SCHED_LEASE_MS * NS_PER_MS;
    return count > 0 ? count : 1;
}

void sched_choose_work(struct sched *sched, struct job *only, struct choice *ret_choice) {
    *ret_choice = (struct choice){.sched = sched, .only = only, .now_ns = clock_now_ns()};
    struct choice *choice = ret_choice;
    choice->again_ns = choice->now_ns + LATER_NS;
    if (list_is_empty(&sched->pollers) || waiting_tasks(choice) == 0)
        return;
    choice->map = meta_map(sched->meta);
    choice->workers = count_workers(sched, choice->now_ns);
    LIST_FOR_EACH(node, &sched->pollers) {
        struct poller *poller = LIST_ENTRY(node, struct poller, node);
        if (!poller->answered && !poller->pending && choice->count < BATCH_MAX)
            choose_for(choice, poller);
    }
    choice->map = place_map_unref(choice->map);
}

Pb__TaskLease **sched_choice_leases(const struct choice *choice, struct arena *arena) {
    Pb__TaskLease **leases = arena_array(arena, Pb__TaskLease *, BATCH_MAX);
    if (leases == NULL)
        panic("out of memory for leases");
    for (unsigned i = 0; i < choice->count; i++)
        leases[i] = sched_lease_message(choice->leases[i], arena);
    return leases;
}

/* ---- granting ---- */

static bool same_task(const struct lease *lease, const Pb__TaskLease *granted) {
    return granted->task != NULL && granted->task->index == lease->index &&
           granted->task->phase == lease->phase &&
           id128_equal(pb_id128(granted->task->job), lease->job->id);
}

/* granted = NULL: the catalogue thinks otherwise, or nobody knows. */
static void note_granted(struct lease *lease, const Pb__TaskLease *granted) {
    struct sched_phase *phase = &lease->job->phases[lease->phase];
    if (granted == NULL || lease->job->job->state != PB__JOB_STATE__JOB_RUNNING) {
        sched_set_state(phase, lease->index, SCHED_WAITING, clock_now_ns());
        sched_lease_free(lease);
        return;
    }
    lease->epoch = granted->lease_epoch;
    lease->attempt = granted->attempt;
    lease->renewed_ns = clock_now_ns();
    phase->tasks[lease->index].attempts = (uint8_t)granted->attempt;
    sched_set_state(phase, lease->index, SCHED_RUNNING, lease->renewed_ns);
}

/* Packs what was granted to the poller: those of its leases that are still there. */
static void answer_poller(struct choice *choice, struct poller *poller, bool granted) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, POLL_BYTES);
    Pb__TaskGrant grant = PB__TASK_GRANT__INIT;
    Pb__TaskWork *work[BATCH_MAX];
    grant.work = work;
    for (unsigned i = 0; granted && i < choice->count; i++) {
        if (choice->pollers[i] == poller && choice->leases[i] != NULL)
            work[grant.n_work++] =
                sched_job_work(choice->leases[i]->job, choice->leases[i], &arena);
    }
    pb_pack(&poller->reply, &grant.base);
    if (poller->reply.failed)
        poller->code = ERR_LIMIT; /* the leases run out and the tasks are given again */
    poller->pending = false;
    poller->answered = grant.n_work > 0 || poller->code != 0;
}

bool sched_note_granted(struct choice *choice, const Pb__Reply *reply) {
    size_t next = 0;
    for (unsigned i = 0; i < choice->count; i++) {
        const Pb__TaskLease *granted = NULL;
        if (reply != NULL && next < reply->n_leases &&
            same_task(choice->leases[i], reply->leases[next]))
            granted = reply->leases[next++];
        bool kept =
            granted != NULL && choice->leases[i]->job->job->state == PB__JOB_STATE__JOB_RUNNING;
        note_granted(choice->leases[i], granted);
        if (!kept)
            choice->leases[i] = NULL;
    }
    for (unsigned i = 0; i < choice->count; i++) {
        if (choice->pollers[i]->pending)
            answer_poller(choice, choice->pollers[i], reply != NULL);
    }
    pthread_cond_broadcast(&choice->sched->changed);
    return reply != NULL && next == choice->count;
}

static void grant_chosen(struct choice *choice) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__GrantLeases op = PB__GRANT_LEASES__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply = NULL;
    op.leases = sched_choice_leases(choice, &arena);
    op.n_leases = choice->count;
    command.op_case = PB__COMMAND__OP_GRANT_LEASES;
    command.grant_leases = &op;
    pthread_mutex_unlock(&choice->sched->lock);
    int rc = sched_submit(choice->sched, META_ROOT, &command, &arena, &reply, NULL);
    pthread_mutex_lock(&choice->sched->lock);
    if (!sched_note_granted(choice, rc == 0 ? reply : NULL))
        choice->sched->stale = true;
}

uint64_t sched_grant_work(struct sched *sched) {
    struct choice choice;
    sched_choose_work(sched, NULL, &choice);
    if (choice.count == 0)
        return choice.again_ns;
    grant_chosen(&choice);
    return choice.now_ns; /* look again at once: others may have come meanwhile */
}
