/* Jobs over the admin API, as the commands need them. */
#ifndef QUERN_CLI_JOB_API_H
#define QUERN_CLI_JOB_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/client.h"

#define JOB_NAME_SIZE 96

struct job_usage {
    uint64_t cpu_us;
    uint64_t peak_bytes;
    uint64_t local_bytes;
    uint64_t remote_bytes;
};

struct job_info {
    char name[JOB_NAME_SIZE];
    char state[16]; /* running, committed, failed, cancelled */
    char reason[256];
    char command[512];
    char output[1200]; /* BUCKET/PREFIX, or "" */
    uint64_t submitted_ms;
    uint64_t finished_ms; /* 0 while it runs */
    uint64_t map_tasks, map_done, reduce_tasks, reduce_done, failed, retried;
    struct job_usage usage;
};

bool job_is_running(const struct job_info *job);

/* Sends the JSON object of a job (and drops it): *ret_reply is what the server said of it. */
int job_submit(struct client *client, json_t *spec, json_t **ret_reply, struct err *err);

/* The job as it is now; wait: once it has ended, or after some seconds. */
int job_get(struct client *client, const char *name, bool wait, struct job_info *ret_job,
            struct err *err);
int job_cancel(struct client *client, const char *name, struct err *err);

/* From one job's JSON; what is missing stays empty. */
void job_read_info(json_t *json, struct job_info *ret_job);

/* Prints the job's failures, grouped by cause, with an example of each. */
int job_print_errors(struct client *client, const char *name, FILE *file, struct err *err);

/* One line with what the job took, to stderr. */
void job_print_receipt(const struct job_info *job);

#endif
