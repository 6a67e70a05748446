/* Tasks of jobs, in the root group.
 *
 *     waiting --grant--> running(lease epoch, node) --commit--> done
 *        ^                      |         |
 *        +------release---------+         +--> failed, or waiting again when it is to be tried once
 * more
 *
 * A task without a record waits and was never tried. A result counts only under the lease it was
 * made under. */
#include "core/catalog_impl.h"
#include "core/catalog_plan.h"

#define BATCH_MAX 4096u
#define STDERR_BYTES_MAX 4096u
#define INLINE_BYTES_MAX ((size_t)1 << 20)
#define ATTEMPTS_MAX 16u /* the scheduler's policy allows fewer */

/* The jobs that a command touches: each is loaded once and stored at the end. */
struct jobs {
    struct catalog_step *step;
    Pb__Job **jobs;
    size_t count;
};

static struct jobs jobs_begin(struct catalog_step *step, size_t count) {
    return (struct jobs){.step = step,
                         .jobs = catalog_alloc(step, (count + 1) * sizeof(Pb__Job *))};
}

static void jobs_end(struct jobs *jobs) {
    for (size_t i = 0; i < jobs->count; i++)
        catalog_store_job(jobs->step, jobs->jobs[i]);
}

/* The job of the address when it has that task, else NULL. */
static Pb__Job *find_job(struct jobs *jobs, const Pb__TaskAddress *address) {
    if (address == NULL)
        return NULL;
    Pb__Job *job = NULL;
    for (size_t i = 0; i < jobs->count && job == NULL; i++) {
        if (span_equal(pb_span(jobs->jobs[i]->spec->id), pb_span(address->job)))
            job = jobs->jobs[i];
    }
    if (job == NULL && (job = catalog_load_job(jobs->step, address->job)) != NULL)
        jobs->jobs[jobs->count++] = job;
    if (job == NULL)
        return NULL;
    uint32_t tasks = address->phase == PHASE_MAP      ? job->map_tasks
                     : address->phase == PHASE_REDUCE ? job->reduce_tasks
                                                      : 0;
    return address->index < tasks ? job : NULL;
}

static Pb__Job *find_running_job(struct jobs *jobs, const Pb__TaskAddress *address) {
    Pb__Job *job = find_job(jobs, address);
    return job != NULL && job->state == PB__JOB_STATE__JOB_RUNNING ? job : NULL;
}

static struct catalog_key task_key(const struct catalog_step *step,
                                   const Pb__TaskAddress *address) {
    struct catalog_key key = catalog_key_task(step, address->job);
    catalog_key_number(&key, address->phase, 1);
    catalog_key_number(&key, address->index, 4);
    return key;
}

static Pb__Task *load_task(struct catalog_step *step, Pb__TaskAddress *address) {
    struct catalog_key key = task_key(step, address);
    Pb__Task *task = catalog_load(step, &key, &pb__task__descriptor);
    if (task == NULL) {
        task = catalog_alloc(step, sizeof *task);
        pb__task__init(task);
    }
    task->address = address;
    return task;
}

static void store_task(struct catalog_step *step, const Pb__Task *task) {
    struct catalog_key key = task_key(step, task->address);
    catalog_store(step, &key, &task->base);
}

bool catalog_check_batch(struct catalog_step *step, size_t count) {
    if (count > BATCH_MAX)
        catalog_refuse(step, ERR_LIMIT, "a batch of %zu tasks; the limit is %u", count, BATCH_MAX);
    return step->reply->code == 0;
}

/* ---- grant ---- */

static bool grant(struct jobs *jobs, Pb__TaskLease *lease) {
    Pb__Job *job = find_running_job(jobs, lease->task);
    if (job == NULL || (lease->task->phase == PHASE_REDUCE && job->map_done < job->map_tasks))
        return false;
    Pb__Task *task = load_task(jobs->step, lease->task);
    if (task->state != PB__TASK_STATE__TASK_WAITING)
        return false;
    task->state = PB__TASK_STATE__TASK_RUNNING;
    task->lease_epoch = lease->lease_epoch = ++job->lease_epoch;
    task->node = lease->node;
    task->attempts = lease->attempt = task->attempts + 1;
    store_task(jobs->step, task);
    return true;
}

