/* The main thread follows the output; one helper waits for signals, and one shows progress where
 * there is a terminal. */
#include "cli/job_attach.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/clock.h"

#define GIVE_UP_MS 60000u /* without any server that answers */
#define STREAM_IDLE_MS                                                                             \
    8000u /* the job is slow or the server hangs: to ask another costs little                      \
           */
#define RETRY_MS 100u
#define PROGRESS_MS 500u

struct job_attach {
    pthread_mutex_t mutex;    /* guards name */
    char name[JOB_NAME_SIZE]; /* "" until there is a job */
    atomic_bool over;
    pthread_t signals;
    pthread_t progress;
    bool shows_progress;
};

static sigset_t ending_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

static void get_name(struct job_attach *attach, char name[JOB_NAME_SIZE]) {
    pthread_mutex_lock(&attach->mutex);
    memcpy(name, attach->name, JOB_NAME_SIZE);
    pthread_mutex_unlock(&attach->mutex);
}

static void cancel(struct job_attach *attach) {
    char name[JOB_NAME_SIZE];
    struct client *client;
    struct err err = {0};
    get_name(attach, name);
    if (name[0] == '\0')
        _exit(128 + SIGINT); /* nothing has begun */
    int status = client_open(&client, &err);
    if (status == 0) {
        status = job_cancel(client, name, &err);
        client_close(client);
    }
    if (status != 0)
        fprintf(stderr, "quern run: cannot cancel %s: %s\n", name, err_message(&err, status));
}

static void *signals_main(void *argument) {
    struct job_attach *attach = argument;
    sigset_t set = ending_signals();
    for (unsigned count = 0;; count++) {
        int number;
        if (sigwait(&set, &number) != 0 || atomic_load(&attach->over))
            return NULL;
        if (count > 0)
            _exit(128 + number);
        cancel(attach);
    }
}

static void show(const struct job_info *job) {
    fprintf(stderr, "\r\033[Kmap %llu/%llu", (unsigned long long)job->map_done,
            (unsigned long long)job->map_tasks);
    if (job->reduce_tasks > 0)
        fprintf(stderr, "  reduce %llu/%llu", (unsigned long long)job->reduce_done,
                (unsigned long long)job->reduce_tasks);
    fprintf(stderr, "  %llu retried  %llu failed", (unsigned long long)job->retried,
            (unsigned long long)job->failed);
}

static void show_until_over(struct job_attach *attach, struct client *client) {
    char name[JOB_NAME_SIZE];
    struct job_info job;
    uint64_t next_ns = clock_deadline_ms(PROGRESS_MS);
    while (!atomic_load(&attach->over)) {
        clock_sleep_until(clock_deadline_ms(RETRY_MS));
        get_name(attach, name);
        if (name[0] == '\0' || clock_now_ns() < next_ns)
            continue;
        if (job_get(client, name, false, &job, NULL) == 0 && !atomic_load(&attach->over))
            show(&job);
        next_ns = clock_deadline_ms(PROGRESS_MS);
    }
    fputs("\r\033[K", stderr);
}

static void *progress_main(void *argument) {
    struct client *client;
    if (client_open(&client, NULL) != 0)
        return NULL; /* the main thread says why */
    show_until_over(argument, client);
    client_close(client);
    return NULL;
}

