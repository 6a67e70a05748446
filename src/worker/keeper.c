/* Tasks are started by clone(CLONE_VM | CLONE_VFORK): the keeper waits the moment until exec, and
 * nothing is copied. */
#include "worker/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/clock.h"
#include "worker/launch.h"
#include "worker/scratch.h"
#include "worker/tree.h"

#define START_STACK_BYTES ((size_t)256 << 10)
#define MEMORY_LOOK_MS 20 /* how often the resident size is looked at */
#define MEMORY_SLACK ((uint64_t)64 << 20)
#define FREE_LOOKS 1000 /* of a ms, until the memory of a killed task is free */
#define TASK_NICE 5     /* tasks yield to storage, and a fork bomb to whoever kills it */
#define TIME_SLACK_S 2
#define STDERR_AT_ONCE ((size_t)128 << 10)
#define STDERR_RING (2 * LAUNCH_STDERR_BYTES)

struct keeper {
    struct jail *jail;
    int socket;
    int scratch_fd;
    unsigned processors;
    int offer_fd;          /* /proc/self/oom_score_adj, or -1 */
    int stderr_fd;         /* the reading end of the running task's */
    char *stack;           /* of a task until it execs */
    uint64_t memory_limit; /* of the control group */
    uint64_t memory_kills; /* before this task */
    size_t stderr_used;
    char stderr_ring[STDERR_RING];
    char *strings[LAUNCH_STRINGS_MAX + 2]; /* argv, NULL, environment, NULL */
    union {
        struct launch_task task;
        char bytes[LAUNCH_MESSAGE_MAX];
    } message;
};

struct start { /* shared with the task until it execs */
    struct keeper *keeper;
    int fds[3]; /* its stdin, stdout, stderr */
    char **argv;
    char **environment;
    int failure; /* errno of exec */
};

static int limit(int resource, uint64_t value) {
    const struct rlimit both = {value, value};
    return setrlimit((__rlimit_resource_t)resource, &both);
}

/* Between vfork and exec: only system calls. RLIMIT_DATA, not RLIMIT_AS: runtimes reserve address
 * space that they never use. */
static int task_main(void *argument) {
    struct start *start = argument;
    const struct launch_task *task = &start->keeper->message.task;
    sigset_t none;
    sigemptyset(&none);
    if (nice(TASK_NICE) == -1)
        errno = 0; /* -1 is a priority, too; and nothing depends on it */
    bool ready = setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
                 dup2(start->fds[0], 0) == 0 && dup2(start->fds[1], 1) == 1 &&
                 dup2(start->fds[2], 2) == 2 && close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0 &&
                 sigprocmask(SIG_SETMASK, &none, NULL) == 0 &&
                 limit(RLIMIT_FSIZE, task->file_bytes_max) == 0 &&
                 limit(RLIMIT_CPU, (task->time_ms_max / 1000 + TIME_SLACK_S) *
                                       start->keeper->processors) == 0 &&
                 (task->memory_bytes_max == 0 ||
                  limit(RLIMIT_DATA, task->memory_bytes_max + MEMORY_SLACK) == 0);
    if (ready)
        execvpe(start->argv[0], start->argv, start->environment);
    start->failure = errno;
    _exit(127);
}

/* Whoever looks for memory to free takes tasks first: not the servers of the machine; and not the
 * keeper, which is in its task's group and has to tell what happened. The kernel may choose several
 * before the first has given back what it had. */
static void offer(const struct keeper *keeper, bool offered) {
    const char *adjustment = offered ? "1000" : "0";
    if (keeper->offer_fd >= 0 && pwrite(keeper->offer_fd, adjustment, strlen(adjustment), 0) < 0)
        errno = 0; /* it may not be set: then chance decides */
}

/* The pid, or -errno. */
static pid_t start_task(struct keeper *keeper, struct start *start, int *ret_pidfd) {
    offer(keeper, true); /* the task inherits it */
    pid_t pid = clone(task_main, keeper->stack + START_STACK_BYTES,
                      CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, start, ret_pidfd);
    int failure = errno;
    offer(keeper, false);
    return pid < 0 ? -failure : pid;
}

/* Splits the message's strings; false when they are not as announced. */
static bool split_strings(struct keeper *keeper, size_t message_size, char ***ret_environment) {
    const struct launch_task *task = &keeper->message.task;
    char *next = keeper->message.bytes + sizeof *task, *end = keeper->message.bytes + message_size;
    if (task->argc == 0 || task->argc > LAUNCH_STRINGS_MAX ||
        task->envc > LAUNCH_STRINGS_MAX - task->argc)
        return false;
    char **string = keeper->strings;
    for (unsigned i = 0; i < task->argc + task->envc; i++) {
        if (i == task->argc)
            *string++ = NULL;
        *string++ = next;
        next += strnlen(next, (size_t)(end - next)) + 1;
        if (next > end)
            return false;
    }
    if (task->envc == 0)
        *string++ = NULL;
    *string = NULL;
    *ret_environment = keeper->strings + task->argc + 1;
    return true;
}

