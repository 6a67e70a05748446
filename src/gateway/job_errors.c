/* The failures of a job, grouped by cause, each group with the first of them. */
#include <string.h>

#include "core/catalog_plan.h"
#include "gateway/api.h"
#include "gateway/jobs.h"
#include "gateway/request.h"

#define GROUPS_MAX 64u
#define PAGE_TASKS 256u
#define PAGE_BYTES_MAX ((size_t)32 << 20)

struct groups {
    struct request *request;
    const Pb__Job *job;
    json_t *list;
};

/* What a group has in common: the reason, and the last line of what was written to stderr. */
static struct span last_line(struct span text) {
    while (text.size > 0 && text.data[text.size - 1] == '\n')
        text.size--;
    const char *newline = text.size > 0 ? memrchr(text.data, '\n', text.size) : NULL;
    if (newline == NULL)
        return text;
    return (struct span){newline + 1, text.size - (size_t)(newline + 1 - text.data)};
}

static json_t *find_group(struct groups *groups, json_t *reason, json_t *line) {
    size_t index;
    json_t *group;
    json_array_foreach(groups->list, index, group) {
        if (json_equal(json_object_get(group, "reason"), reason) &&
            json_equal(json_object_get(group, "line"), line))
            return group;
    }
    return NULL;
}

/* Where the map task with that number reads. */
static void add_input(json_t *group, const Pb__JobSpec *spec, uint64_t index) {
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const Pb__JobInput *input = spec->inputs[i];
        uint64_t tasks = catalog_plan_tasks(spec, input), offset = 0;
        if (index >= tasks) {
            index -= tasks;
            continue;
        }
        for (uint64_t chunk = 0; chunk < index; chunk++)
            offset += input->chunks[chunk]->length;
        uint64_t length = tasks > 1 ? input->chunks[index]->length : input->size;
        json_object_set_new(group, "key", json_sprintf("%s/%s", input->bucket, input->key));
        json_object_set_new(group, "offset", json_integer((json_int_t)offset));
        json_object_set_new(group, "length", json_integer((json_int_t)length));
        return;
    }
}

static void add_failure(struct groups *groups, const Pb__Task *task) {
    const Pb__TaskResult *result = task->result;
    struct span output = pb_span(result->stderr_tail);
    json_t *line = job_text_json(last_line(output));
    json_t *reason = job_text_json(span_of(result->reason));
    json_t *group = find_group(groups, reason, line);
    if (group != NULL) {
        json_int_t count = json_integer_value(json_object_get(group, "count"));
        json_object_set_new(group, "count", json_integer(count + 1));
    } else if (json_array_size(groups->list) < GROUPS_MAX) {
        group =
            json_pack("{s:i, s:O, s:O, s:s, s:i, s:i, s:i, s:o}", "count", 1, "reason", reason,
                      "line", line, "phase", task->address->phase == PHASE_MAP ? "map" : "reduce",
                      "task", (int)task->address->index, "exit_status", result->exit_status,
                      "attempts", (int)task->attempts, "stderr", job_text_json(output));
        if (group != NULL && task->address->phase == PHASE_MAP)
            add_input(group, groups->job->spec, task->address->index);
        json_array_append_new(groups->list, group);
    }
    json_decref(line);
    json_decref(reason);
}

static int gather_page(struct groups *groups, uint32_t phase, uint32_t *next, bool *ret_more,
                       struct arena *arena) {
    Pb__Reply *reply;
    int rc = job_list_tasks(groups->request, pb_id128(groups->job->spec->id), phase, *next,
                            PAGE_TASKS, arena, &reply);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < reply->n_tasks; i++) {
        const Pb__Task *task = reply->tasks[i];
        if (task->address == NULL)
            continue;
        *next = task->address->index + 1;
        if (task->result != NULL && !task->result->ok && task->state != PB__TASK_STATE__TASK_DONE)
            add_failure(groups, task);
    }
    *ret_more = reply->truncated && reply->n_tasks > 0;
    return 0;
}

static int gather(struct groups *groups, uint32_t phase) {
    uint32_t next = 0;
    bool more = true;
    int rc = 0;
    while (more && rc == 0) {
        struct arena arena;
        arena_init(&arena, PAGE_BYTES_MAX);
        rc = gather_page(groups, phase, &next, &more, &arena);
        arena_fini(&arena);
    }
    return rc;
}

int job_reply_errors(struct request *request, const char *name) {
    Pb__Job *job;
    int rc = job_query(request, name, true, &job);
    if (rc != 0)
        return rc;
    struct groups groups = {request, job, json_array()};
    rc = gather(&groups, PHASE_MAP);
    if (rc == 0)
        rc = gather(&groups, PHASE_REDUCE);
    if (rc != 0) {
        json_decref(groups.list);
        return rc;
    }
    return api_reply(request, 200,
                     json_pack("{s:s, s:o, s:o}", "name", job->spec->name, "reason",
                               job_text_json(span_of(job->reason)), "groups", groups.list));
}