void catalog_grant(struct catalog_step *step, Pb__TaskLease **leases, size_t count) {
    struct jobs jobs = jobs_begin(step, count);
    Pb__Reply *reply = step->reply;
    reply->leases = catalog_alloc(step, (count + 1) * sizeof *reply->leases);
    for (size_t i = 0; i < count; i++) {
        if (grant(&jobs, leases[i]))
            reply->leases[reply->n_leases++] = leases[i];
    }
    jobs_end(&jobs);
}

void catalog_grant_leases(struct catalog_step *step, const Pb__GrantLeases *op) {
    if (catalog_check_batch(step, op->n_leases))
        catalog_grant(step, op->leases, op->n_leases);
}

/* ---- release ---- */

static Pb__TaskResult *lost_result(struct catalog_step *step, char *reason) {
    Pb__TaskResult *result = catalog_alloc(step, sizeof *result);
    pb__task_result__init(result);
    result->reason = reason;
    result->retry = true;
    return result;
}

static bool holds_lease(const Pb__Task *task, const Pb__TaskLease *lease) {
    return task->state == PB__TASK_STATE__TASK_RUNNING && task->lease_epoch == lease->lease_epoch;
}

static bool release(struct jobs *jobs, Pb__TaskLease *lease, char *reason) {
    Pb__Job *job = find_running_job(jobs, lease->task);
    Pb__Task *task = job != NULL ? load_task(jobs->step, lease->task) : NULL;
    if (task == NULL || !holds_lease(task, lease))
        return false;
    task->state = PB__TASK_STATE__TASK_WAITING;
    task->result = lost_result(jobs->step, reason);
    job->retried++;
    store_task(jobs->step, task);
    return true;
}

void catalog_release_leases(struct catalog_step *step, const Pb__ReleaseLeases *op) {
    if (!catalog_check_batch(step, op->n_leases))
        return;
    struct jobs jobs = jobs_begin(step, op->n_leases);
    Pb__Reply *reply = step->reply;
    reply->leases = catalog_alloc(step, (op->n_leases + 1) * sizeof *reply->leases);
    for (size_t i = 0; i < op->n_leases; i++) {
        if (release(&jobs, op->leases[i], op->reason))
            reply->leases[reply->n_leases++] = op->leases[i];
    }
    jobs_end(&jobs);
}

/* ---- commit ---- */

static void add_usage(Pb__TaskUsage *sum, const Pb__TaskUsage *usage) {
    if (usage == NULL)
        return;
    sum->wall_us += usage->wall_us;
    sum->user_us += usage->user_us;
    sum->system_us += usage->system_us;
    sum->local_bytes += usage->local_bytes;
    sum->remote_bytes += usage->remote_bytes;
    sum->peak_bytes = usage->peak_bytes > sum->peak_bytes ? usage->peak_bytes : sum->peak_bytes;
}

static void take_result(Pb__Job *job, Pb__Task *task, Pb__TaskResult *result) {
    task->result = result;
    add_usage(job->usage, result->usage);
    if (result->ok) {
        task->state = PB__TASK_STATE__TASK_DONE;
        uint32_t *done = task->address->phase == PHASE_MAP ? &job->map_done : &job->reduce_done;
        ++*done;
    } else if (result->retry && task->attempts < ATTEMPTS_MAX) {
        task->state = PB__TASK_STATE__TASK_WAITING;
        job->retried++;
    } else {
        task->state = PB__TASK_STATE__TASK_FAILED;
        job->failed++;
    }
}

/* Whether the result counts; also when it was taken before, even if the job has ended since. */
static bool commit(struct jobs *jobs, const Pb__TaskCommit *commit) {
    Pb__Job *job = commit->lease != NULL ? find_job(jobs, commit->lease->task) : NULL;
    if (job == NULL || commit->result == NULL)
        return false;
    Pb__Task *task = load_task(jobs->step, commit->lease->task);
    if (task->state == PB__TASK_STATE__TASK_DONE && task->lease_epoch == commit->lease->lease_epoch)
        return true;
    if (job->state != PB__JOB_STATE__JOB_RUNNING || !holds_lease(task, commit->lease))
        return false;
    take_result(job, task, commit->result);
    store_task(jobs->step, task);
    return true;
}

