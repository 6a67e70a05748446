/* From a history file to a verdict. */
#include "faults/check.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "os/clock.h"

#define EXCERPT_BEFORE_NS (2 * NS_PER_S)
#define EXCERPT_LINES_MAX 60u
#define TOLD_MAX 10u /* keys; the others are counted */

struct check {
    const char *folder;
    struct linear_limits limits;
    FILE *report;
    struct check_result *result;
    struct linear_op *ops; /* of one key */
    size_t room;
    struct err *err;
};

static size_t count_key(const struct history *history, size_t first) {
    size_t count = 1;
    while (first + count < history->count &&
           span_equal(history->records[first].key, history->records[first + count].key))
        count++;
    return count;
}

/* What overlapped the operation that fits nowhere, and the two seconds before. */
static void print_excerpt(const struct check *check, const struct history_record *records,
                          size_t count, size_t blocked) {
    const struct linear_op *op = &records[blocked].op;
    unsigned lines = 0;
    for (size_t i = 0; i < count && lines < EXCERPT_LINES_MAX; i++) {
        const struct linear_op *other = &records[i].op;
        bool reaches = other->outcome == LINEAR_UNKNOWN ||
                       other->return_ns + EXCERPT_BEFORE_NS > op->invoke_ns;
        if (other->invoke_ns > op->return_ns || !reaches)
            continue;
        fputs(i == blocked ? "  > " : "    ", check->report);
        history_print(check->report, &records[i]);
        lines++;
    }
}

static int save(const struct check *check, const struct history_record *records, size_t count,
                uint64_t number) {
    if (check->folder == NULL)
        return 0;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/violation-%" PRIu64 ".history", check->folder, number);
    _cleanup_(file_closep) FILE *file = fopen(path, "w");
    for (size_t i = 0; file != NULL && i < count; i++)
        history_print(file, &records[i]);
    if (file == NULL || fflush(file) != 0)
        return err_errno(check->err, errno, "%s", path);
    fprintf(check->report, "  all of it: %s\n", path);
    return 0;
}

static int tell(const struct check *check, enum linear_verdict verdict,
                const struct history_record *records, size_t count,
                const struct linear_result *found) {
    const struct check_result *result = check->result;
    uint64_t number = result->violations + result->undecided;
    if (number > TOLD_MAX)
        return 0;
    fprintf(check->report, "%s: %.*s: %zu of %zu operations placed, %" PRIu64 " steps\n",
            verdict == LINEAR_BAD ? "violation" : "undecided", SPAN_ARGS(records->key),
            found->placed, count, found->steps);
    if (verdict == LINEAR_BAD)
        print_excerpt(check, records, count, found->blocked);
    return save(check, records, count, number);
}

static int check_key(struct check *check, const struct history_record *records, size_t count) {
    if (count > LINEAR_OPS_MAX)
        return err_set(check->err, ERR_LIMIT, "%.*s has %zu operations", SPAN_ARGS(records->key),
                       count);
    if (count > check->room) {
        free(check->ops);
        check->room = 2 * count;
        check->ops = malloc(check->room * sizeof *check->ops);
        if (check->ops == NULL)
            return err_set(check->err, ERR_NOMEM, "out of memory for %zu operations", count);
    }
    for (size_t i = 0; i < count; i++)
        check->ops[i] = records[i].op;
    struct linear_result found;
    enum linear_verdict verdict = linear_check(check->ops, count, check->limits, &found);
    struct check_result *result = check->result;
    result->keys++;
    result->violations += verdict == LINEAR_BAD;
    result->undecided += verdict == LINEAR_RAN_OUT;
    if (found.steps > result->steps_max)
        result->steps_max = found.steps;
    return verdict == LINEAR_GOOD ? 0 : tell(check, verdict, records, count, &found);
}

int check_file(const char *path, const char *folder, struct linear_limits limits, FILE *report,
               struct check_result *ret_result, struct err *err) {
    *ret_result = (struct check_result){0};
    _cleanup_(history_fini) struct history history = {0};
    struct check check = {
        .folder = folder, .limits = limits, .report = report, .result = ret_result, .err = err};
    int code = history_read(path, &history, err);
    ret_result->operations = history.lines;
    for (size_t i = 0, count; i < history.count && code == 0; i += count) {
        count = count_key(&history, i);
        code = check_key(&check, history.records + i, count);
    }
    free(check.ops);
    return code;
}
