/* The threads of a workload and the commands it takes. */
#include "faults/workload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"

#define BIG_BYTES_MAX ((size_t)72 << 20)
#define SMALL_BYTES_MAX ((size_t)256 << 10)
#define IDLE_MS 20u
#define KEEP_PERCENT 10u
#define NOTE_BYTES_MAX 500u

/* ---- what all threads use ---- */

void workload_note(struct workload *workload, const char *format, ...) {
    char text[NOTE_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    pthread_mutex_lock(&workload->lock);
    fprintf(workload->history, "# %" PRIu64 " %s\n", clock_now_ns(), text);
    pthread_mutex_unlock(&workload->lock);
}

uint64_t worker_seed(struct worker *worker) {
    return worker->workload->plan.seed << 48 ^ (uint64_t)(worker->number + 1) << 36 ^
           ++worker->made;
}

int worker_attempt(struct worker *worker, const struct http_request *request,
                   struct http_reply *ret_reply) {
    struct workload *workload = worker->workload;
    struct err err = {0};
    int code = http_perform(&worker->http, request, ret_reply, &err);
    pthread_mutex_lock(&workload->lock);
    workload->operations += code != ERR_REFUSED;
    workload->unsent += code == ERR_REFUSED;
    workload->unknown +=
        (code != 0 && code != ERR_REFUSED) || (code == 0 && ret_reply->status >= 500);
    pthread_mutex_unlock(&workload->lock);
    return code;
}

void worker_unexpected(struct worker *worker, const struct http_request *request,
                       const struct http_reply *reply) {
    int size = reply->body.size < NOTE_BYTES_MAX ? (int)reply->body.size : (int)NOTE_BYTES_MAX;
    workload_note(worker->workload, "unexpected: %s %s by gateway %u: status %d: %.*s",
                  request->method, request->path, worker->http.gateway + 1, reply->status, size,
                  reply->body.data);
    pthread_mutex_lock(&worker->workload->lock);
    worker->workload->unexpected++;
    pthread_mutex_unlock(&worker->workload->lock);
}

/* ---- threads ---- */

static void worker_init(struct worker *worker, struct workload *workload, unsigned number,
                        unsigned gateway, bool is_big) {
    *worker = (struct worker){.workload = workload, .number = number, .is_big = is_big};
    http_init(&worker->http, &workload->config, gateway);
    rng_init(&worker->rng, workload->plan.seed * 1000003u + number);
    worker->bytes = malloc(is_big ? BIG_BYTES_MAX : SMALL_BYTES_MAX);
    if (worker->bytes == NULL)
        panic("out of memory");
}

static void worker_fini(struct worker *worker) {
    http_fini(&worker->http);
    free(worker->bytes);
}

/* Each operation has its moment; one that took longer than its share delays only itself. */
static void *work(void *argument) {
    struct worker *worker = argument;
    struct workload *workload = worker->workload;
    const struct workload_plan *plan = &workload->plan;
    uint64_t small_threads = plan->threads * workload->config.endpoint_count;
    uint64_t pace_ns =
        worker->is_big ? plan->big_ms * NS_PER_MS : NS_PER_S * small_threads / plan->rate;
    uint64_t next_ns = clock_now_ns();
    while (!atomic_load(&workload->stopping)) {
        clock_sleep_until(next_ns);
        next_ns = clock_now_ns() + pace_ns / 2 + rng_below(&worker->rng, pace_ns + 1);
        if (atomic_load(&workload->paused)) {
            clock_sleep_until(clock_deadline_ms(IDLE_MS));
            continue;
        }
        if (worker->is_big)
            keep_big_step(worker);
        else if (rng_below(&worker->rng, 100) < KEEP_PERCENT)
            keep_step(worker);
        else
            register_step(worker);
    }
    return NULL;
}

static unsigned start_workers(struct workload *workload, struct worker *workers) {
    const struct workload_plan *plan = &workload->plan;
    unsigned count = 0;
    for (unsigned gateway = 0; gateway < workload->config.endpoint_count; gateway++)
        for (uint64_t i = 0; i < plan->threads + (plan->big_ms > 0); i++) {
            ASSERT(count < WORKLOAD_WORKERS_MAX);
            worker_init(&workers[count], workload, count, gateway, i == plan->threads);
            if (pthread_create(&workers[count].thread, NULL, work, &workers[count]) != 0)
                panic("cannot start a thread");
            count++;
        }
    return count;
}

static void stop_workers(struct workload *workload, struct worker *workers, unsigned count) {
    atomic_store(&workload->stopping, true);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        worker_fini(&workers[i]);
    }
}