/* Reads about size_max bytes: a task that never stops writing must not keep us from its limits. */
static void drain_stderr(struct keeper *keeper, size_t size_max) {
    for (size_t done = 0; done < size_max;) {
        if (keeper->stderr_used == STDERR_RING) {
            keeper->stderr_used = LAUNCH_STDERR_BYTES;
            memmove(keeper->stderr_ring, keeper->stderr_ring + STDERR_RING - LAUNCH_STDERR_BYTES,
                    LAUNCH_STDERR_BYTES);
        }
        ssize_t size = read(keeper->stderr_fd, keeper->stderr_ring + keeper->stderr_used,
                            STDERR_RING - keeper->stderr_used);
        if (size <= 0)
            return;
        keeper->stderr_used += (size_t)size;
        done += (size_t)size;
    }
}

/* One message while a task runs; only a kill is expected. */
static bool wants_kill(struct keeper *keeper) {
    struct launch_kill kill_message;
    size_t size;
    unsigned count = 0;
    int fd;
    int code = launch_receive(keeper->socket, &kill_message, sizeof kill_message, &size, &fd,
                              &count, NULL);
    return code != 0 || size == 0 || kill_message.kind == LAUNCH_KILL;
}

static int next_look_ms(const struct launch_task *task, uint64_t deadline_ns) {
    int left_ms = clock_poll_ms(deadline_ns);
    return task->memory_bytes_max > 0 && (left_ms < 0 || left_ms > MEMORY_LOOK_MS) ? MEMORY_LOOK_MS
                                                                                   : left_ms;
}

/* Waits until the task ends or must be ended. */
static enum launch_end watch(struct keeper *keeper, int pidfd) {
    const struct launch_task *task = &keeper->message.task;
    uint64_t deadline_ns = clock_deadline_ms(task->time_ms_max);
    struct pollfd polls[] = {
        {pidfd, POLLIN, 0}, {keeper->socket, POLLIN, 0}, {keeper->stderr_fd, POLLIN, 0}};
    for (;;) {
        int ready = poll(polls, 3, next_look_ms(task, deadline_ns));
        if (ready > 0 && polls[2].revents != 0)
            drain_stderr(keeper, STDERR_AT_ONCE);
        if ((polls[2].revents & (POLLIN | POLLHUP)) == POLLHUP)
            polls[2].fd = -1; /* closed by the task, which may run on */
        if (ready > 0 && polls[0].revents != 0)
            return LAUNCH_ENDED;
        if (ready > 0 && polls[1].revents != 0 && wants_kill(keeper))
            return LAUNCH_KILLED;
        if (clock_now_ns() >= deadline_ns)
            return LAUNCH_TIME_OVER;
        if (ready == 0 && task->memory_bytes_max > 0 &&
            tree_resident_bytes() > task->memory_bytes_max)
            return LAUNCH_MEMORY_OVER;
    }
}

