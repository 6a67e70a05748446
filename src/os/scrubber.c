/* Debts are kept: after a large piece nothing is read until it is paid for. */
#include "os/scrubber.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/assert.h"
#include "os/clock.h"

#define TICKS 200u /* in a short period; in a long one they last a second */
#define TICK_MS_MIN 5u
#define TICK_MS_MAX 1000u
#define TICKS_MISSED_MAX 10u /* beyond them, as after a suspension, nothing is made up for */
#define PIECE_BYTES ((int64_t)256 << 10)

struct scrubber {
    struct scrub_work work;
    uint64_t tick_ns;
    int64_t due_bytes; /* below 0: more was read than was due */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stopping;
};

static uint64_t period_ms(uint64_t usual_ms) {
    const char *text = getenv("QUERN_SCRUB_MS");
    char *end = NULL;
    uint64_t ms = text != NULL ? strtoull(text, &end, 10) : 0;
    return text != NULL && end != text && *end == '\0' && ms > 0 ? ms : usual_ms;
}

static bool is_stopping(struct scrubber *scrubber) {
    pthread_mutex_lock(&scrubber->mutex);
    bool stopping = scrubber->stopping;
    pthread_mutex_unlock(&scrubber->mutex);
    return stopping;
}

/* In pieces that are worth the trouble, unless all there is makes less. */
static void read_what_is_due(struct scrubber *scrubber, uint64_t passed_ns) {
    const struct scrub_work *work = &scrubber->work;
    uint64_t total = work->total(work->context), read = 1;
    uint64_t ticks_max_ns = TICKS_MISSED_MAX * scrubber->tick_ns;
    double share = (double)(passed_ns < ticks_max_ns ? passed_ns : ticks_max_ns) /
                   ((double)work->period_ms * NS_PER_MS);
    int64_t piece = total < (uint64_t)PIECE_BYTES ? (int64_t)total : PIECE_BYTES;
    scrubber->due_bytes += (int64_t)((double)total * share) + 1; /* a byte, so that it is never 0 */
    while (total > 0 && scrubber->due_bytes >= piece && read > 0 && !is_stopping(scrubber)) {
        read = work->read(work->context, (uint64_t)piece);
        scrubber->due_bytes -= (int64_t)read;
    }
    if (scrubber->due_bytes > piece)
        scrubber->due_bytes = piece; /* there was nothing to read: it is not owed */
}

static void *scrub(void *argument) {
    struct scrubber *scrubber = argument;
    uint64_t looked_ns = clock_now_ns();
    pthread_setname_np(pthread_self(), "scrubber");
    pthread_mutex_lock(&scrubber->mutex);
    while (!scrubber->stopping) {
        if (clock_cond_wait(&scrubber->stopped, &scrubber->mutex, looked_ns + scrubber->tick_ns))
            continue;
        pthread_mutex_unlock(&scrubber->mutex);
        uint64_t now_ns = clock_now_ns();
        read_what_is_due(scrubber, now_ns - looked_ns);
        looked_ns = now_ns;
        pthread_mutex_lock(&scrubber->mutex);
    }
    pthread_mutex_unlock(&scrubber->mutex);
    return NULL;
}

struct scrubber *scrubber_start(const struct scrub_work *work) {
    struct scrubber *scrubber = calloc(1, sizeof *scrubber);
    if (scrubber == NULL)
        panic("out of memory for a scrubber");
    scrubber->work = *work;
    scrubber->work.period_ms = period_ms(work->period_ms);
    uint64_t tick_ms = scrubber->work.period_ms / TICKS;
    tick_ms = tick_ms < TICK_MS_MIN ? TICK_MS_MIN : tick_ms;
    scrubber->tick_ns = (tick_ms < TICK_MS_MAX ? tick_ms : TICK_MS_MAX) * NS_PER_MS;
    pthread_mutex_init(&scrubber->mutex, NULL);
    clock_cond_init(&scrubber->stopped);
    if (pthread_create(&scrubber->thread, NULL, scrub, scrubber) != 0)
        panic("cannot start a scrubber's thread");
    return scrubber;
}

struct scrubber *scrubber_stop(struct scrubber *scrubber) {
    if (scrubber == NULL)
        return NULL;
    pthread_mutex_lock(&scrubber->mutex);
    scrubber->stopping = true;
    pthread_cond_signal(&scrubber->stopped);
    pthread_mutex_unlock(&scrubber->mutex);
    pthread_join(scrubber->thread, NULL);
    pthread_mutex_destroy(&scrubber->mutex);
    pthread_cond_destroy(&scrubber->stopped);
    free(scrubber);
    return NULL;
}
