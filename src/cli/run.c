/* quern run: a job over stored objects, followed to its end. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/id.h"
#include "cli/command.h"
#include "cli/job_api.h"
#include "cli/job_attach.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "os/random.h"

#define STATUS_INTERRUPTED 130

struct values {
    const char *map;
    const char *reduce;
    const char *output;
    const char *records;
    const char *each;
    uint64_t time_ms;
    uint64_t memory_bytes;
    uint64_t level;
    bool detach;
    bool dry_run;
};

static const struct option_row rows[] = {
    {"map", 0, OPTION_TEXT, offsetof(struct values, map), "CMD",
     "shell command for each piece of the input"},
    {"reduce", 0, OPTION_TEXT, offsetof(struct values, reduce), "CMD",
     "shell command over all that the maps wrote"},
    {"output", 'o', OPTION_TEXT, offsetof(struct values, output), "PLACE",
     "keep the output as objects that begin so"},
    {"detach", 'd', OPTION_FLAG, offsetof(struct values, detach), NULL,
     "print the job's name, do not wait"},
    {"records", 0, OPTION_TEXT, offsetof(struct values, records), "KIND",
     "line (cut between lines) or whole (do not cut)"},
    {"each", 0, OPTION_TEXT, offsetof(struct values, each), "object", "one task for each object"},
    {"time", 0, OPTION_DURATION, offsetof(struct values, time_ms), "T", "limit of a task: 30s, 5m"},
    {"mem", 0, OPTION_BYTES, offsetof(struct values, memory_bytes), "SIZE",
     "limit of a task: 512M"},
    {"sandbox", 0, OPTION_NUMBER, offsetof(struct values, level), "LEVEL",
     "run only where it is at least so"},
    {"dry-run", 0, OPTION_FLAG, offsetof(struct values, dry_run), NULL, "say what would be done"},
    {0},
};

static const struct usage usage = {
    .name = "run",
    .operands = "INPUT... (--map CMD [--reduce CMD] | -- CMD ARG...)",
    .operands_min = 1,
    .operands_max = -1,
    .takes_command = true,
    .about = "Runs a command over stored objects, in pieces, on the nodes that hold them. An INPUT "
             "is BUCKET/KEY, BUCKET/ or\n"
             "BUCKET/FOLDER/ for all below, or has * ? [] in its key. What the pieces write comes "
             "to stdout in the order of\n"
             "the input. Exit status of a command: 0 is good, so is 1 of a grep (no match), 75 "
             "asks to be tried again.\n"
             "Ctrl-C cancels the job.",
    .example = "quern run 'logs/app/2026-07-*' -- grep -F 'timeout after'\n"
               "quern run books/ --map 'wc -w' --reduce 'awk \"{ n += \\$1 } END { print n }\"'",
    .options = rows,
};

/* The single grammar: a command after -- is exactly one --map. */
static int check_values(const struct values *values, const struct operands *operands) {
    if (operands->command != NULL && (values->map != NULL || values->reduce != NULL))
        return options_misuse(&usage, "-- CMD is a map of its own: not with --map or --reduce");
    if (operands->command == NULL && values->map == NULL)
        return options_misuse(&usage, "it needs --map CMD, or -- CMD ARG...");
    if (operands->command != NULL && operands->command_count == 0)
        return options_misuse(&usage, "there is no command after --");
    if (values->records != NULL && strcmp(values->records, "line") != 0 &&
        strcmp(values->records, "whole") != 0)
        return options_misuse(&usage, "--records is line or whole, not '%s'", values->records);
    if (values->each != NULL && strcmp(values->each, "object") != 0)
        return options_misuse(&usage, "--each is object, not '%s'", values->each);
    if (values->detach && values->dry_run)
        return options_misuse(&usage, "--detach and --dry-run do not go together");
    return OPTIONS_GO;
}

static void set_text(json_t *spec, const char *name, const char *value) {
    if (value != NULL)
        json_object_set_new(spec, name, json_string(value));
}

