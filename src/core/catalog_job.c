/* Jobs, in the root group: submitted, finished once, settled, forgotten. */
#include "core/catalog_impl.h"

#include <stdio.h>

#include "core/catalog_plan.h"

#define TASKS_MAX 1000000u
#define NAME_BYTES_MAX 64u
#define NAME_TRIES_MAX 1000u
#define FORGET_TASKS_MAX 4096u /* of one command */

static struct catalog_key job_key(const struct catalog_step *step, enum catalog_table table,
                                  ProtobufCBinaryData id) {
    struct catalog_key key = catalog_key(step->group, table);
    catalog_key_bytes(&key, id.data, id.len);
    return key;
}

static struct catalog_key name_key(const struct catalog_step *step, const char *name) {
    struct catalog_key key = catalog_key(step->group, TABLE_JOB_NAME);
    catalog_key_text(&key, name);
    return key;
}

struct catalog_key catalog_key_task(const struct catalog_step *step, ProtobufCBinaryData job) {
    return job_key(step, TABLE_TASK, job);
}

Pb__Job *catalog_load_job(struct catalog_step *step, ProtobufCBinaryData id) {
    if (id.len != sizeof(struct id128))
        return NULL;
    struct catalog_key key = job_key(step, TABLE_JOB, id);
    Pb__Job *job = catalog_load(step, &key, &pb__job__descriptor);
    if (job != NULL && job->usage == NULL) {
        job->usage = catalog_alloc(step, sizeof *job->usage);
        pb__task_usage__init(job->usage);
    }
    return job;
}

void catalog_store_job(struct catalog_step *step, Pb__Job *job) {
    struct catalog_key key = job_key(step, TABLE_JOB, job->spec->id);
    catalog_store(step, &key, &job->base);
}

/* ---- submit ---- */

static bool check_inputs(struct catalog_step *step, const Pb__JobSpec *spec, uint64_t *ret_tasks) {
    uint64_t tasks = 0;
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const Pb__JobInput *input = spec->inputs[i];
        uint64_t bytes;
        if (!catalog_check_name(step, input->bucket, input->key) ||
            !catalog_check_chunks(step, input->chunks, input->n_chunks, &bytes))
            return false;
        if (bytes + input->inline_data.len != input->size ||
            (input->n_chunks > 0 && input->inline_data.len > 0)) {
            catalog_refuse(step, ERR_INVALID, "an input's size is not that of its data");
            return false;
        }
        tasks += catalog_plan_tasks(spec, input);
    }
    if (tasks > TASKS_MAX)
        catalog_refuse(step, ERR_LIMIT, "a job of %llu tasks; the limit is %u",
                       (unsigned long long)tasks, TASKS_MAX);
    *ret_tasks = tasks;
    return step->reply->code == 0;
}

static bool check_spec(struct catalog_step *step, const Pb__JobSpec *spec) {
    if (spec == NULL) {
        catalog_refuse(step, ERR_PROTOCOL, "a job without a specification");
        return false;
    }
    if (!catalog_check_id(step, spec->id, "job id"))
        return false;
    bool line = spec->records[0] == '\0' || strcmp(spec->records, "line") == 0;
    if (spec->name[0] == '\0' || strlen(spec->name) > NAME_BYTES_MAX)
        catalog_refuse(step, ERR_INVALID, "a job's name has 1 to %u bytes", NAME_BYTES_MAX);
    else if ((spec->n_argv > 0) == (spec->map[0] != '\0'))
        catalog_refuse(step, ERR_INVALID, "a job has either arguments or a map command");
    else if (!line && strcmp(spec->records, "whole") != 0)
        catalog_refuse(step, ERR_INVALID, "records are line or whole, not %.100s", spec->records);
    else if (spec->output_bucket[0] == '\0' && spec->output_prefix[0] != '\0')
        catalog_refuse(step, ERR_INVALID, "an output prefix without a bucket");
    else if (strlen(spec->output_prefix) > CATALOG_KEY_BYTES_MAX ||
             strlen(spec->output_bucket) > CATALOG_BUCKET_BYTES_MAX)
        catalog_refuse(step, ERR_KEY_TOO_LONG, "the output's place is too long");
    return step->reply->code == 0;
}

/* The name wished for, or that with the first free number behind it; NULL and refused when there is
 * none. */
static char *free_name(struct catalog_step *step, const char *wished) {
    size_t room = NAME_BYTES_MAX + 16;
    char *name = catalog_alloc(step, room);
    snprintf(name, room, "%s", wished);
    for (unsigned i = 2; i < NAME_TRIES_MAX; i++) {
        struct catalog_key key = name_key(step, name);
        if (!catalog_has(step, &key))
            return name;
        snprintf(name, room, "%s-%u", wished, i);
    }
    catalog_refuse(step, ERR_EXISTS, "too many jobs have the name %s", wished);
    return NULL;
}

