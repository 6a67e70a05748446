/* quern lock: a command under a lease of the whole cluster. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "cli/admin.h"
#include "cli/command.h"
#include "cli/options.h"
#include "os/clock.h"
#include "os/random.h"

#define WAIT_STEP_MS 10000u /* asked to wait at once */
#define PATH_SIZE 256

struct values {
    uint64_t ttl_ms;
    uint64_t wait_ms;
};

static const struct option_row rows[] = {
    {"ttl", 0, OPTION_DURATION, offsetof(struct values, ttl_ms), "TIME",
     "the lease: how long the lock outlives a holder that died (30s)"},
    {"wait", 0, OPTION_DURATION, offsetof(struct values, wait_ms), "TIME",
     "for the lock while another holds it (0)"},
    {0},
};

static const struct usage usage = {
    .name = "lock",
    .operands = "NAME -- CMD ARG...",
    .operands_min = 1,
    .operands_max = 1,
    .takes_command = true,
    .about = "Runs CMD while it holds the lock NAME, of which there is one in the cluster. CMD\n"
             "gets QUERN_FENCE, a number that is larger for every later holder of any lock:\n"
             "let what CMD writes to refuse smaller ones. When the lease cannot be renewed in\n"
             "time, CMD and what it started get SIGTERM before it ends and SIGKILL when it\n"
             "does. The exit status is CMD's; 1 when the lock was not to be had or was lost.",
    .example = "quern lock nightly --wait 1m -- ./report.sh",
    .options = rows,
};

struct lease {
    struct client *client;
    const char *name;
    uint64_t fence;
    uint64_t ttl_ms;
    uint64_t end_ns; /* counted from before it was asked for: it does not end earlier elsewhere */
};

static uint64_t left_ms(uint64_t until_ns) {
    uint64_t now_ns = clock_now_ns();
    return until_ns > now_ns ? (until_ns - now_ns) / NS_PER_MS : 0;
}

/* ---- the lease ---- */

/* limit_ms 0: as long as requests take. */
static int post(const struct lease *lease, const char *action, json_t *body, uint64_t limit_ms,
                json_t **ret_reply, struct err *err) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/-/api/v1/locks/%.220s%s", lease->name, action);
    if (limit_ms == 0)
        return admin_request(lease->client, "POST", path, body, ret_reply, err);
    return admin_request_within(lease->client, limit_ms, "POST", path, body, ret_reply, err);
}

/* When a fifth of the lease is left it is time to stop, rather than to ask again. */
static uint64_t give_up_ns(const struct lease *lease) {
    return lease->end_ns - lease->ttl_ms * NS_PER_MS / 5;
}

static int ask_once(struct lease *lease, const char *holder, uint64_t wait_ms, struct err *err) {
    json_t *reply;
    uint64_t begun_ns = clock_now_ns();
    json_t *body = json_pack("{s:s, s:I, s:I}", "holder", holder, "ttl_ms",
                             (json_int_t)lease->ttl_ms, "wait_ms", (json_int_t)wait_ms);
    int status = post(lease, "", body, 0, &reply, err);
    if (status != 0)
        return status;
    lease->fence = (uint64_t)admin_number(reply, "fence");
    lease->end_ns = begun_ns + lease->ttl_ms * NS_PER_MS;
    json_decref(reply);
    return 0;
}

static int renew(struct lease *lease, struct err *err) {
    json_t *reply;
    uint64_t begun_ns = clock_now_ns();
    json_t *body = json_pack("{s:I}", "fence", (json_int_t)lease->fence);
    int status = post(lease, "/renew", body, left_ms(give_up_ns(lease)) + 1, &reply, err);
    if (status != 0)
        return status;
    lease->end_ns = begun_ns + lease->ttl_ms * NS_PER_MS;
    json_decref(reply);
    return 0;
}

/* Once waited for, what was granted may be old: it is renewed before it is used. */
static int acquire(struct lease *lease, uint64_t wait_ms, struct err *err) {
    char holder[ID128_HEX_SIZE];
    uint64_t deadline_ns = clock_deadline_ms(wait_ms);
    id128_print(random_id128(), holder);
    int status;
    do {
        uint64_t step_ms = left_ms(deadline_ns);
        status = ask_once(lease, holder, step_ms < WAIT_STEP_MS ? step_ms : WAIT_STEP_MS, err);
    } while (status == ERR_LOCKED && left_ms(deadline_ns) > 0);
    return status != 0 ? status : renew(lease, err);
}