static uint64_t microseconds(struct timeval time) {
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

static bool has_cgroup(const struct keeper *keeper) {
    return keeper->jail->cgroup.limit_fd >= 0;
}

/* By the kernel for all of a task together, where there is a control group; it is entered for the
 * first task that has such a limit. Returns 0 or an errno. */
static int limit_memory(struct keeper *keeper) {
    struct cgroup *cgroup = &keeper->jail->cgroup;
    uint64_t bytes = keeper->message.task.memory_bytes_max;
    if (!has_cgroup(keeper) || bytes == keeper->memory_limit)
        return 0;
    int failure = cgroup_enter(cgroup);
    if (failure == 0)
        failure = cgroup_limit_memory(cgroup, bytes);
    if (failure == 0)
        keeper->memory_limit = bytes;
    return failure;
}

/* A task that failed when its memory was nearly used up has failed for that. */
static bool failed_for_memory(const struct keeper *keeper, const struct launch_result *result) {
    uint64_t bytes_max = keeper->message.task.memory_bytes_max;
    if (bytes_max == 0)
        return false;
    if (has_cgroup(keeper) && cgroup_memory_kills(&keeper->jail->cgroup) != keeper->memory_kills)
        return true;
    return result->end == LAUNCH_ENDED && result->wait_status != 0 &&
           result->peak_bytes >= bytes_max - bytes_max / 16;
}

/* The kernel gives it back a moment after the process has ended. A task that started before would
 * not find enough to exec, and be killed while it still is the keeper's other self. */
static void await_free_memory(const struct keeper *keeper) {
    for (int i = 0; i < FREE_LOOKS && has_cgroup(keeper) &&
                    cgroup_memory_used(&keeper->jail->cgroup) > keeper->memory_limit / 2;
         i++)
        usleep(1000);
}

static void end_task(struct keeper *keeper, pid_t pid, struct launch_result *result) {
    struct rusage usage = {0};
    if (result->end != LAUNCH_ENDED)
        kill(pid, SIGKILL);
    wait4(pid, &result->wait_status, 0, &usage);
    tree_kill(keeper->jail->level >= 3, NULL, 0, &usage);
    result->user_us = microseconds(usage.ru_utime);
    result->system_us = microseconds(usage.ru_stime);
    result->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    if (failed_for_memory(keeper, result))
        result->end = LAUNCH_MEMORY_OVER;
    if (result->end == LAUNCH_MEMORY_OVER)
        await_free_memory(keeper);
}

static void start_and_watch(struct keeper *keeper, struct start *start,
                            struct launch_result *result) {
    _cleanup_(fd_closep) int pidfd = -1;
    pid_t pid = start_task(keeper, start, &pidfd);
    close(start->fds[2]);
    if (pid < 0 || start->failure != 0) {
        if (pid > 0)
            waitpid(pid, NULL, 0);
        result->end = LAUNCH_UNSTARTED;
        result->wait_status = pid < 0 ? -pid : start->failure;
        return;
    }
    result->end = watch(keeper, pidfd);
    end_task(keeper, pid, result);
    drain_stderr(keeper, SIZE_MAX); /* ends: nobody writes any more */
}

static void run_task(struct keeper *keeper, const int fds[2], char **environment,
                     struct launch_result *result) {
    int pipe_fds[2];
    int failure = limit_memory(keeper);
    if (keeper->memory_limit > 0)
        keeper->memory_kills = cgroup_memory_kills(&keeper->jail->cgroup);
    if (failure == 0 && pipe2(pipe_fds, O_CLOEXEC) != 0)
        failure = errno;
    if (failure != 0) {
        result->end = LAUNCH_UNSTARTED;
        result->wait_status = failure;
        return;
    }
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    keeper->stderr_used = 0;
    keeper->stderr_fd = pipe_fds[0];
    struct start start = {.keeper = keeper,
                          .fds = {fds[0], fds[1], pipe_fds[1]},
                          .argv = keeper->strings,
                          .environment = environment};
    uint64_t started_ns = clock_now_ns();
    start_and_watch(keeper, &start, result);
    result->wall_us = (clock_now_ns() - started_ns) / 1000;
    close(pipe_fds[0]);
    size_t tail =
        keeper->stderr_used < LAUNCH_STDERR_BYTES ? keeper->stderr_used : LAUNCH_STDERR_BYTES;
    result->stderr_bytes = (uint32_t)tail;
    memcpy(result->stderr_tail, keeper->stderr_ring + keeper->stderr_used - tail, tail);
}

/* False ends the keeper: the other side has gone, or the sandbox is not clean any more. */
static bool serve_one(struct keeper *keeper) {
    size_t size;
    int fds[3];
    unsigned count = 3;
    if (launch_receive(keeper->socket, &keeper->message, sizeof keeper->message, &size, fds, &count,
                       NULL) != 0 ||
        size == 0)
        return false;
    struct launch_result result = {0};
    char **environment;
    bool is_task = keeper->message.task.kind == LAUNCH_TASK &&
                   size >= sizeof keeper->message.task && count == 2 &&
                   split_strings(keeper, size, &environment);
    if (is_task)
        run_task(keeper, fds, environment, &result);
    while (count > 0)
        close(fds[--count]);
    if (!is_task)
        return keeper->message.task.kind == LAUNCH_KILL; /* it came too late: nothing runs */
    bool clean = scratch_clear(keeper->scratch_fd, NULL) == 0;
    return launch_send(keeper->socket, &result, sizeof result, NULL, 0, NULL) == 0 && clean;
}

static int keeper_init(struct keeper *keeper, struct err *err) {
    keeper->stack = mmap(NULL, START_STACK_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    keeper->processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (keeper->stack == MAP_FAILED)
        return err_errno(err, errno, "cannot prepare a sandbox");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return err_errno(err, errno, "cannot become a subreaper");
    keeper->offer_fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    int code = jail_enter(keeper->jail, err);
    if (code != 0)
        return code;
    keeper->scratch_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return keeper->scratch_fd < 0 ? err_errno(err, errno, "cannot open the scratch directory") : 0;
}

noreturn void keeper_main(int socket, struct jail *jail) {
    static struct keeper keeper; /* large, and this process has one */
    keeper.jail = jail;
    keeper.socket = socket;
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    struct err err = {0};
    struct launch_opened opened = {.code = keeper_init(&keeper, &err)};
    snprintf(opened.text, sizeof opened.text, "%s", opened.code != 0 ? err.text : jail->scratch);
    if (launch_send(socket, &opened, sizeof opened, NULL, 0, NULL) == 0 && opened.code == 0)
        while (serve_one(&keeper))
            continue;
    _exit(0);
}
