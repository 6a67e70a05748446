/* Workers that were not heard of: what they ran is given to others. */
#include <stdlib.h>

#include "base/assert.h"
#include "sched/impl.h"

#define LOST_MS 100u     /* how often lost workers are looked for */
#define DOWN_NS NS_PER_S /* a node said to be down that was heard of since is not */

static bool is_lost(const struct lease *lease, const struct place_map *map, uint64_t now_ns) {
    if (lease->epoch == 0)
        return false;
    uint64_t silent_ns = now_ns - lease->renewed_ns;
    const struct place_node *node = place_node(map, lease->worker);
    return silent_ns > SCHED_LEASE_MS * NS_PER_MS ||
           (node != NULL && node->down && silent_ns > DOWN_NS);
}

/* Those that may run again, and those that were lost too often. */
struct lost {
    struct arena arena;
    Pb__TaskLease *again[BATCH_MAX];
    size_t again_count;
    Pb__TaskCommit *failed[BATCH_MAX];
    size_t failed_count;
};

static void add_failed(struct lost *lost, const struct lease *lease) {
    Pb__TaskCommit *commit = arena_new(&lost->arena, Pb__TaskCommit);
    Pb__TaskResult *result = arena_new(&lost->arena, Pb__TaskResult);
    if (commit == NULL || result == NULL)
        panic("out of memory for a lost task");
    pb__task_commit__init(commit);
    pb__task_result__init(result);
    result->reason = pb_text("lost worker");
    commit->lease = sched_lease_message(lease, &lost->arena);
    commit->result = result;
    lost->failed[lost->failed_count++] = commit;
}

static void collect_lost(struct sched *sched, struct lost *lost) {
    struct place_map *map = meta_map(sched->meta);
    uint64_t now_ns = clock_now_ns();
    LIST_FOR_EACH(node, &sched->leases) {
        const struct lease *lease = LIST_ENTRY(node, struct lease, node);
        if (!is_lost(lease, map, now_ns) || lost->again_count == BATCH_MAX ||
            lost->failed_count == BATCH_MAX)
            continue;
        if (sched_may_retry(SCHED_END_LOST, lease->attempt))
            lost->again[lost->again_count++] = sched_lease_message(lease, &lost->arena);
        else
            add_failed(lost, lease);
    }
    place_map_unref(map);
}

static void note_released(struct sched *sched, const Pb__TaskLease *released) {
    struct lease *lease = sched_lease_find(sched, released);
    if (lease == NULL)
        return;
    struct job *job = lease->job;
    job->phases[lease->phase].tasks[lease->index].last_node = lease->worker;
    sched_set_state(&job->phases[lease->phase], lease->index, SCHED_WAITING, clock_now_ns());
    job->job->retried++;
    sched_lease_free(lease);
    sched_job_changed(sched, job);
}

static void release(struct sched *sched, struct lost *lost) {
    Pb__ReleaseLeases op = PB__RELEASE_LEASES__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    op.leases = lost->again;
    op.n_leases = lost->again_count;
    op.reason = pb_text("lost worker");
    command.op_case = PB__COMMAND__OP_RELEASE_LEASES;
    command.release_leases = &op;
    pthread_mutex_unlock(&sched->lock);
    int rc = sched_submit(sched, META_ROOT, &command, &lost->arena, &reply, NULL);
    pthread_mutex_lock(&sched->lock);
    for (size_t i = 0; rc == 0 && i < reply->n_leases; i++)
        note_released(sched, reply->leases[i]);
    for (size_t i = 0; rc == 0 && i < op.n_leases;
         i++) /* what is left here and not there: the mirror is wrong */
        sched->stale |= sched_lease_find(sched, op.leases[i]) != NULL;
    sched->stale |= rc != 0;
}

void sched_release_lost(struct sched *sched) {
    uint64_t now_ns = clock_now_ns();
    if (now_ns < sched->lost_ns || list_is_empty(&sched->leases))
        return;
    sched->lost_ns = now_ns + LOST_MS * NS_PER_MS;
    struct lost *lost = calloc(1, sizeof *lost);
    if (lost == NULL)
        panic("out of memory for lost tasks");
    arena_init(&lost->arena, REPLY_BYTES);
    collect_lost(sched, lost);
    if (lost->again_count > 0)
        release(sched, lost);
    if (lost->failed_count > 0) {
        protobuf_c_boolean taken[BATCH_MAX];
        sched_commit_results(sched, lost->failed, lost->failed_count, taken);
    }
    arena_fini(&lost->arena);
    free(lost);
}
