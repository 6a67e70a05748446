/* Staying with a job until it ends: its output to stdout, its progress to stderr, Ctrl-C to it. */
#ifndef QUERN_CLI_JOB_ATTACH_H
#define QUERN_CLI_JOB_ATTACH_H

#include "cli/job_api.h"

struct job_attach;

/* Blocks SIGINT and SIGTERM in this thread and those it starts: the first one cancels the job, a
 * second one ends the process. Call before the job is submitted. */
int job_attach_new(struct job_attach **ret_attach, struct err *err);
struct job_attach *job_attach_free(struct job_attach *attach);

/* Follows the job to its end. streams: its output goes to stdout, in input order, as it is made;
 * what has been written stays right over the loss of a server. Fails only when the cluster or
 * stdout does: how the job ended is in *ret_job. */
int job_attach_follow(struct job_attach *attach, struct client *client, const char *name,
                      bool streams, struct job_info *ret_job, struct err *err);

#endif
