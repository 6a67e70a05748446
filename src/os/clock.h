/* The only clocks. Deadlines everywhere are absolute monotonic nanoseconds. */
#ifndef QUERN_OS_CLOCK_H
#define QUERN_OS_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define DEADLINE_NONE UINT64_MAX

uint64_t clock_now_ns(void);  /* CLOCK_BOOTTIME: goes on in suspend */
uint64_t clock_wall_ms(void); /* since 1970, UTC */
uint64_t clock_cpu_ns(void);  /* used by this process */
void clock_sleep_until(uint64_t deadline_ns);

static inline uint64_t clock_deadline_ms(uint64_t ms) {
    return clock_now_ns() + ms * NS_PER_MS;
}

static inline uint64_t clock_sooner(uint64_t a_ns, uint64_t b_ns) {
    return a_ns < b_ns ? a_ns : b_ns;
}

/* What is left until the deadline, for poll(2): -1 for DEADLINE_NONE, 0 when it has passed, else
 * rounded up. */
int clock_poll_ms(uint64_t deadline_ns);

/* Condition variables that understand such deadlines. The wait returns false when the deadline has
 * passed. */
void clock_cond_init(pthread_cond_t *cond);
bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);

#endif
