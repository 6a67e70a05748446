/* One sandbox, in which tasks of one job run one after the other. */
#ifndef QUERN_WORKER_SANDBOX_H
#define QUERN_WORKER_SANDBOX_H

#include <stdint.h>

#include "worker/launch.h"

struct launcher;
struct sandbox;

struct sandbox_task {
    const char *const *argv;        /* ends with NULL; found in the PATH of tasks */
    const char *const *environment; /* ends with NULL; "NAME=value" */
    int stdin_fd;                   /* lent */
    int stdout_fd;             /* lent; a file of this task alone, never a pipe that others share */
    uint64_t time_ms_max;      /* 0 = 24 hours */
    uint64_t memory_bytes_max; /* 0 = no limit */
    uint64_t file_bytes_max;   /* of any one file that it writes; 0 = 64 GiB */
};

int sandbox_open(struct launcher *launcher, struct sandbox **ret_sandbox, struct err *err);
/* NULL is fine. Whatever still runs in it is killed. */
struct sandbox *sandbox_close(struct sandbox *sandbox);

/* The scratch directory as its tasks see it: their TMPDIR and first current directory. */
const char *sandbox_scratch(const struct sandbox *sandbox);

/* Starts the task; then sandbox_wait() waits for its end, when nothing of it is left but what it
 * wrote to stdout_fd. An error of either means that the sandbox must be closed, and that the task
 * may be run again in another; how the task itself ended is in *ret_result. One thread. Errors:
 * ERR_LIMIT (the command and its environment are too long: nothing was started and the sandbox is
 * as before), ERR_CLOSED (the keeper died; rarely that is the end of a task over its memory, too).
 */
int sandbox_start(struct sandbox *sandbox, const struct sandbox_task *task, struct err *err);
int sandbox_wait(struct sandbox *sandbox, struct launch_result *ret_result, struct err *err);

/* Ends the running task, if one runs: LAUNCH_KILLED. Any thread. */
void sandbox_kill(struct sandbox *sandbox);

#endif