int job_attach_new(struct job_attach **ret_attach, struct err *err) {
    struct job_attach *attach = calloc(1, sizeof *attach);
    if (attach == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    sigset_t set = ending_signals();
    pthread_mutex_init(&attach->mutex, NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int code = pthread_create(&attach->signals, NULL, signals_main, attach);
    if (code != 0) {
        free(attach);
        return err_errno(err, code, "cannot start a thread");
    }
    /* Never into the lines of an output that the same terminal shows. */
    attach->shows_progress = isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) == 0 &&
                             pthread_create(&attach->progress, NULL, progress_main, attach) == 0;
    *ret_attach = attach;
    return 0;
}

static void end_progress(struct job_attach *attach) {
    atomic_store(&attach->over, true);
    if (attach->shows_progress)
        pthread_join(attach->progress, NULL);
    attach->shows_progress = false;
}

struct job_attach *job_attach_free(struct job_attach *attach) {
    if (attach == NULL)
        return NULL;
    end_progress(attach);
    pthread_kill(attach->signals, SIGTERM);
    pthread_join(attach->signals, NULL);
    pthread_mutex_destroy(&attach->mutex);
    free(attach);
    return NULL;
}

/* ---- output ---- */

struct output {
    uint64_t written_bytes;
    bool stdout_failed;
};

static int write_stdout(void *context, const void *data, size_t size, struct err *err) {
    struct output *output = context;
    for (const char *next = data; size > 0;) {
        ssize_t written = write(STDOUT_FILENO, next, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            output->stdout_failed = true;
            return err_errno(err, errno, "cannot write to stdout");
        }
        next += written;
        size -= (size_t)written;
        output->written_bytes += (uint64_t)written;
    }
    return 0;
}

/* The output from where we are; 0 once all of it was written and the job is committed. */
static int stream_once(struct client *client, const char *name, struct output *output,
                       struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    char path[192], offset[24];
    snprintf(path, sizeof path, "/-/api/v1/jobs/%s/output", name);
    snprintf(offset, sizeof offset, "%llu", (unsigned long long)output->written_bytes);
    const struct uri_param from = {SPAN_LITERAL("offset"), span_of(offset)};
    const struct client_request request = {.method = "GET",
                                           .path = path,
                                           .params = &from,
                                           .param_count = 1,
                                           .sink = write_stdout,
                                           .sink_context = output,
                                           .idle_ms_max = STREAM_IDLE_MS};
    return client_perform(client, &request, &response, err);
}

/* A server that goes away in mid-stream costs nothing but a moment: another one goes on from the
 * same byte. */
static int stream(struct client *client, const char *name, struct output *output,
                  struct job_info *ret_job, struct err *err) {
    uint64_t give_up_ns = clock_deadline_ms(GIVE_UP_MS);
    for (;;) {
        uint64_t before = output->written_bytes;
        struct err why = {0};
        int status = stream_once(client, name, output, &why);
        if (output->stdout_failed)
            return err_set(err, status, "%s", err_message(&why, status));
        if (output->written_bytes > before)
            give_up_ns = clock_deadline_ms(GIVE_UP_MS);
        int get_status = job_get(client, name, false, ret_job, err);
        if (get_status == ERR_NO_SUCH_JOB || get_status == ERR_ACCESS_DENIED)
            return get_status;
        if (get_status == 0 &&
            (status == 0 || !(job_is_running(ret_job) || strcmp(ret_job->state, "committed") == 0)))
            return 0;
        if (get_status == 0 && job_is_running(ret_job))
            give_up_ns = clock_deadline_ms(GIVE_UP_MS); /* it is only slow */
        if (clock_now_ns() >= give_up_ns)
            return err_set(err, status, "%s", err_message(&why, status));
        clock_sleep_until(clock_deadline_ms(RETRY_MS));
    }
}

static int wait_end(struct client *client, const char *name, struct job_info *ret_job,
                    struct err *err) {
    for (;;) {
        int status = job_get(client, name, true, ret_job, err);
        if (status != 0 || !job_is_running(ret_job))
            return status;
    }
}

int job_attach_follow(struct job_attach *attach, struct client *client, const char *name,
                      bool streams, struct job_info *ret_job, struct err *err) {
    pthread_mutex_lock(&attach->mutex);
    snprintf(attach->name, sizeof attach->name, "%s", name);
    pthread_mutex_unlock(&attach->mutex);
    struct output output = {0};
    int status = streams ? stream(client, name, &output, ret_job, err)
                         : wait_end(client, name, ret_job, err);
    end_progress(attach);
    if (status != 0 && output.stdout_failed)
        job_cancel(client, name, NULL); /* nobody reads on: head(1) has enough */
    return status;
}
