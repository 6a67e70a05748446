/* The clients of a fault run: threads at every gateway that work on registers (small objects that
 * are overwritten, deleted and read, all of it recorded for the checker) and on keeps (objects that
 * are written once, up to 70 MiB, and must be there for ever after they were acknowledged).
 *
 * Registers live in windows: every so many seconds all threads turn to fresh keys, so that no key's
 * history grows beyond what can be checked, however long the run. Some keys of a window are hot:
 * half of all operations meet on them.
 *
 * A gateway has `threads` threads of its own, so that one that hangs does not stall the others, and
 * one more for big keeps. */
#ifndef QUERN_TEST_FAULTS_WORKLOAD_H
#define QUERN_TEST_FAULTS_WORKLOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/rng.h"
#include "cli/client_config.h"
#include "faults/history.h"
#include "faults/http.h"

#define WORKLOAD_KEYS_MAX 900u /* of a window: one page of a listing */
#define WORKLOAD_PATH_SIZE 128
#define WORKLOAD_WORKERS_MAX 256u

struct workload_plan {
    const char *bucket; /* exists */
    const char *history;
    uint64_t seed;
    uint64_t rate; /* operations a second, by all threads; not of big keeps */
    uint64_t window_ms;
    uint64_t keys;       /* of a window */
    uint64_t threads;    /* of a gateway */
    uint64_t big_ms;     /* between big keeps of a gateway; 0: none */
    uint64_t timeout_ms; /* of an attempt on a register or small keep */
};

struct keep {
    uint64_t seed;
    uint64_t size;
    bool acknowledged;
    bool verified; /* since it was acknowledged */
    bool deleting; /* a big one that makes room */
    bool lost;
};

#define KEEPS_MAX (1u << 20)

struct workload {
    struct workload_plan plan;
    struct client_config config;
    FILE *history;
    uint64_t start_ns;
    pthread_mutex_t lock;                         /* of what follows, and of the history */
    uint8_t (*seen)[WORKLOAD_KEYS_MAX][MD5_SIZE]; /* ETags, of even and of odd windows */
    struct keep *keeps;
    size_t keep_count, keep_room;
    uint64_t operations; /* attempts that were sent, on registers and keeps */
    uint64_t unknown;
    uint64_t unsent;
    uint64_t lost;       /* keeps */
    uint64_t corrupt;    /* replies whose bytes are not those of their ETag, or wrong ETags */
    uint64_t unexpected; /* answers that S3 does not give to such requests */
    atomic_bool paused, stopping;
    atomic_bool unreadable; /* a register, at the end */
};

/* A thread of the workload. */
struct worker {
    struct workload *workload;
    unsigned number;
    bool is_big;
    struct http http;
    struct rng rng;
    char *bytes;   /* of the body it sends */
    uint64_t made; /* bodies */
    pthread_t thread;
};

/* Runs until the commands on standard input end it; one line each, answered on standard output:
 *
 *     pause         no new operations; those under way go on              "paused"
 *     resume                                                              "resumed"
 *     verify new    reads the acknowledged keeps not yet verified         "verified N lost L"
 *     verify all                                                          "verified N lost L"
 *     finish        stops; lists and reads every register, verifies all   "finished operations N
 *                   unknown U unsent S lost L corrupt C unexpected X"
 *
 * An object that cannot be read within a minute counts as lost. Errors: a history that cannot be
 * written, ERR_CLOSED when the input ends before "finish". */
int workload_run(const struct workload_plan *plan, struct err *err);

/* ---- between the files of the workload ---- */

/* Sends a request and counts it. As http_perform. */
int worker_attempt(struct worker *worker, const struct http_request *request,
                   struct http_reply *ret_reply);
/* Notes and counts an answer that S3 does not give to such a request. */
void worker_unexpected(struct worker *worker, const struct http_request *request,
                       const struct http_reply *reply);
/* It goes on at the next gateway. */
void worker_turn(struct worker *worker);
/* Calls read for every index below count, from a few threads at once that begin at different
 * gateways. */
typedef void workload_reader(struct worker *worker, const void *context, uint64_t index);
void workload_read_each(struct workload *workload, uint64_t count, workload_reader *read,
                        const void *context);
/* A seed that no other body of the run has. */
uint64_t worker_seed(struct worker *worker);
/* A line of the history that the checker passes over: "# text". */
void workload_note(struct workload *workload, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Lists the registers of a window. False when it did not succeed; then nothing is recorded. */
bool listing_read(struct worker *worker, uint64_t window);
/* One operation on a register, by the dice. */
void register_step(struct worker *worker);
/* All registers of all windows so far, listed and read once more. False when some could not be. */
bool registers_read_all(struct workload *workload);

/* Writes a new small keep. */
void keep_step(struct worker *worker);
/* Writes a new big keep, reads an older one, and deletes the oldest when there are many. */
void keep_big_step(struct worker *worker);
/* Returns how many were read. */
uint64_t keeps_verify(struct workload *workload, bool all);

#endif
