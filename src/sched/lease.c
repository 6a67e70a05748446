/* Leases in memory: the attempts that run, and what their workers are told. */
#include <stdlib.h>

#include "base/assert.h"
#include "sched/impl.h"

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
