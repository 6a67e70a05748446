/* quern help: the list of commands, or the manual of one. */
#include "cli/command.h"

#include <string.h>

#include "cli/options.h"

static const struct command commands[] = {
#define X(name, function, group, summary) {#name, function, COMMAND_##group, summary},
#include "tbl/commands.h"
#undef X
};

static const char *const group_titles[COMMAND_GROUPS] = {
    [COMMAND_SERVERS] = "Servers", [COMMAND_OBJECTS] = "Objects", [COMMAND_JOBS] = "Jobs",
    [COMMAND_CLUSTER] = "Cluster", [COMMAND_OTHER] = "Other",
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

const struct command *command_find(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_group(FILE *file, enum command_group group) {
    bool titled = false;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].group != group)
            continue;
        if (!titled)
            fprintf(file, "\n%s\n", group_titles[group]);
        titled = true;
        fprintf(file, "  %-8s %s\n", commands[i].name, commands[i].summary);
    }
}

void command_print_all(FILE *file) {
    fprintf(file,
            "quern: keep your files on many machines; run your commands where the files lie.\n"
            "\nusage: quern COMMAND [OPTIONS] [ARGUMENTS]\n");
    for (enum command_group group = 0; group < COMMAND_GROUPS; group++)
        print_group(file, group);
    fprintf(file, "\nquern help COMMAND tells more; quern --version tells the version.\n");
}

static const struct usage usage = {
    .name = "help",
    .operands = "[COMMAND]",
    .operands_max = 1,
    .about = "Shows the list of commands, or the manual of one.",
    .example = "quern help put",
};

int cli_help(int argc, char **argv) {
    struct operands operands;
    int status = options_parse(&usage, argc, argv, NULL, &operands);
    if (status != OPTIONS_GO)
        return status;
    if (operands.count == 0) {
        command_print_all(stdout);
        return CLI_OK;
    }
    const struct command *command = command_find(operands.words[0]);
    if (command == NULL)
        return options_misuse(&usage, "there is no command '%s'", operands.words[0]);
    char help[] = "--help";
    char *arguments[] = {operands.words[0], help, NULL};
    return command->run(2, arguments);
}