static Pb__Job *tell_end(struct catalog_step *step, const Pb__Job *job) {
    Pb__Job *told = catalog_alloc(step, sizeof *told);
    Pb__JobSpec *spec = catalog_alloc(step, sizeof *spec);
    pb__job__init(told);
    pb__job_spec__init(spec);
    spec->id = job->spec->id;
    told->spec = spec;
    told->state = job->state;
    told->finished_ms = job->finished_ms;
    told->settled = job->settled;
    return told;
}

/* A job whose results are its output is committed with the last of them. Others' outputs must be
 * put first: the scheduler finishes them. */
static void end_complete(struct jobs *jobs) {
    struct catalog_step *step = jobs->step;
    Pb__Reply *reply = step->reply;
    reply->jobs = catalog_alloc(step, (jobs->count + 1) * sizeof *reply->jobs);
    for (size_t i = 0; i < jobs->count; i++) {
        Pb__Job *job = jobs->jobs[i];
        if (job->state != PB__JOB_STATE__JOB_RUNNING || !catalog_job_is_complete(job) ||
            job->spec->output_bucket[0] != '\0')
            continue;
        catalog_end_job(step, job, PB__JOB_STATE__JOB_COMMITTED, pb_text(""), step->now_ms);
        reply->jobs[reply->n_jobs++] = tell_end(step, job);
    }
}

static bool check_result(struct catalog_step *step, Pb__TaskResult *result) {
    uint64_t bytes = 0;
    if (result == NULL)
        return true; /* not taken */
    if (result->stderr_tail.len > STDERR_BYTES_MAX) {
        result->stderr_tail.data += result->stderr_tail.len - STDERR_BYTES_MAX;
        result->stderr_tail.len = STDERR_BYTES_MAX;
    }
    if (!catalog_check_chunks(step, result->output, result->n_output, &bytes))
        return false;
    if (result->inline_output.len > INLINE_BYTES_MAX ||
        bytes + result->inline_output.len != result->output_bytes)
        catalog_refuse(step, ERR_INVALID, "a task's output is not of the size it says");
    return step->reply->code == 0;
}

void catalog_commit_tasks(struct catalog_step *step, const Pb__CommitTasks *op) {
    if (!catalog_check_batch(step, op->n_commits))
        return;
    for (size_t i = 0; i < op->n_commits; i++) {
        if (!check_result(step, op->commits[i]->result))
            return;
    }
    struct jobs jobs = jobs_begin(step, op->n_commits);
    Pb__Reply *reply = step->reply;
    reply->taken = catalog_alloc(step, (op->n_commits + 1) * sizeof *reply->taken);
    for (; reply->n_taken < op->n_commits; reply->n_taken++)
        reply->taken[reply->n_taken] = commit(&jobs, op->commits[reply->n_taken]);
    end_complete(&jobs);
    jobs_end(&jobs);
}

/* ---- list ---- */

void catalog_list_tasks(struct catalog_step *step, const Pb__ListTasks *query) {
    if (catalog_load_job(step, query->job) == NULL) {
        catalog_refuse(step, ERR_NO_SUCH_JOB, "there is no such job");
        return;
    }
    Pb__Reply *reply = step->reply;
    size_t limit = query->limit > 0 && query->limit < CATALOG_LIST_MAX ? query->limit
                                                                       : CATALOG_LIST_MAX,
           bytes = 0;
    reply->tasks = catalog_alloc(step, limit * sizeof *reply->tasks);
    struct catalog_key prefix = catalog_key_task(step, query->job);
    catalog_key_number(&prefix, query->phase, 1);
    struct catalog_key first = prefix;
    catalog_key_number(&first, query->first, 4);
    struct catalog_scan scan;
    catalog_scan_open(&scan, step, &prefix);
    catalog_scan_seek(&scan, &first);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        Pb__Task *task = catalog_scan_record(&scan, &pb__task__descriptor);
        if (task == NULL)
            break;
        if (reply->n_tasks == limit || bytes > CATALOG_REPLY_BYTES_MAX) {
            reply->truncated = true;
            break;
        }
        bytes += catalog_scan_value(&scan).size;
        reply->tasks[reply->n_tasks++] = task;
    }
    catalog_scan_close(&scan);
}