/* ---- commands ---- */

static void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void answer(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

static void verify(struct workload *workload, bool all) {
    uint64_t count = keeps_verify(workload, all);
    pthread_mutex_lock(&workload->lock);
    uint64_t lost = workload->lost;
    pthread_mutex_unlock(&workload->lock);
    answer("verified %" PRIu64 " lost %" PRIu64, count, lost);
}

/* The threads have ended. A register that cannot be read any more is as good as lost. */
static void finish(struct workload *workload) {
    if (!registers_read_all(workload))
        workload->lost++;
    keeps_verify(workload, true);
    answer("finished operations %" PRIu64 " unknown %" PRIu64 " unsent %" PRIu64 " lost %" PRIu64
           " corrupt %" PRIu64 " unexpected %" PRIu64,
           workload->operations, workload->unknown, workload->unsent, workload->lost,
           workload->corrupt, workload->unexpected);
}

/* True when it is time to finish; false with the input at its end. */
static bool take_commands(struct workload *workload) {
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct span command = span_trim(span_of(line));
        if (span_is(command, "finish"))
            return true;
        if (span_is(command, "pause")) {
            atomic_store(&workload->paused, true);
            answer("paused");
        } else if (span_is(command, "resume")) {
            atomic_store(&workload->paused, false);
            answer("resumed");
        } else if (span_is(command, "verify new") || span_is(command, "verify all")) {
            verify(workload, span_is(command, "verify all"));
        } else {
            answer("not understood");
        }
    }
    return false;
}

/* ---- the whole ---- */

static int prepare(struct workload *workload, struct err *err) {
    pthread_mutex_init(&workload->lock, NULL);
    int code = client_config_read(&workload->config, err);
    if (code != 0)
        return code;
    workload->seen = calloc(2, sizeof *workload->seen);
    workload->history = fopen(workload->plan.history, "w");
    if (workload->seen == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (workload->history == NULL)
        return err_errno(err, errno, "%s", workload->plan.history);
    workload->start_ns = clock_now_ns();
    fprintf(workload->history, "# %" PRIu64 " start seed %" PRIu64 "\n", workload->start_ns,
            workload->plan.seed);
    return 0;
}

static int run(struct workload *workload, struct err *err) {
    static struct worker workers[WORKLOAD_WORKERS_MAX];
    unsigned count = start_workers(workload, workers);
    bool is_asked = take_commands(workload);
    stop_workers(workload, workers, count);
    if (!is_asked)
        return err_set(err, ERR_CLOSED, "the commands ended before \"finish\"");
    finish(workload);
    if (fflush(workload->history) != 0)
        return err_errno(err, errno, "%s", workload->plan.history);
    return 0;
}

int workload_run(const struct workload_plan *plan, struct err *err) {
    ASSERT(plan->keys <= WORKLOAD_KEYS_MAX && plan->rate > 0 && plan->threads > 0);
    struct workload workload = {.plan = *plan};
    int code = prepare(&workload, err);
    if (code == 0 && (plan->threads + 1) * workload.config.endpoint_count > WORKLOAD_WORKERS_MAX)
        code = err_set(err, ERR_LIMIT, "more than %u threads", WORKLOAD_WORKERS_MAX);
    if (code == 0)
        code = run(&workload, err);
    file_closep(&workload.history);
    client_config_fini(&workload.config);
    free(workload.seen);
    free(workload.keeps);
    return code;
}
