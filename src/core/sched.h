/* The scheduler's decisions, without clock or network: which waiting task a worker gets, and
 * whether a task that ended badly is tried again. */
#ifndef QUERN_CORE_SCHED_H
#define QUERN_CORE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#define SCHED_NO_TASK UINT32_MAX

enum sched_state { SCHED_WAITING, SCHED_GRANTING, SCHED_RUNNING, SCHED_DONE, SCHED_FAILED };

struct sched_task {
    uint64_t since_ns;  /* when it began to wait */
    uint32_t last_node; /* that lost or failed it; 0 = none */
    uint8_t state;
    uint8_t attempts; /* begun */
};

/* The tasks of one phase of a job. */
struct sched_phase {
    struct sched_task *tasks;
    uint32_t count;
    uint32_t waiting;
    uint32_t first; /* no task before it waits */
};

/* Every change of a task's state goes through here. Becoming SCHED_WAITING sets since_ns. */
void sched_set_state(struct sched_phase *phase, uint32_t task, enum sched_state state,
                     uint64_t now_ns);

struct sched_chooser {
    uint32_t node; /* the worker's */
    bool alone;    /* no other worker is known */
    uint64_t now_ns;
    uint64_t local_wait_ns; /* so long a task waits for a worker that holds its input */
    /* Whether the node holds the task's input, or it makes no difference. */
    bool (*holds)(void *context, uint32_t task, uint32_t node);
    void *context;
};

/* The waiting task for the node: the first whose input it holds, else the first that has waited
 * long enough; a task that the node has failed goes elsewhere for a while. SCHED_NO_TASK when there
 * is none; then *ret_again_ns, if it was later, is lowered to the time at which one becomes free
 * for the node. Looks at a bounded number of tasks. */
uint32_t sched_choose(struct sched_phase *phase, const struct sched_chooser *chooser,
                      uint64_t *ret_again_ns);

/* max(10 ms, 5 % of the time a task takes). */
uint64_t sched_local_wait_ns(uint64_t task_us);

enum sched_end { SCHED_END_LOST, SCHED_END_SIGNAL, SCHED_END_ASKED, SCHED_END_EXIT };

/* After so many attempts that were begun: 5 more for lost workers, 2 more for signals and those who
 * ask, 1 more for an exit status. */
bool sched_may_retry(enum sched_end end, unsigned attempts);

#endif
