/* A bare append-only log: so many writers hand in records, one thread writes what has gathered and
 * makes it durable with one fdatasync, and each writer goes on when its record is. Prints records
 * per second. Usage: bench_log_writers PATH WRITERS BYTES DURATION */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "cli/options.h"
#include "os/clock.h"

#define WRITERS_MAX 1024u

struct log {
    int fd;
    size_t record_bytes;
    pthread_mutex_t lock;
    pthread_cond_t gathered, durable;
    struct buf filling;
    uint64_t appended; /* records */
    uint64_t synced;
    bool is_over;
};

static void *write_records(void *argument) {
    struct log *log = argument;
    char *record = calloc(1, log->record_bytes);
    if (record == NULL)
        panic("out of memory");
    pthread_mutex_lock(&log->lock);
    while (!log->is_over) {
        buf_append(&log->filling, record, log->record_bytes);
        uint64_t mine = ++log->appended;
        pthread_cond_signal(&log->gathered);
        while (log->synced < mine)
            pthread_cond_wait(&log->durable, &log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    free(record);
    return NULL;
}

static void make_durable(const struct log *log, const struct buf *records) {
    for (size_t at = 0; at < records->size;) {
        ssize_t wrote = write(log->fd, records->data + at, records->size - at);
        if (wrote < 0)
            panic("write: %m");
        at += (size_t)wrote;
    }
    if (fdatasync(log->fd) != 0)
        panic("fdatasync: %m");
}

/* Until the time is up; returns durable records per second. */
static double sync_records(struct log *log, uint64_t duration_ms) {
    struct buf writing = BUF_INIT;
    uint64_t begun_ns = clock_now_ns(), now_ns = begun_ns, records = 0;
    pthread_mutex_lock(&log->lock);
    while (!log->is_over) {
        while (log->filling.size == 0)
            pthread_cond_wait(&log->gathered, &log->lock);
        struct buf swap = log->filling;
        log->filling = writing;
        writing = swap;
        uint64_t upto = log->appended;
        pthread_mutex_unlock(&log->lock);
        make_durable(log, &writing);
        buf_clear(&writing);
        pthread_mutex_lock(&log->lock);
        log->synced = upto;
        records = upto;
        now_ns = clock_now_ns();
        log->is_over = now_ns - begun_ns >= duration_ms * NS_PER_MS;
        if (log->is_over) /* lets all go; what is not durable by now is not counted */
            log->synced = log->appended;
        pthread_cond_broadcast(&log->durable);
    }
    pthread_mutex_unlock(&log->lock);
    buf_fini(&writing);
    return (double)records * 1e9 / (double)(now_ns - begun_ns);
}

int main(int argc, char **argv) {
    uint64_t writers, record_bytes, duration_ms;
    if (argc != 5 || !options_parse_number(OPTION_NUMBER, argv[2], &writers) || writers < 1 ||
        writers > WRITERS_MAX || !options_parse_number(OPTION_BYTES, argv[3], &record_bytes) ||
        record_bytes < 1 || !options_parse_number(OPTION_DURATION, argv[4], &duration_ms)) {
        fprintf(stderr, "usage: bench_log_writers PATH WRITERS BYTES DURATION\n");
        return 2;
    }
    struct log log = {.record_bytes = record_bytes,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .gathered = PTHREAD_COND_INITIALIZER,
                      .durable = PTHREAD_COND_INITIALIZER};
    log.fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log.fd < 0)
        panic("%s: %m", argv[1]);
    pthread_t threads[WRITERS_MAX];
    for (unsigned i = 0; i < writers; i++)
        if (pthread_create(&threads[i], NULL, write_records, &log) != 0)
            panic("cannot start a thread");
    double rate = sync_records(&log, duration_ms);
    for (unsigned i = 0; i < writers; i++)
        pthread_join(threads[i], NULL);
    buf_fini(&log.filling);
    close(log.fd);
    printf("%.1f\n", rate);
    return 0;
}
