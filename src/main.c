/* quern: finds the subcommand in the table and runs it; nothing else. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"

static int run(int argc, char **argv) {
    if (argc < 2) {
        command_print_all(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("quern " QUERN_VERSION);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        command_print_all(stdout);
        return CLI_OK;
    }
    const struct command *command = command_find(argv[1]);
    if (command == NULL) {
        fprintf(stderr, "quern: there is no command '%s'; see quern help\n", argv[1]);
        return CLI_USAGE;
    }
    return command->run(argc - 1, argv + 1);
}

int main(int argc, char **argv) {
    int status = run(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_OK) {
        perror("quern: cannot write to stdout");
        status = CLI_FAILED;
    }
    return status;
}
