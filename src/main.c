/* quern: the table of subcommands; nothing else. */
#include <stdio.h>

int main(int argc, char **argv) {
    (void)argc;
    (void)argv;
    puts("quern " QUERN_VERSION);
    return 0;
}
