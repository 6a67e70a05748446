/* Jobs over HTTP: list, show, wait, cancel. */
#include "gateway/jobs.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "gateway/api.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/request.h"
#include "os/clock.h"

#define JOBS_PATH "/-/api/v1/jobs/"
#define WAIT_MS_MAX                                                                                \
    5000 /* clients ask again; one that hears nothing for longer may take us for dead */
#define LIST_MAX 10000u

/* ---- a job as JSON ---- */

json_t *job_text_json(struct span text) {
    json_t *json = json_stringn(text.data != NULL ? text.data : "", text.size);
    if (json != NULL)
        return json;
    char clean[4096];
    size_t size = text.size < sizeof clean ? text.size : sizeof clean;
    for (size_t i = 0; i < size; i++)
        clean[i] = text.data[i] > 0 ? text.data[i] : '?';
    return json_stringn(clean, size);
}

static const char *state_name(Pb__JobState state) {
    switch (state) {
    case PB__JOB_STATE__JOB_RUNNING:
        return "running";
    case PB__JOB_STATE__JOB_COMMITTED:
        return "committed";
    case PB__JOB_STATE__JOB_FAILED:
        return "failed";
    default:
        return "cancelled";
    }
}

static json_t *command_json(const Pb__JobSpec *spec) {
    _cleanup_(buf_finip) struct buf text = BUF_INIT;
    for (size_t i = 0; i < spec->n_argv; i++)
        buf_printf(&text, "%s%s", i > 0 ? " " : "", spec->argv[i]);
    buf_printf(&text, "%s%s%s", spec->map, spec->reduce[0] != '\0' ? " => " : "", spec->reduce);
    return job_text_json(buf_span(&text));
}

static json_t *usage_json(const Pb__TaskUsage *usage) {
    const Pb__TaskUsage none = PB__TASK_USAGE__INIT;
    if (usage == NULL)
        usage = &none;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "wall_us", (json_int_t)usage->wall_us,
                     "user_us", (json_int_t)usage->user_us, "system_us",
                     (json_int_t)usage->system_us, "peak_bytes", (json_int_t)usage->peak_bytes,
                     "local_bytes", (json_int_t)usage->local_bytes, "remote_bytes",
                     (json_int_t)usage->remote_bytes);
}

json_t *job_json(const Pb__Job *job) {
    const Pb__JobSpec *spec = job->spec;
    char id[ID128_HEX_SIZE];
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:{s:i, s:i}, s:{s:i, s:i}, s:i, s:i, s:o}", "name",
        spec->name, "id", id128_print(pb_id128(spec->id), id), "state", state_name(job->state),
        "reason", job_text_json(span_of(job->reason)), "command", command_json(spec),
        "submitted_ms", (json_int_t)spec->submitted_ms, "finished_ms", (json_int_t)job->finished_ms,
        "map", "tasks", (int)job->map_tasks, "done", (int)job->map_done, "reduce", "tasks",
        (int)job->reduce_tasks, "done", (int)job->reduce_done, "failed", (int)job->failed,
        "retried", (int)job->retried, "usage", usage_json(job->usage));
    if (json != NULL && spec->output_bucket[0] != '\0')
        json_object_set_new(json, "output",
                            json_sprintf("%s/%s", spec->output_bucket, spec->output_prefix));
    return json;
}

/* ---- list ---- */

static int list_page(struct request *request, ProtobufCBinaryData after, Pb__Reply **ret_reply) {
    Pb__ListJobs list = PB__LIST_JOBS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    list.after = after;
    query.op_case = PB__QUERY__OP_LIST_JOBS;
    query.list_jobs = &list;
    return catalogue_query(request, META_ROOT, &query, ret_reply);
}

static int compare_age(const void *a, const void *b) {
    const Pb__Job *one = *(Pb__Job *const *)a, *other = *(Pb__Job *const *)b;
    uint64_t x = one->spec->submitted_ms, y = other->spec->submitted_ms;
    return (x > y) - (x < y);
}

