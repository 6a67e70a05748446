/* Jobs in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "sched/impl.h"

struct job *sched_job_unref(struct job *job) {
    if (job == NULL || --job->refs > 0)
        return NULL;
    for (unsigned phase = 0; phase < PHASES; phase++) {
        for (uint32_t i = 0; i < job->phases[phase].count; i++) {
            if (job->leases[phase][i] != NULL)
                sched_lease_free(job->leases[phase][i]);
        }
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
    job->job->settled = news->settled;
    sched_job_end_leases(sched, job);
    sched_job_changed(sched, job);
    pthread_cond_signal(&sched->finish);
}

void sched_job_add(struct sched *sched, struct job *job) {
    for (unsigned phase = 0; phase < PHASES; phase++) {
        for (uint32_t i = 0; i < job->phases[phase].count; i++) {
            struct lease *lease = job->leases[phase][i];
            if (lease != NULL && list_is_empty(&lease->node))
                list_add_tail(&sched->leases, &lease->node);
        }
    }
    list_add_tail(&sched->jobs, &job->node);
    job->listed = true;
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

void sched_job_fail(struct job *job, uint32_t phase, uint32_t index, const char *reason) {
    if (job->failure[0] == '\0')
        snprintf(job->failure, sizeof job->failure, "%s task %u: %s",
                 phase == PHASE_MAP ? "map" : "reduce", index, reason);
}
