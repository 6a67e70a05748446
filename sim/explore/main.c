/* The explorer's command line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/explore/explore.h"

static int usage(void) {
    fputs("usage: explore [--elections N] [--commands N] [--crashes N] [--candidates N] [--worlds "
          "N]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv) {
    struct bounds bounds = {
        .elections = 2, .commands = 1, .crashes = 1, .candidates = NODES, .worlds = 1u << 25};
    const struct {
        const char *name;
        uint32_t *value;
    } options[] = {{"--elections", &bounds.elections},
                   {"--commands", &bounds.commands},
                   {"--crashes", &bounds.crashes},
                   {"--candidates", &bounds.candidates},
                   {"--worlds", &bounds.worlds}};
    for (int i = 1; i < argc; i += 2) {
        uint32_t *value = NULL;
        char rest;
        for (size_t k = 0; k < sizeof options / sizeof *options; k++)
            if (strcmp(argv[i], options[k].name) == 0)
                value = options[k].value;
        if (value == NULL || i + 1 == argc || sscanf(argv[i + 1], "%u%c", value, &rest) != 1)
            return usage();
    }
    return search(&bounds);
}
