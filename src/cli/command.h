/* The table of subcommands (tbl/commands.h) and what main and help do with it. */
#ifndef QUERN_CLI_COMMAND_H
#define QUERN_CLI_COMMAND_H

#include <stdio.h>

enum command_group {
    COMMAND_SERVERS,
    COMMAND_OBJECTS,
    COMMAND_JOBS,
    COMMAND_CLUSTER,
    COMMAND_OTHER,
    COMMAND_GROUPS
};

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    enum command_group group;
    const char *summary;
};

#define X(name, function, group, summary) int function(int argc, char **argv);
#include "tbl/commands.h"
#undef X

const struct command *command_find(const char *name); /* NULL when there is none */
void command_print_all(FILE *file);

#endif
