/* Jobs and leases in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "sched/impl.h"

#define JOB_BYTES ((size_t)1 << 30)

/* ---- leases ---- */

struct lease *sched_lease_new(struct sched *sched, struct job *job, uint32_t phase, uint32_t index,
                              uint32_t worker) {
    struct lease *lease = calloc(1, sizeof *lease);
    if (lease == NULL)
        panic("out of memory for a lease");
    ASSERT(job->leases[phase][index] == NULL);
    *lease = (struct lease){
        .job = job, .phase = phase, .index = index, .worker = worker, .renewed_ns = clock_now_ns()};
    list_add_tail(&sched->leases, &lease->node);
    job->leases[phase][index] = lease;
    job->running++;
    return lease;
}

struct lease *sched_lease_free(struct lease *lease) {
    list_remove(&lease->node);
    lease->job->leases[lease->phase][lease->index] = NULL;
    lease->job->running--;
    free(lease);
    return NULL;
}

struct lease *sched_lease_find(struct sched *sched, const Pb__TaskLease *lease) {
    if (lease->task == NULL || lease->task->phase >= PHASES)
        return NULL;
    struct job *job = sched_job_find(sched, lease->task->job);
    if (job == NULL || lease->task->index >= job->phases[lease->task->phase].count)
        return NULL;
    struct lease *found = job->leases[lease->task->phase][lease->task->index];
    return found != NULL && found->epoch != 0 && found->epoch == lease->lease_epoch ? found : NULL;
}

/* NULL when the arena is full. */
Pb__TaskLease *sched_lease_message(const struct lease *lease, struct arena *arena) {
    Pb__TaskLease *message = arena_new(arena, Pb__TaskLease);
    Pb__TaskAddress *address = arena_new(arena, Pb__TaskAddress);
    struct id128 *id = arena_new(arena, struct id128);
    if (message == NULL || address == NULL || id == NULL)
        panic("out of memory for a lease");
    *id = lease->job->id;
    pb__task_lease__init(message);
    pb__task_address__init(address);
    message->task = address;
    message->lease_epoch = lease->epoch;
    message->node = lease->worker;
    message->attempt = lease->attempt;
    address->job = pb_id(id);
    address->phase = lease->phase;
    address->index = lease->index;
    return message;
}

/* ---- jobs ---- */

struct job *sched_job_unref(struct job *job) {
    if (job == NULL || --job->refs > 0)
        return NULL;
    for (unsigned phase = 0; phase < PHASES; phase++) {
        free(job->phases[phase].tasks);
        free(job->leases[phase]);
    }
    free(job->first);
    arena_fini(&job->arena);
    free(job);
    return NULL;
}

struct job *sched_job_find(struct sched *sched, ProtobufCBinaryData id) {
    LIST_FOR_EACH(node, &sched->jobs) {
        struct job *job = LIST_ENTRY(node, struct job, node);
        if (span_equal(pb_span(id),
                       (struct span){(const char *)job->id.bytes, sizeof job->id.bytes}))
            return job;
    }
    return NULL;
}

void sched_job_changed(struct sched *sched, struct job *job) {
    job->news++;
    pthread_cond_broadcast(&sched->changed);
}

void sched_job_end_leases(struct sched *sched, struct job *job) {
    for (struct list *node = sched->leases.next, *next; node != &sched->leases; node = next) {
        next = node->next;
        struct lease *lease = LIST_ENTRY(node, struct lease, node);
        if (lease->job == job && lease->epoch != 0) /* one that is being granted is the loop's */
            sched_lease_free(lease);
    }
}

void sched_job_end(struct sched *sched, struct job *job, const Pb__Job *news) {
    if (job->job->state != PB__JOB_STATE__JOB_RUNNING)
        return;
    char *reason = arena_strdup(&job->arena, news->reason);
    job->job->state = news->state;
    job->job->finished_ms = news->finished_ms;
    job->job->reason = reason != NULL ? reason : pb_text("");
    sched_job_end_leases(sched, job);
    sched_job_changed(sched, job);
    pthread_cond_signal(&sched->finish);
}

void sched_job_add(struct sched *sched, struct job *job) {
    for (unsigned phase = 0; phase < PHASES; phase++) {
        for (uint32_t i = 0; i < job->phases[phase].count; i++) {
            if (job->leases[phase][i] != NULL)
                list_add_tail(&sched->leases, &job->leases[phase][i]->node);
        }
    }
    list_add_tail(&sched->jobs, &job->node);
    sched_job_changed(sched, job);
}

void sched_job_drop(struct sched *sched, struct job *job) {
    sched_job_end_leases(sched, job);
    list_remove(&job->node);
    sched_job_changed(sched, job);
    sched_job_unref(job);
}

