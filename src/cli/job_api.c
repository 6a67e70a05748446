/* Requests about jobs, and their JSON taken apart. */
#include "cli/job_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/admin.h"
#include "cli/progress.h"

#define PATH_SIZE 192

bool job_is_running(const struct job_info *job) {
    return strcmp(job->state, "running") == 0;
}

int job_submit(struct client *client, json_t *spec, json_t **ret_reply, struct err *err) {
    return admin_request(client, "POST", "/-/api/v1/jobs", spec, ret_reply, err);
}

static const char *job_path(const char *name, const char *what, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "/-/api/v1/jobs/%.*s%s", JOB_NAME_SIZE, name, what);
    return path;
}

static void read_text(json_t *json, const char *member, char *text, size_t size) {
    const char *value = json_string_value(json_object_get(json, member));
    snprintf(text, size, "%s", value != NULL ? value : "");
}

static uint64_t read_number(json_t *json, const char *member) {
    json_int_t value = json_integer_value(json_object_get(json, member));
    return value > 0 ? (uint64_t)value : 0;
}

void job_read_info(json_t *json, struct job_info *ret_job) {
    struct job_info job = {0};
    json_t *map = json_object_get(json, "map"), *reduce = json_object_get(json, "reduce");
    json_t *usage = json_object_get(json, "usage");
    read_text(json, "name", job.name, sizeof job.name);
    read_text(json, "state", job.state, sizeof job.state);
    read_text(json, "reason", job.reason, sizeof job.reason);
    read_text(json, "command", job.command, sizeof job.command);
    read_text(json, "output", job.output, sizeof job.output);
    job.submitted_ms = read_number(json, "submitted_ms");
    job.finished_ms = read_number(json, "finished_ms");
    job.map_tasks = read_number(map, "tasks");
    job.map_done = read_number(map, "done");
    job.reduce_tasks = read_number(reduce, "tasks");
    job.reduce_done = read_number(reduce, "done");
    job.failed = read_number(json, "failed");
    job.retried = read_number(json, "retried");
    job.usage.cpu_us = read_number(usage, "user_us") + read_number(usage, "system_us");
    job.usage.peak_bytes = read_number(usage, "peak_bytes");
    job.usage.local_bytes = read_number(usage, "local_bytes");
    job.usage.remote_bytes = read_number(usage, "remote_bytes");
    *ret_job = job;
}

int job_get(struct client *client, const char *name, bool wait, struct job_info *ret_job,
            struct err *err) {
    char path[PATH_SIZE];
    json_t *reply;
    int status =
        admin_request(client, "GET", job_path(name, wait ? "/wait" : "", path), NULL, &reply, err);
    if (status != 0)
        return status;
    job_read_info(reply, ret_job);
    json_decref(reply);
    return 0;
}

int job_cancel(struct client *client, const char *name, struct err *err) {
    char path[PATH_SIZE];
    json_t *reply;
    int status = admin_request(client, "POST", job_path(name, "/cancel", path), NULL, &reply, err);
    if (status == 0)
        json_decref(reply);
    return status;
}

static void print_indented(FILE *file, const char *text) {
    for (const char *line = text; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        fprintf(file, "    %.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static void print_group(FILE *file, json_t *group) {
    char reason[256], key[1200], output[4200];
    read_text(group, "reason", reason, sizeof reason);
    read_text(group, "key", key, sizeof key);
    read_text(group, "stderr", output, sizeof output);
    uint64_t count = read_number(group, "count"), offset = read_number(group, "offset");
    fprintf(file, "%llu task%s, %s", (unsigned long long)count, count == 1 ? "" : "s", reason);
    if (key[0] != '\0')
        fprintf(file, "; first %s, bytes %llu-%llu", key, (unsigned long long)offset,
                (unsigned long long)(offset + read_number(group, "length")));
    fputc('\n', file);
    print_indented(file, output);
}

int job_print_errors(struct client *client, const char *name, FILE *file, struct err *err) {
    char path[PATH_SIZE];
    json_t *reply, *group;
    size_t index;
    int status = admin_request(client, "GET", job_path(name, "/errors", path), NULL, &reply, err);
    if (status != 0)
        return status;
    json_array_foreach(json_object_get(reply, "groups"), index, group) print_group(file, group);
    json_decref(reply);
    return 0;
}

void job_print_receipt(const struct job_info *job) {
    char peak[PROGRESS_SIZE], local[PROGRESS_SIZE], remote[PROGRESS_SIZE];
    double seconds = job->finished_ms > job->submitted_ms
                         ? (double)(job->finished_ms - job->submitted_ms) / 1000
                         : 0;
    fprintf(stderr,
            "%s: %s in %.2f s, %.2f CPU s, peak %s, read %s local and %s remote, %llu retried\n",
            job->name, job->state, seconds, (double)job->usage.cpu_us / 1e6,
            progress_print_bytes(job->usage.peak_bytes, peak),
            progress_print_bytes(job->usage.local_bytes, local),
            progress_print_bytes(job->usage.remote_bytes, remote),
            (unsigned long long)job->retried);
}
