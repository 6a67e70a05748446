/* Starting and stopping node processes. */
#include "cli/dev_node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/dev_dir.h"
#include "os/clock.h"
#include "os/file.h"

#define READY_MS_MAX 60000u
#define STOP_MS_MAX 15000u
#define DYING_MS_MAX 2000u

/* ---- a node's process ---- */

/* A descriptor of the node's process, or -1 when none runs: a stale pid file names nobody's
 * process. */
static int open_process(const char *dir, unsigned number) {
    char path[PATH_MAX];
    int pid = dev_dir_read_pid(dev_dir_node_path(dir, number, "quern.pid", path));
    if (pid == 0 || !dev_dir_node_is_running(dir, number))
        return -1;
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void signal_process(int fd, int number) {
    if (fd >= 0)
        (void)syscall(SYS_pidfd_send_signal, fd, number, NULL,
                      0); /* fails when it has ended: all the better */
}

static bool wait_end(int fd, uint64_t deadline_ns) {
    struct pollfd end = {.fd = fd, .events = POLLIN};
    return fd < 0 || poll(&end, 1, clock_poll_ms(deadline_ns)) > 0;
}

/* One that was killed a moment ago has its lock until the kernel has taken it down. */
static bool has_ended(const char *dir, unsigned number) {
    _cleanup_(fd_closep) int fd = open_process(dir, number);
    wait_end(fd, clock_deadline_ms(DYING_MS_MAX));
    return !dev_dir_node_is_running(dir, number);
}

/* ---- starting ---- */

static _Noreturn void child_fail(const char *what) {
    perror(what);
    _exit(127);
}

/* In the child: only calls that may follow fork(). parent is who must still be there. */
static _Noreturn void run_node(const char *data, int log_fd, int ready_fd, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0 || setsid() < 0)
        child_fail("session");
    if (parent != 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        child_fail("parent");
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(ready_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        child_fail("descriptors");
    execl("/proc/self/exe", "quern", "serve", "--data", data, NULL);
    child_fail("exec");
}

static void set_guardian(const char *dir) {
    char path[PATH_MAX], text[16];
    snprintf(path, sizeof path, "%s/dev.pid", dir);
    int pid = dev_dir_read_pid(path);
    snprintf(text, sizeof text, "%d", pid);
    if (pid != 0)
        setenv("QUERN_DEV_PID", text, 1);
    else
        unsetenv("QUERN_DEV_PID");
}

int dev_node_start(struct dev_node *node, const char *dir, unsigned number, enum dev_node_tie tie,
                   struct err *err) {
    char path[PATH_MAX], data[PATH_MAX];
    if (!has_ended(dir, number))
        return err_set(err, ERR_EXISTS, "node %u runs already", number);
    _cleanup_(fd_closep) int log_fd = open(dev_dir_node_path(dir, number, "log", path),
                                           O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return err_errno(err, errno, "%s", path);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_errno(err, errno, "pipe");
    snprintf(data, sizeof data, "%s/node%u", dir, number);
    pid_t parent = getpid();
    if (tie == DEV_NODE_FREE)
        set_guardian(dir);
    pid_t pid = fork();
    if (pid == 0)
        run_node(data, log_fd, ends[1], tie == DEV_NODE_TIED ? parent : 0);
    int failure = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return err_errno(err, failure, "fork");
    }
    *node = (struct dev_node){.number = number, .pid = pid, .ready_fd = ends[0]};
    return dev_dir_write_pid(dev_dir_node_path(dir, number, "quern.pid", path), pid, err);
}

/* ---- waiting ---- */

/* "quern serve: " is what the node put before its last words. */
static int tell_end(const struct dev_node *node, const char *dir, struct err *err) {
    char path[PATH_MAX], tail[1025];
    _cleanup_(fd_closep) int fd =
        open(dev_dir_node_path(dir, node->number, "log", path), O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    off_t start = end > 1024 ? end - 1024 : 0;
    ssize_t size = fd >= 0 ? pread(fd, tail, sizeof tail - 1, start) : 0;
    while (size > 0 && tail[size - 1] == '\n')
        size--;
    tail[size > 0 ? size : 0] = '\0';
    const char *line = strrchr(tail, '\n');
    line = line != NULL ? line + 1 : tail;
    if (strncmp(line, "quern serve: ", 13) == 0)
        line += 13;
    return err_set(err, ERR_IO, "node %u did not start: %s", node->number,
                   line[0] != '\0' ? line : "see its log");
}

/* The line, or the end of the pipe. */
static int take_ready(struct dev_node *node, const char *dir, struct err *err) {
    char text[64];
    ssize_t size = read(node->ready_fd, text, sizeof text);
    if (size <= 0)
        return tell_end(node, dir, err);
    close(node->ready_fd);
    node->ready_fd = -1;
    return 0;
}

static unsigned fill_polls(const struct dev_node *nodes, unsigned count, struct pollfd *fds) {
    unsigned waiting = 0;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = (struct pollfd){.fd = nodes[i].ready_fd, .events = POLLIN};
        waiting += nodes[i].ready_fd >= 0;
    }
    return waiting;
}

static int wait_each(struct dev_node *nodes, unsigned count, const char *dir, int stop_fd,
                     struct err *err) {
    uint64_t deadline_ns = clock_deadline_ms(READY_MS_MAX);
    struct pollfd fds[DEV_NODES_MAX + 1];
    while (fill_polls(nodes, count, fds) > 0) {
        fds[count] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
        int ready = poll(fds, count + 1, clock_poll_ms(deadline_ns));
        if (ready < 0 && errno != EINTR)
            return err_errno(err, errno, "poll");
        if (ready == 0)
            return err_set(err, ERR_TIMEOUT, "the nodes are not ready after %u s; see %s/node*/log",
                           READY_MS_MAX / 1000, dir);
        if (ready > 0 && fds[count].revents != 0)
            return err_set(err, ERR_CLOSED, "interrupted");
        for (unsigned i = 0; i < count && ready > 0; i++) {
            int status = fds[i].revents != 0 ? take_ready(&nodes[i], dir, err) : 0;
            if (status != 0)
                return status;
        }
    }
    return 0;
}

int dev_node_wait_ready(struct dev_node *nodes, unsigned count, const char *dir, int stop_fd,
                        struct err *err) {
    int status = wait_each(nodes, count, dir, stop_fd, err);
    for (unsigned i = 0; i < count; i++) {
        fd_closep(&nodes[i].ready_fd);
        nodes[i].ready_fd = -1;
    }
    return status;
}

/* ---- stopping ---- */

void dev_node_stop_all(const char *dir, unsigned count) {
    int processes[DEV_NODES_MAX];
    char path[PATH_MAX];
    for (unsigned i = 0; i < count; i++) {
        processes[i] = open_process(dir, i + 1);
        signal_process(processes[i], SIGTERM);
        signal_process(processes[i], SIGCONT); /* one that was stopped hears it too */
    }
    uint64_t deadline_ns = clock_deadline_ms(STOP_MS_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (!wait_end(processes[i], deadline_ns)) {
            fprintf(stderr, "quern dev: node %u did not stop and is killed\n", i + 1);
            signal_process(processes[i], SIGKILL);
            wait_end(processes[i], DEADLINE_NONE);
        }
        fd_closep(&processes[i]);
        unlink(dev_dir_node_path(dir, i + 1, "quern.pid", path));
    }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}