uint32_t sched_job_phase(const struct job *job) {
    if (job->job->state != PB__JOB_STATE__JOB_RUNNING || job->failure[0] != '\0')
        return PHASES;
    if (job->job->map_done < job->job->map_tasks)
        return PHASE_MAP;
    return job->job->reduce_done < job->job->reduce_tasks ? PHASE_REDUCE : PHASES;
}

bool sched_job_is_complete(const struct job *job) {
    return job->job->map_done == job->job->map_tasks &&
           job->job->reduce_done == job->job->reduce_tasks;
}

const Pb__JobInput *sched_job_input(const struct job *job, uint32_t index, size_t *ret_chunk) {
    const Pb__JobSpec *spec = job->job->spec;
    size_t low = 0, high = spec->n_inputs;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (job->first[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    *ret_chunk = index - job->first[low];
    return spec->inputs[low];
}

/* ---- loading ---- */

static void note_task(struct job *job, uint32_t phase, const Pb__Task *task, uint64_t now_ns) {
    if (task->address == NULL || task->address->index >= job->phases[phase].count)
        return;
    uint32_t index = task->address->index;
    struct sched_task *own = &job->phases[phase].tasks[index];
    own->attempts = (uint8_t)task->attempts;
    own->last_node = task->node;
    if (task->state == PB__TASK_STATE__TASK_DONE)
        sched_set_state(&job->phases[phase], index, SCHED_DONE, now_ns);
    if (task->state == PB__TASK_STATE__TASK_FAILED) {
        sched_set_state(&job->phases[phase], index, SCHED_FAILED, now_ns);
        sched_job_fail(job, phase, index, task->result != NULL ? task->result->reason : "");
    }
    if (task->state != PB__TASK_STATE__TASK_RUNNING ||
        job->job->state != PB__JOB_STATE__JOB_RUNNING)
        return;
    sched_set_state(&job->phases[phase], index, SCHED_RUNNING, now_ns);
    struct lease *lease = calloc(1, sizeof *lease);
    if (lease == NULL)
        panic("out of memory for a lease");
    *lease = (struct lease){.job = job,
                            .phase = phase,
                            .index = index,
                            .attempt = task->attempts,
                            .worker = task->node,
                            .epoch = task->lease_epoch,
                            .renewed_ns = now_ns};
    list_init(&lease->node);
    job->leases[phase][index] = lease;
    job->running++;
}

void sched_job_fail(struct job *job, uint32_t phase, uint32_t index, const char *reason) {
    if (job->failure[0] == '\0')
        snprintf(job->failure, sizeof job->failure, "%s task %u: %s",
                 phase == PHASE_MAP ? "map" : "reduce", index, reason);
}

static int load_tasks(struct sched *sched, struct job *job, uint32_t phase, struct err *err) {
    uint64_t now_ns = clock_now_ns();
    uint32_t first = 0;
    for (bool more = true; more;) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, REPLY_BYTES);
        Pb__Reply *reply;
        int rc = sched_list_tasks(sched, job->id, phase, first, &arena, &reply, err);
        if (rc != 0)
            return rc;
        for (size_t i = 0; i < reply->n_tasks; i++)
            note_task(job, phase, reply->tasks[i], now_ns);
        more = reply->truncated && reply->n_tasks > 0;
        if (more)
            first = reply->tasks[reply->n_tasks - 1]->address->index + 1;
    }
    return 0;
}

static void init_phases(struct job *job) {
    const uint32_t counts[PHASES] = {job->job->map_tasks, job->job->reduce_tasks};
    uint64_t now_ns = clock_now_ns();
    for (unsigned phase = 0; phase < PHASES; phase++) {
        struct sched_phase *own = &job->phases[phase];
        own->count = own->waiting = counts[phase];
        own->tasks = calloc(own->count + 1, sizeof *own->tasks);
        job->leases[phase] = calloc(own->count + 1, sizeof(struct lease *));
        if (own->tasks == NULL || job->leases[phase] == NULL)
            panic("out of memory for a job");
        for (uint32_t i = 0; i < own->count; i++)
            own->tasks[i].since_ns = now_ns;
    }
    const Pb__JobSpec *spec = job->job->spec;
    job->first = calloc(spec->n_inputs + 1, sizeof *job->first);
    if (job->first == NULL)
        panic("out of memory for a job");
    for (size_t i = 0; i < spec->n_inputs; i++)
        job->first[i + 1] = job->first[i] + (uint32_t)catalog_plan_tasks(spec, spec->inputs[i]);
}

