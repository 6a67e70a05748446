/* Results of attempts: those that come while a command is under way go together in the next one,
 * which one of those who brought them sends for all. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "sched/impl.h"

#define COMMITS_BYTES ((size_t)64 << 20)
#define BATCH_BYTES ((size_t)3 << 20) /* of one command */
#define CALL_RESULTS_MAX 1024u

/* ---- the policy of retries ---- */

static bool wants_retry(const Pb__TaskResult *result, unsigned attempts) {
    if (result->ok)
        return false;
    if (result->exit_status < 0)
        return sched_may_retry(SCHED_END_SIGNAL, attempts);
    if (result->retry)
        return sched_may_retry(SCHED_END_ASKED, attempts);
    return result->exit_status > 0 && sched_may_retry(SCHED_END_EXIT, attempts);
}

static void decide_retry(struct sched *sched, const Pb__TaskCommit *commit) {
    const struct lease *lease = sched_lease_find(sched, commit->lease);
    commit->result->retry = lease != NULL && wants_retry(commit->result, lease->attempt);
}

/* ---- the mirror ---- */

static void add_usage(Pb__TaskUsage *sum, const Pb__TaskUsage *usage) {
    sum->wall_us += usage->wall_us;
    sum->user_us += usage->user_us;
    sum->system_us += usage->system_us;
    sum->local_bytes += usage->local_bytes;
    sum->remote_bytes += usage->remote_bytes;
    sum->peak_bytes = usage->peak_bytes > sum->peak_bytes ? usage->peak_bytes : sum->peak_bytes;
}

static void note_end(struct lease *lease, const Pb__TaskResult *result) {
    struct job *job = lease->job;
    struct sched_phase *phase = &job->phases[lease->phase];
    uint64_t now_ns = clock_now_ns();
    if (result->ok) {
        uint32_t *done = lease->phase == PHASE_MAP ? &job->job->map_done : &job->job->reduce_done;
        ++*done;
        sched_set_state(phase, lease->index, SCHED_DONE, now_ns);
    } else if (result->retry) {
        job->job->retried++;
        phase->tasks[lease->index].last_node = lease->worker;
        sched_set_state(phase, lease->index, SCHED_WAITING, now_ns);
    } else {
        job->job->failed++;
        sched_job_fail(job, lease->phase, lease->index, result->reason);
        sched_set_state(phase, lease->index, SCHED_FAILED, now_ns);
    }
}

static void note_committed(struct sched *sched, struct job *job, const struct result *result) {
    Pb__Job end = PB__JOB__INIT;
    end.state = PB__JOB_STATE__JOB_COMMITTED;
    end.finished_ms = result->job_finished_ms;
    end.settled = result->job_settled;
    sched_job_end(sched, job, &end);
}

static void note_taken(struct sched *sched, const struct result *result) {
    const Pb__TaskCommit *commit = result->commit;
    struct lease *lease = sched_lease_find(sched, commit->lease);
    if (lease == NULL)
        return; /* sent again, or the job is not here any more */
    struct job *job = lease->job;
    const Pb__TaskUsage *usage = commit->result->usage;
    note_end(lease, commit->result);
    if (usage != NULL) {
        add_usage(job->job->usage, usage);
        job->task_us = job->task_us == 0 ? usage->wall_us : (3 * job->task_us + usage->wall_us) / 4;
    }
    sched_lease_free(lease);
    sched_job_changed(sched, job);
    if (result->job_finished_ms != 0 && sched_job_is_complete(job))
        note_committed(sched, job, result);
    else if (job->failure[0] != '\0' || sched_job_is_complete(job))
        pthread_cond_signal(&sched->finish);
}

/* ---- the command ---- */

static void take_end(struct result *result, const Pb__Reply *reply) {
    ProtobufCBinaryData id = result->commit->lease->task->job;
    for (size_t i = 0; i < reply->n_jobs; i++) {
        const Pb__Job *ended = reply->jobs[i];
        if (!span_equal(pb_span(ended->spec->id), pb_span(id)))
            continue;
        result->job_finished_ms = ended->finished_ms;
        result->job_settled = ended->settled;
    }
}

static int submit_results(struct sched *sched, struct result **results, size_t count) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__CommitTasks op = PB__COMMIT_TASKS__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    Pb__TaskCommit *commits[BATCH_MAX];
    for (size_t i = 0; i < count; i++)
        commits[i] = (Pb__TaskCommit *)(uintptr_t)results[i]->commit;
    op.commits = commits;
    op.n_commits = count;
    command.op_case = PB__COMMAND__OP_COMMIT_TASKS;
    command.commit_tasks = &op;
    int rc = sched_submit(sched, META_ROOT, &command, &arena, &reply, NULL);
    for (size_t i = 0; i < count; i++) {
        results[i]->code = rc;
        results[i]->taken = rc == 0 && i < reply->n_taken && reply->taken[i];
        if (rc == 0)
            take_end(results[i], reply);
    }
    return rc;
}