static void store_inputs(struct catalog_step *step, const Pb__JobSpec *spec) {
    Pb__JobSpec inputs = PB__JOB_SPEC__INIT;
    inputs.id = spec->id;
    inputs.inputs = spec->inputs;
    inputs.n_inputs = spec->n_inputs;
    struct catalog_key key = job_key(step, TABLE_JOB_INPUTS, spec->id);
    catalog_store(step, &key, &inputs.base);
}

static void create_job(struct catalog_step *step, Pb__JobSpec *spec, uint64_t map_tasks) {
    store_inputs(step, spec);
    spec->n_inputs = 0;
    Pb__Job *job = catalog_alloc(step, sizeof *job);
    pb__job__init(job);
    job->spec = spec;
    job->map_tasks = (uint32_t)map_tasks;
    job->reduce_tasks = spec->reduce[0] != '\0';
    catalog_store_job(step, job);
    struct catalog_key by_name = name_key(step, spec->name),
                       active = job_key(step, TABLE_JOB_ACTIVE, spec->id);
    catalog_store_bytes(step, &by_name, spec->id.data, spec->id.len);
    catalog_store_bytes(step, &active, NULL, 0);
    step->reply->job = job;
}

void catalog_submit_job(struct catalog_step *step, const Pb__SubmitJob *op) {
    uint64_t map_tasks;
    if (!check_spec(step, op->spec))
        return;
    step->reply->job = catalog_load_job(step, op->spec->id);
    if (step->reply->job != NULL)
        return; /* submitted before */
    if (!check_inputs(step, op->spec, &map_tasks) || !catalog_check_batch(step, op->n_leases))
        return;
    char *name = free_name(step, op->spec->name);
    if (name == NULL)
        return;
    op->spec->name = name;
    create_job(step, op->spec, map_tasks);
    catalog_grant(step, op->leases, op->n_leases);
}

/* ---- the end ---- */

/* The job, or NULL and refused. */
static Pb__Job *find_job(struct catalog_step *step, ProtobufCBinaryData id) {
    Pb__Job *job = catalog_load_job(step, id);
    if (job == NULL)
        catalog_refuse(step, ERR_NO_SUCH_JOB, "there is no such job");
    return job;
}

static void settle(struct catalog_step *step, Pb__Job *job) {
    struct catalog_key active = job_key(step, TABLE_JOB_ACTIVE, job->spec->id);
    job->settled = true;
    catalog_erase(step, &active);
}

bool catalog_job_is_complete(const Pb__Job *job) {
    return job->map_done == job->map_tasks && job->reduce_done == job->reduce_tasks;
}

void catalog_end_job(struct catalog_step *step, Pb__Job *job, Pb__JobState state, char *reason,
                     uint64_t finished_ms) {
    bool leaves_nothing = state == PB__JOB_STATE__JOB_COMMITTED && job->reduce_tasks == 0 &&
                          job->spec->output_bucket[0] == '\0';
    job->state = state;
    job->reason = reason;
    job->finished_ms = finished_ms;
    if (leaves_nothing) /* provisional records, or results that are no output */
        settle(step, job);
}

void catalog_finish_job(struct catalog_step *step, const Pb__FinishJob *op) {
    Pb__Job *job = step->reply->job = find_job(step, op->job);
    if (job == NULL)
        return;
    if (job->state != PB__JOB_STATE__JOB_RUNNING) {
        catalog_refuse(step, ERR_CONFLICT, "the job has ended already");
    } else if (op->state != PB__JOB_STATE__JOB_COMMITTED &&
               op->state != PB__JOB_STATE__JOB_FAILED &&
               op->state != PB__JOB_STATE__JOB_CANCELLED) {
        catalog_refuse(step, ERR_INVALID, "not a state in which a job ends");
    } else if (op->state == PB__JOB_STATE__JOB_COMMITTED && !catalog_job_is_complete(job)) {
        catalog_refuse(step, ERR_CONFLICT, "not all tasks of the job are done");
    } else {
        catalog_end_job(step, job, op->state, op->reason, op->finished_ms);
        catalog_store_job(step, job);
    }
}

void catalog_mark_settled(struct catalog_step *step, const Pb__MarkSettled *op) {
    Pb__Job *job = find_job(step, op->job);
    if (job == NULL || job->settled)
        return;
    if (job->state == PB__JOB_STATE__JOB_RUNNING) {
        catalog_refuse(step, ERR_CONFLICT, "the job has not ended");
        return;
    }
    settle(step, job);
    catalog_store_job(step, job);
}