static json_t *list_words(char *const *words, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_string(words[i]));
    return list;
}

static json_t *build_spec(const struct values *values, const struct operands *operands) {
    char id[ID128_HEX_SIZE];
    json_t *spec = json_object();
    json_object_set_new(spec, "id", json_string(id128_print(random_id128(), id)));
    json_object_set_new(spec, "inputs", list_words(operands->words, operands->count));
    if (operands->command != NULL)
        json_object_set_new(spec, "argv", list_words(operands->command, operands->command_count));
    set_text(spec, "map", values->map);
    set_text(spec, "reduce", values->reduce);
    set_text(spec, "output", values->output);
    set_text(spec, "records", values->records);
    set_text(spec, "each", values->each);
    json_object_set_new(spec, "time_ms", json_integer((json_int_t)values->time_ms));
    json_object_set_new(spec, "memory_bytes", json_integer((json_int_t)values->memory_bytes));
    json_object_set_new(spec, "sandbox_level", json_integer((json_int_t)values->level));
    json_object_set_new(spec, "dry_run", json_boolean(values->dry_run));
    return spec;
}

static void print_plan(json_t *plan) {
    char bytes[PROGRESS_SIZE];
    printf(
        "inputs    %lld objects, %s\n",
        (long long)json_integer_value(json_object_get(plan, "inputs")),
        progress_print_bytes((uint64_t)json_integer_value(json_object_get(plan, "bytes")), bytes));
    printf("tasks     %lld map, %lld reduce\n",
           (long long)json_integer_value(json_object_get(plan, "map_tasks")),
           (long long)json_integer_value(json_object_get(plan, "reduce_tasks")));
    printf("sandbox   L%lld\n",
           (long long)json_integer_value(json_object_get(plan, "sandbox_level")));
    printf("statuses  0 good; 1 of grep, egrep, fgrep, rg: no match, good; 75: again; any other: "
           "failed\n");
}

/* Follows the job; its exit status. */
static int follow(struct job_attach *attach, struct client *client, const char *name,
                  bool streams) {
    struct job_info job;
    struct err err = {0};
    int status = job_attach_follow(attach, client, name, streams, &job, &err);
    if (status != 0)
        return options_fail(&usage, &err, status);
    if (strcmp(job.state, "failed") == 0) {
        fprintf(stderr, "quern run: %s failed: %s\n", job.name, job.reason);
        job_print_errors(client, name, stderr, NULL); /* the line above stands by itself */
    }
    if (isatty(STDERR_FILENO) == 1)
        job_print_receipt(&job);
    if (strcmp(job.state, "cancelled") == 0)
        fprintf(stderr, "quern run: %s was cancelled\n", job.name);
    return strcmp(job.state, "committed") == 0   ? CLI_OK
           : strcmp(job.state, "cancelled") == 0 ? STATUS_INTERRUPTED
                                                 : CLI_FAILED;
}

static int submit_and_follow(struct client *client, struct job_attach *attach,
                             const struct values *values, const struct operands *operands) {
    json_t *reply;
    struct err err = {0};
    int status = job_submit(client, build_spec(values, operands), &reply, &err);
    if (status != 0)
        return options_fail(&usage, &err, status);
    char name[JOB_NAME_SIZE];
    snprintf(name, sizeof name, "%s", json_string_value(json_object_get(reply, "name")));
    if (values->dry_run)
        print_plan(reply);
    else if (values->detach)
        puts(name);
    json_decref(reply);
    return attach == NULL ? CLI_OK : follow(attach, client, name, values->output == NULL);
}

int cli_run(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status == OPTIONS_GO)
        status = check_values(&values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct job_attach *attach = NULL;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status != 0)
        return options_fail(&usage, &err, status);
    if (!values.detach && !values.dry_run)
        status = job_attach_new(&attach, &err);
    status = status == 0 ? submit_and_follow(client, attach, &values, &operands)
                         : options_fail(&usage, &err, status);
    job_attach_free(attach);
    client_close(client);
    return status;
}
