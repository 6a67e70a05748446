/* quern job: one job, by its name. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/job_api.h"
#include "cli/options.h"
#include "cli/progress.h"

struct values {
    bool json;
};

static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "show: as JSON"},
    {0},
};

static const struct usage usage = {
    .name = "job",
    .operands = "show|wait|errors|cancel JOB",
    .operands_min = 2,
    .operands_max = 2,
    .about = "Shows a job; waits for its end (exit status 1 when it failed); shows its failures, "
             "grouped by cause, with\n"
             "what the first of each wrote to stderr; or cancels it.",
    .example = "quern job show grep-7f3k\n"
               "quern job errors grep-7f3k",
    .options = rows,
};

static void print_job(const struct job_info *job) {
    char bytes[PROGRESS_SIZE];
    printf("name      %s\n", job->name);
    printf("state     %s%s%s\n", job->state, job->reason[0] != '\0' ? ": " : "", job->reason);
    printf("command   %s\n", job->command);
    if (job->output[0] != '\0')
        printf("output    %s\n", job->output);
    printf("map       %llu of %llu done\n", (unsigned long long)job->map_done,
           (unsigned long long)job->map_tasks);
    if (job->reduce_tasks > 0)
        printf("reduce    %llu of %llu done\n", (unsigned long long)job->reduce_done,
               (unsigned long long)job->reduce_tasks);
    printf("tasks     %llu retried, %llu failed\n", (unsigned long long)job->retried,
           (unsigned long long)job->failed);
    if (job->finished_ms > 0)
        printf("time      %.2f s\n", (double)(job->finished_ms - job->submitted_ms) / 1000);
    printf("CPU       %.2f s\n", (double)job->usage.cpu_us / 1e6);
    printf("peak      %s\n", progress_print_bytes(job->usage.peak_bytes, bytes));
    printf("read      %s local", progress_print_bytes(job->usage.local_bytes, bytes));
    printf(", %s remote\n", progress_print_bytes(job->usage.remote_bytes, bytes));
}

static int show(struct client *client, const char *name, bool as_json, int *ret_exit,
                struct err *err) {
    if (as_json) {
        char path[192];
        json_t *reply;
        snprintf(path, sizeof path, "/-/api/v1/jobs/%.100s", name);
        int status = admin_request(client, "GET", path, NULL, &reply, err);
        if (status == 0 && json_dumpf(reply, stdout, JSON_INDENT(2)) == 0)
            putchar('\n');
        if (status == 0)
            json_decref(reply);
        return status;
    }
    struct job_info job;
    int status = job_get(client, name, false, &job, err);
    if (status == 0)
        print_job(&job);
    return status;
}

static int wait_job(struct client *client, const char *name, bool as_json, int *ret_exit,
                    struct err *err) {
    struct job_info job;
    int status;
    do
        status = job_get(client, name, true, &job, err);
    while (status == 0 && job_is_running(&job));
    if (status != 0)
        return status;
    puts(job.state);
    *ret_exit = strcmp(job.state, "committed") == 0 ? CLI_OK : CLI_FAILED;
    return 0;
}

static int errors(struct client *client, const char *name, bool as_json, int *ret_exit,
                  struct err *err) {
    return job_print_errors(client, name, stdout, err);
}

static int cancel(struct client *client, const char *name, bool as_json, int *ret_exit,
                  struct err *err) {
    return job_cancel(client, name, err);
}

static const struct {
    const char *name;
    int (*run)(struct client *client, const char *name, bool as_json, int *ret_exit,
               struct err *err);
} actions[] = {{"show", show}, {"wait", wait_job}, {"errors", errors}, {"cancel", cancel}};

int cli_job(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    size_t action = 0;
    while (action < sizeof actions / sizeof *actions &&
           strcmp(actions[action].name, operands.words[0]) != 0)
        action++;
    if (action == sizeof actions / sizeof *actions)
        return options_misuse(&usage, "there is no 'quern job %s'", operands.words[0]);
    struct client *client;
    struct err err = {0};
    int exit_status = CLI_OK;
    status = client_open(&client, &err);
    if (status == 0) {
        status = actions[action].run(client, operands.words[1], values.json, &exit_status, &err);
        client_close(client);
    }
    return status == 0 ? exit_status : options_fail(&usage, &err, status);
}
