/* Jobs as the catalogue has them, brought into memory. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "sched/impl.h"

#define JOB_BYTES ((size_t)1 << 30)

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

struct job *sched_job_new(struct id128 id) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        panic("out of memory for a job");
    job->id = id;
    job->refs = 1;
    list_init(&job->node);
    arena_init(&job->arena, JOB_BYTES);
    return job;
}

int sched_job_set(struct job *job, Pb__Job *record, struct err *err) {
    if (record == NULL || record->spec == NULL || record->usage == NULL)
        return err_set(err, ERR_CORRUPT, "a job without its parts");
    job->job = record;
    init_phases(job);
    uint32_t done = record->map_done + record->reduce_done;
    job->task_us = done > 0 ? record->usage->wall_us / done : 0;
    return 0;
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
    return rc == 0 ? sched_job_set(job, reply->job, err) : rc;
}

int sched_job_load(struct sched *sched, struct id128 id, struct job **ret_job, struct err *err) {
    struct job *job = sched_job_new(id);
    int rc = fetch_job(sched, job, err);
    for (uint32_t phase = 0; rc == 0 && phase < PHASES && job->job->lease_epoch > 0; phase++)
        rc = load_tasks(sched, job, phase, err);
    if (rc != 0) {
        sched_job_unref(job);
        return rc;
    }
    *ret_job = job;
    return 0;
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
