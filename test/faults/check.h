/* The verdict on a history: every key's operations are searched for an order. */
#ifndef QUERN_TEST_FAULTS_CHECK_H
#define QUERN_TEST_FAULTS_CHECK_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "faults/history.h"

struct check_result {
    uint64_t operations; /* a listing counts once */
    uint64_t keys;
    uint64_t violations; /* keys whose history is not linearizable */
    uint64_t undecided;  /* keys on which the search ran out */
    uint64_t steps_max;  /* of the hardest key */
};

/* Says of the first violations what happened to the key around them, and writes the whole history
 * of the key to FOLDER/violation-N.history, to be judged again (folder NULL: it does not). Errors:
 * as history_read, and those of writing. */
int check_file(const char *path, const char *folder, struct linear_limits limits, FILE *report,
               struct check_result *ret_result, struct err *err);

#endif