static int fetch_job(struct sched *sched, struct job *job, struct err *err) {
    Pb__GetJob get = PB__GET_JOB__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    get.job = pb_id(&job->id);
    get.with_inputs = true;
    query.op_case = PB__QUERY__OP_GET_JOB;
    query.get_job = &get;
    int rc = sched_query(sched, META_ROOT, &query, &job->arena, &reply, err);
    if (rc != 0)
        return rc;
    if (reply->job == NULL || reply->job->spec == NULL || reply->job->usage == NULL)
        return err_set(err, ERR_CORRUPT, "a job without its parts");
    job->job = reply->job;
    init_phases(job);
    uint32_t done = job->job->map_done + job->job->reduce_done;
    job->task_us = done > 0 ? job->job->usage->wall_us / done : 0;
    return 0;
}

int sched_job_load(struct sched *sched, struct id128 id, struct job **ret_job, struct err *err) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return err_set(err, ERR_NOMEM, "no memory for a job");
    job->id = id;
    job->refs = 1;
    list_init(&job->node);
    arena_init(&job->arena, JOB_BYTES);
    int rc = fetch_job(sched, job, err);
    for (uint32_t phase = 0; rc == 0 && phase < PHASES && job->job->lease_epoch > 0; phase++)
        rc = load_tasks(sched, job, phase, err);
    if (rc == 0) {
        *ret_job = job;
        return 0;
    }
    for (unsigned phase = 0; phase < PHASES; phase++) {
        for (uint32_t i = 0; i < job->phases[phase].count; i++) {
            if (job->leases[phase] != NULL && job->leases[phase][i] != NULL)
                sched_lease_free(job->leases[phase][i]);
        }
    }
    sched_job_unref(job);
    return rc;
}

int sched_list_tasks(struct sched *sched, struct id128 id, uint32_t phase, uint32_t first,
                     struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    Pb__ListTasks list = PB__LIST_TASKS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    list.job = pb_id(&id);
    list.phase = phase;
    list.first = first;
    query.op_case = PB__QUERY__OP_LIST_TASKS;
    query.list_tasks = &list;
    return sched_query(sched, META_ROOT, &query, arena, ret_reply, err);
}

/* ---- what a worker needs ---- */

/* What may hold the end of the slice's last record: chunks behind it until a longest record fits.
 */
static void add_following(const Pb__JobSpec *spec, const Pb__JobInput *from, size_t chunk,
                          Pb__TaskInput *input) {
    uint64_t bytes = 0;
    input->following = from->chunks + chunk + 1;
    while (chunk + 1 + input->n_following < from->n_chunks && bytes <= spec->max_record_bytes)
        bytes += input->following[input->n_following++]->length;
}

static void fill_input(const struct job *job, uint32_t index, Pb__TaskInput *input) {
    const Pb__JobSpec *spec = job->job->spec;
    size_t chunk;
    const Pb__JobInput *from = sched_job_input(job, index, &chunk);
    input->bucket = from->bucket;
    input->key = from->key;
    input->version = from->version;
    input->length = from->size;
    input->chunks = from->chunks;
    input->n_chunks = from->n_chunks;
    input->inline_data = from->inline_data;
    if (catalog_plan_is_whole(spec) || from->n_chunks == 0)
        return;
    input->chunks = from->chunks + chunk;
    input->n_chunks = 1;
    input->length = from->chunks[chunk]->length;
    for (size_t i = 0; i < chunk; i++)
        input->offset += from->chunks[i]->length;
    input->inside_record = chunk > 0 && !from->chunks[chunk - 1]->ends_line;
    if (!from->chunks[chunk]->ends_line)
        add_following(spec, from, chunk, input);
}

Pb__TaskWork *sched_job_work(const struct job *job, const struct lease *lease,
                             struct arena *arena) {
    const Pb__JobSpec *spec = job->job->spec;
    Pb__TaskWork *work = arena_new(arena, Pb__TaskWork);
    Pb__TaskInput *input = arena_new(arena, Pb__TaskInput);
    if (work == NULL || input == NULL)
        panic("out of memory for a task");
    pb__task_work__init(work);
    pb__task_input__init(input);
    work->lease = sched_lease_message(lease, arena);
    work->job_name = spec->name;
    work->records = spec->records;
    work->each_object = spec->each_object;
    work->max_record_bytes = spec->max_record_bytes;
    work->time_limit_ms = spec->time_limit_ms;
    work->memory_limit_bytes = spec->memory_limit_bytes;
    work->sandbox_level_min = spec->sandbox_level_min;
    work->input = input;
    if (lease->phase == PHASE_REDUCE) {
        work->command = spec->reduce;
        return work;
    }
    work->command = spec->map;
    work->argv = spec->argv;
    work->n_argv = spec->n_argv;
    fill_input(job, lease->index, input);
    return work;
}
