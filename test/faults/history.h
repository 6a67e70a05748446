/* Histories: what clients asked and what they were answered, one operation a line.
 *
 *     put 1200345 1300987 2 done r/000001/17 9e107d9d372bb682 -
 *     put-if-match 1300100 1400200 1 refused r/000001/17 e4d909c290d0fb1c 9e107d9d372bb682
 *     read 1400300 1400900 3 done r/000001/17 9e107d9d372bb682 -
 *     list 1400300 1400900 3 done r/000001/ r/000001/17=9e107d9d372bb682 r/000001/18=...
 *     # anything
 *
 * The fields: kind, invocation and return in ns of one clock, gateway (from 1), outcome, key,
 * value, the value expected by a condition. Values are the first 8 bytes of the object's MD5 in
 * hex, "-" for none. An operation that was certainly never sent is not in it.
 *
 * A listing is checked as one read of every key of the history that begins with its prefix: each
 * must have been, at some moment while the listing ran, what the listing says it is: that value, or
 * absent. What is not checked: that all of this was so at one moment (S3 does not promise it), and
 * the listing's order. */
#ifndef QUERN_TEST_FAULTS_HISTORY_H
#define QUERN_TEST_FAULTS_HISTORY_H

#include <stdio.h>

#include "base/err.h"
#include "base/span.h"
#include "faults/linear.h"

#define HISTORY_RECORDS_MAX                                                                        \
    (UINT64_C(1) << 25)       /* operations, those of listings counted one by one */
#define HISTORY_VALUE_SIZE 17 /* printed, with the NUL */

struct history_record {
    struct span key;
    struct linear_op op; /* op.tag: the gateway */
};

/* All operations, sorted by key and invocation. */
struct history {
    char *text;
    size_t text_size;
    struct history_record *records;
    size_t count;
    size_t room;
    uint64_t lines; /* operations, a listing counted once */
};

/* Errors: ERR_CORRUPT with the number of the line, ERR_LIMIT, ERR_NOMEM, those of reading the file.
 * fini in any case. */
int history_read(const char *path, struct history *history, struct err *err);
void history_fini(struct history *history); /* also of a zeroed one */

/* The line of one operation, or of a listing up to its prefix. */
void history_print(FILE *file, const struct history_record *record);
void history_print_list(FILE *file, uint64_t invoke_ns, uint64_t return_ns, uint32_t gateway,
                        struct span prefix);
/* "9e107d9d372bb682" or "-"; returns text. */
const char *history_print_value(uint64_t value, char text[HISTORY_VALUE_SIZE]);

#endif