static void release(const struct lease *lease) {
    json_t *reply;
    json_t *body = json_pack("{s:I}", "fence", (json_int_t)lease->fence);
    if (post(lease, "/release", body, 0, &reply, NULL) == 0)
        json_decref(reply);
}

/* ---- the command ---- */

static int take_signals(sigset_t *ret_before) {
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, ret_before);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* In a process group of its own, so that all of it can be told. */
static pid_t start(const struct lease *lease, char **command, const sigset_t *mask) {
    char fence[24];
    snprintf(fence, sizeof fence, "%llu", (unsigned long long)lease->fence);
    setenv("QUERN_FENCE", fence, 1);
    setenv("QUERN_LOCK", lease->name, 1);
    pid_t self = getpid(), pid = fork();
    if (pid != 0) {
        if (pid > 0)
            setpgid(pid, pid);
        return pid;
    }
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would renew its lease */
    if (getppid() != self)
        _exit(CLI_FAILED);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command[0], command);
    fprintf(stderr, "quern lock: %s: %s\n", command[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Hands on what we are sent. True once the command has ended. */
static bool take_signal(int fd, pid_t pid, int *ret_status) {
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            kill(-pid, (int)info.ssi_signo);
        else if (waitpid(pid, ret_status, WNOHANG) == pid)
            return true;
    }
    return false;
}

/* Until the command ends or the time has come; true when it has ended. */
static bool wait_until(int fd, pid_t pid, uint64_t until_ns, int *ret_status) {
    for (;;) {
        uint64_t ms = left_ms(until_ns);
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        poll(&poll_fd, 1, ms > 60000 ? 60000 : (int)ms);
        if (take_signal(fd, pid, ret_status))
            return true;
        if (clock_now_ns() >= until_ns)
            return false;
    }
}

/* The lock is as good as lost: SIGTERM while it still is ours, SIGKILL when it ends. */
static void stop(const struct lease *lease, int fd, pid_t pid, int *ret_status) {
    if (left_ms(lease->end_ns) > 0)
        kill(-pid, SIGTERM);
    if (wait_until(fd, pid, lease->end_ns, ret_status))
        return;
    kill(-pid, SIGKILL);
    wait_until(fd, pid, UINT64_MAX, ret_status);
}

/* Renewed when a third of it is over; given up when four fifths are. */
static bool hold(struct lease *lease, int fd, pid_t pid, int *ret_status, struct err *err) {
    uint64_t lasts_ns = lease->ttl_ms * NS_PER_MS;
    for (;;) {
        uint64_t renew_ns = lease->end_ns - lasts_ns * 2 / 3;
        if (wait_until(fd, pid, renew_ns, ret_status))
            return true;
        int status = ERR_LOCK_LOST;
        while (clock_now_ns() < give_up_ns(lease)) {
            status = renew(lease, err);
            if (status == 0 || !err_is_transient(status))
                break;
            if (wait_until(fd, pid, clock_deadline_ms(100), ret_status))
                return true;
        }
        if (status == 0)
            continue;
        err_set(err, ERR_LOCK_LOST, "the lock %s was lost: %s", lease->name,
                err_message(err, status));
        stop(lease, fd, pid, ret_status);
        return false;
    }
}

static int exit_status_of(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(struct lease *lease, char **command, int *ret_exit, struct err *err) {
    sigset_t before;
    _cleanup_(fd_closep) int fd = take_signals(&before);
    if (fd < 0)
        return err_errno(err, errno, "cannot wait for signals");
    pid_t pid = start(lease, command, &before);
    if (pid < 0)
        return err_errno(err, errno, "cannot start %s", command[0]);
    int status = 0;
    if (!hold(lease, fd, pid, &status, err))
        return ERR_LOCK_LOST;
    release(lease);
    *ret_exit = exit_status_of(status);
    return 0;
}

int cli_lock(int argc, char **argv) {
    struct values values = {.ttl_ms = 30000};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status == OPTIONS_GO && (operands.command == NULL || operands.command_count == 0))
        status = options_misuse(&usage, "say what to run, behind --");
    if (status != OPTIONS_GO)
        return status;
    struct lease lease = {.name = operands.words[0], .ttl_ms = values.ttl_ms};
    struct err err = {0};
    int exit_status = CLI_FAILED;
    status = client_open(&lease.client, &err);
    if (status == 0)
        status = acquire(&lease, values.wait_ms, &err);
    if (status == 0)
        status = run(&lease, operands.command, &exit_status, &err);
    client_close(lease.client);
    return status == 0 ? exit_status : options_fail(&usage, &err, status);
}
