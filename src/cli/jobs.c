/* quern jobs: the list of jobs. */
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/job_api.h"
#include "cli/options.h"

struct values {
    bool json;
};

static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "one JSON object a line"},
    {0},
};

static const struct usage usage = {
    .name = "jobs",
    .operands = "",
    .about = "Lists the jobs that the cluster remembers, the newest last.",
    .example = "quern jobs",
    .options = rows,
};

static void print_job(const struct job_info *job) {
    char when[32];
    time_t seconds = (time_t)(job->submitted_ms / 1000);
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", gmtime_r(&seconds, &utc));
    printf("%-20s  %-9s  %s  %llu/%llu  %.60s\n", job->name, job->state, when,
           (unsigned long long)(job->map_done + job->reduce_done),
           (unsigned long long)(job->map_tasks + job->reduce_tasks), job->command);
}

static int list(struct client *client, bool as_json, struct err *err) {
    json_t *reply, *one;
    size_t index;
    int status = admin_request(client, "GET", "/-/api/v1/jobs", NULL, &reply, err);
    if (status != 0)
        return status;
    json_array_foreach(json_object_get(reply, "jobs"), index, one) {
        struct job_info job;
        job_read_info(one, &job);
        if (!as_json)
            print_job(&job);
        else if (json_dumpf(one, stdout, JSON_COMPACT) == 0)
            putchar('\n');
    }
    json_decref(reply);
    return 0;
}

int cli_jobs(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status == 0) {
        status = list(client, values.json, &err);
        client_close(client);
    }
    return status == 0 ? CLI_OK : options_fail(&usage, &err, status);
}