static int reply_jobs(struct request *request, Pb__Job **jobs, size_t count) {
    json_t *list = json_array();
    qsort(jobs, count, sizeof *jobs, compare_age);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, job_json(jobs[i]));
    return api_reply(request, 200, json_pack("{s:o}", "jobs", list));
}

int api_jobs(struct request *request) {
    Pb__Job **jobs = arena_array(&request->arena, Pb__Job *, LIST_MAX);
    ProtobufCBinaryData after = {0};
    size_t count = 0;
    Pb__Reply *reply;
    if (jobs == NULL)
        return request_memory(request);
    do {
        int rc = list_page(request, after, &reply);
        if (rc != 0)
            return rc;
        for (size_t i = 0; i < reply->n_jobs && count < LIST_MAX; i++)
            jobs[count++] = reply->jobs[i];
        if (reply->n_jobs > 0)
            after = reply->jobs[reply->n_jobs - 1]->spec->id;
    } while (reply->truncated && reply->n_jobs > 0 && count < LIST_MAX);
    return reply_jobs(request, jobs, count);
}

/* ---- one job ---- */

static int reply_wait(struct request *request, const char *name) {
    uint64_t until_ns = clock_deadline_ms(WAIT_MS_MAX);
    struct job_watch watch;
    json_t *json = NULL;
    int rc = job_watch_open(&watch, request, name);
    for (bool waits = true; rc == 0 && waits;) {
        Pb__Job *job;
        rc = job_watch_next(&watch, &job);
        waits = rc == 0 && job->state == PB__JOB_STATE__JOB_RUNNING && clock_now_ns() < until_ns;
        if (rc == 0 && !waits)
            json = job_json(job);
    }
    job_watch_close(&watch);
    return rc != 0 ? rc : api_reply(request, 200, json);
}

static int reply_job(struct request *request, const char *name) {
    Pb__Job *job;
    int rc = job_query(request, name, false, &job);
    return rc != 0 ? rc : api_reply(request, 200, job_json(job));
}

/* Cancelling a job that has ended is no error: its state says what became of it. */
static int reply_cancel(struct request *request, const char *name) {
    Pb__FinishJob op = PB__FINISH_JOB__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    Pb__Job *job;
    int rc = job_query(request, name, false, &job);
    if (rc != 0)
        return rc;
    struct id128 id = pb_id128(job->spec->id);
    op.job = pb_id(&id);
    op.state = PB__JOB_STATE__JOB_CANCELLED;
    op.reason = (char *)(uintptr_t) "cancelled by its user";
    op.finished_ms = clock_wall_ms();
    command.op_case = PB__COMMAND__OP_FINISH_JOB;
    command.finish_job = &op;
    rc = catalogue_submit(request, META_ROOT, &command, &reply);
    if (rc != 0 && rc != ERR_CONFLICT)
        return rc;
    request->err = (struct err){0};
    job_wake_scheduler(request, id);
    return reply_job(request, name);
}

struct action {
    const char *name;
    int (*reply)(struct request *request, const char *name);
};

static int run_action(struct request *request, const struct action *actions, size_t count) {
    const char *action, *name = api_path_item(request, JOBS_PATH, &action);
    for (size_t i = 0; i < count; i++)
        if (strcmp(actions[i].name, action) == 0)
            return actions[i].reply(request, name);
    return err_set(&request->err, ERR_NOT_FOUND, "a job has no '%.40s'", action);
}

int api_job_get(struct request *request) {
    static const struct action actions[] = {{"", reply_job},
                                            {"wait", reply_wait},
                                            {"output", job_reply_output},
                                            {"errors", job_reply_errors}};
    return run_action(request, actions, sizeof actions / sizeof *actions);
}

int api_job_post(struct request *request) {
    static const struct action actions[] = {{"cancel", reply_cancel}};
    return run_action(request, actions, sizeof actions / sizeof *actions);
}
