/* The only clocks: boot time for deadlines and waits, wall time for records, processor time for
 * measurements. */
#include "os/clock.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

#include "base/assert.h"

static struct timespec clock_read(clockid_t clock) {
    struct timespec now;
    ASSERT(clock_gettime(clock, &now) == 0);
    return now;
}

static uint64_t clock_read_ns(clockid_t clock) {
    struct timespec now = clock_read(clock);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ns(void) {
    return clock_read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_cpu_ns(void) {
    return clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t clock_wall_ms(void) {
    struct timespec now = clock_read(CLOCK_REALTIME);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

void clock_sleep_until(uint64_t deadline_ns) {
    ASSERT(deadline_ns != DEADLINE_NONE);
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                             .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

int clock_poll_ms(uint64_t deadline_ns) {
    if (deadline_ns == DEADLINE_NONE)
        return -1;
    uint64_t now_ns = clock_now_ns();
    if (deadline_ns <= now_ns)
        return 0;
    uint64_t left_ns = deadline_ns - now_ns;
    uint64_t left_ms = left_ns / NS_PER_MS + (left_ns % NS_PER_MS != 0);
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

void clock_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes,
                              CLOCK_MONOTONIC); /* condition variables know no CLOCK_BOOTTIME */
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns) {
    if (deadline_ns == DEADLINE_NONE)
        return pthread_cond_wait(cond, lock) == 0;
    uint64_t now_ns = clock_now_ns();
    if (deadline_ns <= now_ns)
        return false;
    struct timespec until = clock_read(CLOCK_MONOTONIC);
    uint64_t until_ns =
        (uint64_t)until.tv_sec * NS_PER_S + (uint64_t)until.tv_nsec + (deadline_ns - now_ns);
    until = (struct timespec){.tv_sec = (time_t)(until_ns / NS_PER_S),
                              .tv_nsec = (long)(until_ns % NS_PER_S)};
    return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}
