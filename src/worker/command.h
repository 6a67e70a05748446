/* A task's command: how a shell command is started, and what its exit status means (COMPUTE.md,
 * "Exit status"). */
#ifndef QUERN_WORKER_COMMAND_H
#define QUERN_WORKER_COMMAND_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"
#include "worker/launch.h"

#define COMMAND_STAGES_MAX 32

/* The last pipeline of a shell command: the one that its status comes from. */
struct pipeline {
    unsigned stages; /* 0: compound commands or substitutions that are not looked into */
    bool is_grep[COMMAND_STAGES_MAX]; /* grep, egrep, fgrep or rg: status 1 means "no match" */
};

void pipeline_parse(struct span command, struct pipeline *ret_pipeline);
bool command_is_grep(const char *program);

struct command {
    const char **argv;  /* ends with NULL */
    struct buf text;    /* of a shell command, with what quern puts before it */
    bool one_is_ok;     /* status 1 means "no match" */
    bool sigpipe_is_ok; /* 141: a command whose reader, like head, had enough */
};

/* Either the argc words of argv (exec'd as typed) or, when there are none, shell (a string for bash
 * with pipefail, or sh where there is no bash). The words are lent until fini, and what is made is
 * cut from the arena. ERR_LIMIT: it is too long. */
int command_init(struct command *command, size_t argc, char *const *argv, const char *shell,
                 struct arena *arena, struct err *err);
void command_fini(struct command *command);

#define COMMAND_REASON_SIZE 128

enum command_verdict {
    COMMAND_OK,
    COMMAND_FAILED, /* as it would again */
    COMMAND_RETRY,  /* killed by a signal, or it asked (75) */
};

/* Judges the end of an attempt. reason: for people, "" when it is good. *ret_status: the exit
 * status, or -signal. */
enum command_verdict command_judge(const struct command *command,
                                   const struct launch_result *result,
                                   char reason[COMMAND_REASON_SIZE], int *ret_status);

#endif