/* The job's task records, a bounded number; truncated tells that there are more. */
static void forget_tasks(struct catalog_step *step, ProtobufCBinaryData id) {
    struct catalog_key prefix = catalog_key_task(step, id);
    struct catalog_key *keys = catalog_alloc(step, FORGET_TASKS_MAX * sizeof *keys);
    struct catalog_scan scan;
    size_t count = 0;
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        if (count == FORGET_TASKS_MAX) {
            step->reply->truncated = true;
            break;
        }
        struct span rest = catalog_scan_rest(&scan);
        keys[count] = prefix;
        catalog_key_bytes(&keys[count++], rest.data, rest.size);
    }
    catalog_scan_close(&scan);
    for (size_t i = 0; i < count; i++)
        catalog_erase(step, &keys[i]);
}

void catalog_forget_job(struct catalog_step *step, const Pb__ForgetJob *op) {
    Pb__Job *job = find_job(step, op->job);
    if (job == NULL)
        return;
    if (!job->settled) {
        catalog_refuse(step, ERR_CONFLICT, "the job has not ended or is not settled");
        return;
    }
    forget_tasks(step, op->job);
    if (step->reply->truncated)
        return;
    struct catalog_key keys[] = {job_key(step, TABLE_JOB, op->job),
                                 job_key(step, TABLE_JOB_INPUTS, op->job),
                                 name_key(step, job->spec->name)};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        catalog_erase(step, &keys[i]);
}

/* ---- queries ---- */

static Pb__Job *find_by_name(struct catalog_step *step, const char *name) {
    struct catalog_key key = name_key(step, name);
    struct catalog_scan scan;
    uint8_t id[sizeof(struct id128)];
    catalog_scan_open(&scan, step, &key);
    bool found = catalog_scan_valid(&scan) && catalog_scan_rest(&scan).size == 0 &&
                 catalog_scan_value(&scan).size == sizeof id;
    if (found)
        memcpy(id, catalog_scan_value(&scan).data, sizeof id);
    catalog_scan_close(&scan);
    return found ? catalog_load_job(step, pb_bytes(id, sizeof id)) : NULL;
}

void catalog_get_job(struct catalog_step *step, const Pb__GetJob *query) {
    bool by_name = query->job.len == 0 && strlen(query->name) <= NAME_BYTES_MAX + 16;
    Pb__Job *job = by_name ? find_by_name(step, query->name) : catalog_load_job(step, query->job);
    if (job == NULL) {
        catalog_refuse(step, ERR_NO_SUCH_JOB, "there is no such job");
        return;
    }
    step->reply->job = job;
    if (!query->with_inputs)
        return;
    struct catalog_key key = job_key(step, TABLE_JOB_INPUTS, job->spec->id);
    const Pb__JobSpec *inputs = catalog_load(step, &key, &pb__job_spec__descriptor);
    if (inputs == NULL)
        return;
    job->spec->inputs = inputs->inputs;
    job->spec->n_inputs = inputs->n_inputs;
}

static bool is_wanted(const Pb__ListJobs *query, const Pb__Job *job) {
    bool finished = job->state != PB__JOB_STATE__JOB_RUNNING;
    if (query->only_unfinished && query->only_unsettled)
        return !job->settled;
    if (query->only_unsettled)
        return finished && !job->settled;
    return !query->only_unfinished || !finished;
}

/* By way of the small table of active jobs where that will do. */
void catalog_list_jobs(struct catalog_step *step, const Pb__ListJobs *query) {
    Pb__Reply *reply = step->reply;
    reply->jobs = catalog_alloc(step, CATALOG_LIST_MAX * sizeof *reply->jobs);
    bool active = query->only_unfinished || query->only_unsettled;
    struct catalog_key prefix = catalog_key(step->group, active ? TABLE_JOB_ACTIVE : TABLE_JOB),
                       first = prefix;
    if (query->after.len == sizeof(struct id128)) {
        catalog_key_bytes(&first, query->after.data, query->after.len);
        catalog_key_number(&first, 0, 1);
    }
    struct catalog_scan scan;
    size_t bytes = 0;
    catalog_scan_open(&scan, step, &prefix);
    catalog_scan_seek(&scan, &first);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        struct span id = catalog_scan_rest(&scan);
        Pb__Job *job = catalog_load_job(step, pb_bytes(id.data, id.size));
        if (job == NULL || !is_wanted(query, job))
            continue;
        if (reply->n_jobs == CATALOG_LIST_MAX || bytes > CATALOG_REPLY_BYTES_MAX) {
            reply->truncated = true;
            break;
        }
        bytes += protobuf_c_message_get_packed_size(&job->base);
        reply->jobs[reply->n_jobs++] = job;
    }
    catalog_scan_close(&scan);
}
