/* The command line of what runs under faults: the workload, and the verdict on its history. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/check.h"
#include "faults/workload.h"

static int fail(const struct err *err, int code) {
    fprintf(stderr, "faults-client: %s\n", err_message(err, code));
    return 2;
}

static int usage(void) {
    fputs("usage: faults-client check HISTORY [FOLDER]\n"
          "       faults-client load HISTORY BUCKET [--seed N] [--rate PER-SECOND] [--window MS]\n"
          "                   [--keys N] [--threads N] [--big MS] [--timeout MS]\n"
          "load finds gateways and keys as the quern commands do\n",
          stderr);
    return 2;
}

static int check(int argc, char **argv) {
    if (argc < 3 || argc > 4)
        return usage();
    struct check_result result;
    struct err err = {0};
    int code =
        check_file(argv[2], argc == 4 ? argv[3] : NULL, LINEAR_LIMITS, stdout, &result, &err);
    if (code != 0)
        return fail(&err, code);
    printf("check: %" PRIu64 " operations, %" PRIu64 " keys, %" PRIu64 " violations, %" PRIu64
           " undecided, hardest %" PRIu64 " steps\n",
           result.operations, result.keys, result.violations, result.undecided, result.steps_max);
    return result.violations + result.undecided > 0;
}

static bool take_option(struct workload_plan *plan, const char *name, const char *value) {
    const struct {
        const char *name;
        uint64_t *number;
    } options[] = {{"--seed", &plan->seed},         {"--rate", &plan->rate},
                   {"--window", &plan->window_ms},  {"--keys", &plan->keys},
                   {"--threads", &plan->threads},   {"--big", &plan->big_ms},
                   {"--timeout", &plan->timeout_ms}};
    char rest;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(name, options[i].name) == 0)
            return sscanf(value, "%" SCNu64 "%c", options[i].number, &rest) == 1;
    return false;
}

static int load(int argc, char **argv) {
    if (argc < 4)
        return usage();
    struct workload_plan plan = {.history = argv[2],
                                 .bucket = argv[3],
                                 .seed = 1,
                                 .rate = 300,
                                 .window_ms = 10000,
                                 .keys = 240,
                                 .threads = 6,
                                 .big_ms = 2000,
                                 .timeout_ms = 5000};
    for (int i = 4; i < argc; i += 2)
        if (i + 1 == argc || !take_option(&plan, argv[i], argv[i + 1]))
            return usage();
    if (plan.rate == 0 || plan.window_ms == 0 || plan.keys == 0 || plan.keys > WORKLOAD_KEYS_MAX ||
        plan.threads == 0)
        return usage();
    struct err err = {0};
    int code = workload_run(&plan, &err);
    return code != 0 ? fail(&err, code) : 0;
}

int main(int argc, char **argv) {
    if (argc >= 2 && strcmp(argv[1], "check") == 0)
        return check(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "load") == 0)
        return load(argc, argv);
    return usage();
}
