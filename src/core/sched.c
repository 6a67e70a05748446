/* The scheduler's decisions. */
#include "core/sched.h"

#include "base/assert.h"

#define WINDOW 1024u                   /* waiting tasks looked at for one choice */
#define LOCAL_WAIT_NS_MIN 10000000ull  /* 10 ms */
#define ELSEWHERE_WAIT_NS 500000000ull /* for another worker than the one that failed it */
#define ATTEMPTS_MAX 3u
#define EXIT_ATTEMPTS_MAX 2u
#define LOST_ATTEMPTS_MAX 6u /* it is not the task's fault, and one outage may count twice */

void sched_set_state(struct sched_phase *phase, uint32_t index, enum sched_state state,
                     uint64_t now_ns) {
    ASSERT(index < phase->count);
    struct sched_task *task = &phase->tasks[index];
    phase->waiting -= task->state == SCHED_WAITING;
    phase->waiting += state == SCHED_WAITING;
    task->state = (uint8_t)state;
    if (state != SCHED_WAITING)
        return;
    task->since_ns = now_ns;
    if (index < phase->first)
        phase->first = index;
}

/* When the task becomes free for the node; 0 = it is local. */
static uint64_t free_at(const struct sched_phase *phase, const struct sched_chooser *chooser,
                        uint32_t index) {
    const struct sched_task *task = &phase->tasks[index];
    if (task->last_node == chooser->node && !chooser->alone)
        return task->since_ns + ELSEWHERE_WAIT_NS;
    return chooser->holds(chooser->context, index, chooser->node)
               ? 0
               : task->since_ns + chooser->local_wait_ns;
}

uint32_t sched_choose(struct sched_phase *phase, const struct sched_chooser *chooser,
                      uint64_t *ret_again_ns) {
    while (phase->first < phase->count && phase->tasks[phase->first].state != SCHED_WAITING)
        phase->first++;
    uint32_t left = phase->waiting < WINDOW ? phase->waiting : WINDOW, remote = SCHED_NO_TASK;
    uint64_t again_ns = *ret_again_ns;
    for (uint32_t index = phase->first; left > 0; index++) {
        ASSERT(index < phase->count);
        if (phase->tasks[index].state != SCHED_WAITING)
            continue;
        left--;
        uint64_t at_ns = free_at(phase, chooser, index);
        if (at_ns == 0)
            return index;
        if (at_ns <= chooser->now_ns && remote == SCHED_NO_TASK)
            remote = index;
        else if (at_ns < again_ns)
            again_ns = at_ns;
    }
    if (remote == SCHED_NO_TASK)
        *ret_again_ns = again_ns;
    return remote;
}

uint64_t sched_local_wait_ns(uint64_t task_us) {
    uint64_t part_ns = task_us * 1000 / 20;
    return part_ns > LOCAL_WAIT_NS_MIN ? part_ns : LOCAL_WAIT_NS_MIN;
}

bool sched_may_retry(enum sched_end end, unsigned attempts) {
    if (end == SCHED_END_LOST)
        return attempts < LOST_ATTEMPTS_MAX;
    return attempts < (end == SCHED_END_EXIT ? EXIT_ATTEMPTS_MAX : ATTEMPTS_MAX);
}
