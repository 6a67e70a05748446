/* Walking /proc for the children of the calling process. */
#include "worker/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PIDS_MAX 8192 /* more than RLIMIT_NPROC lets a task have */

struct pids {
    pid_t pid[PIDS_MAX];
    unsigned count;
};

static bool contains(const pid_t *pids, unsigned count, pid_t pid) {
    for (unsigned i = 0; i < count; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

static ssize_t read_file(const char *path, char *text, size_t size) {
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t used = fd < 0 ? -1 : read(fd, text, size - 1);
    if (used >= 0)
        text[used] = '\0';
    return used;
}

/* Appends the children of all threads' common parent pid (its main thread starts them all: keepers
 * have one thread, and orphans go to it). Children of other threads of a task are found when their
 * parent has died. */
static void append_children(pid_t pid, const pid_t *spare, unsigned spare_count,
                            struct pids *pids) {
    char path[64], text[16384];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    if (read_file(path, text, sizeof text) <= 0)
        return;
    char *next = text;
    for (long child; (child = strtol(next, &next, 10)) > 0 && pids->count < PIDS_MAX;)
        if (!contains(spare, spare_count, (pid_t)child))
            pids->pid[pids->count++] = (pid_t)child;
}

static void find(const pid_t *spare, unsigned spare_count, struct pids *pids) {
    pids->count = 0;
    append_children(getpid(), spare, spare_count, pids);
    for (unsigned i = 0; i < pids->count; i++)
        append_children(pids->pid[i], NULL, 0, pids);
}

void tree_add_usage(struct rusage *sum, const struct rusage *one) {
    timeradd(&sum->ru_utime, &one->ru_utime, &sum->ru_utime);
    timeradd(&sum->ru_stime, &one->ru_stime, &sum->ru_stime);
    if (one->ru_maxrss > sum->ru_maxrss)
        sum->ru_maxrss = one->ru_maxrss;
}

/* Stops first: killing would make room under the process limit, in which a fork bomb could go on.
 */
static bool stop_and_kill(const pid_t *spare, unsigned spare_count) {
    struct pids *pids = malloc(sizeof *pids);
    if (pids == NULL)
        return false;
    unsigned before;
    pids->count = 0;
    do {
        before = pids->count;
        find(spare, spare_count, pids);
        for (unsigned i = 0; i < pids->count; i++)
            kill(pids->pid[i], SIGSTOP);
    } while (pids->count > before);
    for (unsigned i = 0; i < pids->count; i++)
        kill(pids->pid[i], SIGKILL);
    bool found = pids->count > 0;
    free(pids);
    return found;
}

/* Reaps one child that has died. */
static bool reap(bool wait, const pid_t *spare, unsigned spare_count, struct rusage *usage) {
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | (wait ? 0 : WNOHANG)) != 0 || info.si_pid == 0)
        return false;
    if (contains(spare, spare_count, info.si_pid))
        return false;
    struct rusage one;
    if (wait4(info.si_pid, NULL, 0, &one) > 0)
        tree_add_usage(usage, &one);
    return true;
}

static bool has_children(void) {
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG) == 0;
}

void tree_kill(bool owns_pid_namespace, const pid_t *spare, unsigned spare_count,
               struct rusage *usage) {
    if (!has_children()) /* then nobody is below them either: orphans come to us */
        return;
    if (owns_pid_namespace) {
        kill(-1, SIGKILL); /* atomic: forks under way fail */
        while (reap(true, NULL, 0, usage))
            continue;
        return;
    }
    while (stop_and_kill(spare, spare_count)) {
        while (reap(false, spare, spare_count, usage))
            continue;
        usleep(200); /* for the killed to die, and their orphans to come to us */
    }
}

static uint64_t resident_bytes(pid_t pid) {
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if (read_file(path, text, sizeof text) <= 0)
        return 0;
    char *second = strchr(text, ' ');
    return second == NULL ? 0 : strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t tree_resident_bytes(void) {
    struct pids *pids = malloc(sizeof *pids);
    if (pids == NULL)
        return 0;
    find(NULL, 0, pids);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < pids->count; i++)
        bytes += resident_bytes(pids->pid[i]);
    free(pids);
    return bytes;
}