/* A result that the catalogue refuses must not take the others with it. */
static void submit_all(struct sched *sched, struct result **results, size_t count) {
    int rc = submit_results(sched, results, count);
    for (size_t i = 0; rc != 0 && !err_is_transient(rc) && count > 1 && i < count; i++)
        submit_results(sched, &results[i], 1);
}

static size_t take_batch(struct sched *sched, struct result **results) {
    size_t count = 0, bytes = 0;
    while (!list_is_empty(&sched->results) && count < BATCH_MAX) {
        struct result *result = LIST_ENTRY(sched->results.next, struct result, node);
        bytes += protobuf_c_message_get_packed_size(&result->commit->base);
        if (count > 0 && bytes > BATCH_BYTES)
            break;
        list_remove(&result->node);
        decide_retry(sched, result->commit);
        results[count++] = result;
    }
    return count;
}

static void note_batch(struct sched *sched, struct result **results, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (results[i]->taken)
            note_taken(sched, results[i]);
        else
            sched->stale |= err_is_transient(results[i]->code) ||
                            sched_lease_find(sched, results[i]->commit->lease) != NULL;
        results[i]->ended = true;
    }
    sched->wanted = true; /* tasks may have begun to wait, or a phase to run */
    pthread_cond_signal(&sched->work);
    pthread_cond_broadcast(&sched->changed);
}

static void commit_batch(struct sched *sched) {
    struct result *results[BATCH_MAX];
    size_t count = take_batch(sched, results);
    sched->committing = true;
    pthread_mutex_unlock(&sched->lock);
    submit_all(sched, results, count);
    pthread_mutex_lock(&sched->lock);
    sched->committing = false;
    note_batch(sched, results, count);
}

/* ---- who has results ---- */

int sched_commit_results(struct sched *sched, Pb__TaskCommit *const *commits, size_t count,
                         protobuf_c_boolean *ret_taken) {
    struct result *results = calloc(count + 1, sizeof *results);
    if (results == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        results[i].commit = commits[i];
        list_add_tail(&sched->results, &results[i].node);
    }
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        while (!results[i].ended) {
            if (sched->committing)
                pthread_cond_wait(&sched->changed, &sched->lock);
            else
                commit_batch(sched); /* it is waiting there */
        }
        ret_taken[i] = results[i].taken;
        rc = results[i].code != 0 && (rc == 0 || err_is_transient(results[i].code))
                 ? results[i].code
                 : rc;
    }
    free(results);
    return rc;
}

static bool is_sound(const Pb__TaskCommits *request) {
    for (size_t i = 0; i < request->n_commits; i++) {
        const Pb__TaskCommit *commit = request->commits[i];
        if (commit->lease == NULL || commit->lease->task == NULL || commit->result == NULL)
            return false;
    }
    return request->n_commits <= CALL_RESULTS_MAX;
}

/* The output of an attempt that did not count is nobody's. */
static void drop_outputs(struct sched *sched, const Pb__TaskCommits *request,
                         const protobuf_c_boolean *taken) {
    for (size_t i = 0; i < request->n_commits; i++) {
        const Pb__TaskResult *result = request->commits[i]->result;
        if (!taken[i] && result->n_output > 0)
            sched_queue_garbage(sched, result->output, result->n_output,
                                NULL); /* at worst it stays until it is found by age */
    }
}

int sched_handle_commit(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    struct sched *sched = context;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, COMMITS_BYTES);
    Pb__TaskCommits *request;
    Pb__TaskCommitted reply = PB__TASK_COMMITTED__INIT;
    int rc = pb_unpack(&pb__task_commits__descriptor, buf_span(body), &arena, &request, NULL);
    if (rc != 0 || !is_sound(request))
        return sched_answer_error(conn, ERR_PROTOCOL, "not results");
    reply.n_taken = request->n_commits;
    reply.taken = arena_array(&arena, protobuf_c_boolean, request->n_commits + 1);
    if (reply.taken == NULL)
        return sched_answer_error(conn, ERR_NOMEM, NULL);
    pthread_mutex_lock(&sched->lock);
    rc = sched->leading
             ? sched_commit_results(sched, request->commits, request->n_commits, reply.taken)
             : ERR_NOT_LEADER;
    pthread_mutex_unlock(&sched->lock);
    if (rc != 0)
        return sched_answer_error(conn, rc, NULL);
    drop_outputs(sched, request, reply.taken);
    return sched_answer(conn, RPC_TASK_COMMITTED, &reply.base);
}
