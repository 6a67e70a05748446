/* quern dev: a cluster of node processes on this machine, for as long as a command runs or until
 * interrupted. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/dev_dir.h"
#include "cli/dev_node.h"
#include "cli/options.h"

struct values {
    uint64_t nodes;
    const char *dir;
    uint64_t port;
};

static const struct option_row rows[] = {
    {"nodes", 'n', OPTION_NUMBER, offsetof(struct values, nodes), "N",
     "how many (3, or those the folder has)"},
    {"dir", 'd', OPTION_TEXT, offsetof(struct values, dir), "DIR",
     "where; kept (a temporary folder, removed)"},
    {"port", 'p', OPTION_NUMBER, offsetof(struct values, port), "FIRST",
     "S3 of node i on FIRST+i-1 (9000)"},
    {0},
};

static const struct usage usage = {
    .name = "dev",
    .operands = "[-- CMD ARG...] | start I",
    .operands_max = 2,
    .takes_command = true,
    .about = "Starts N nodes on this machine, runs CMD with QUERN_ENDPOINT, QUERN_ACCESS_KEY, "
             "QUERN_SECRET_KEY, the AWS_*\n"
             "like and QUERN_DEV_DIR set, stops the nodes, and exits with CMD's status; without "
             "CMD it stays until\n"
             "interrupted. Node i has its data, quern.pid and log in DIR/node<i>/, peers on "
             "FIRST+100+i-1. A node that was\n"
             "killed stays down until `quern dev start I --dir DIR`.",
    .example = "quern dev --nodes 3 -- sh -c 'quern mb logs && quern status'\n"
               "quern dev start 2 --dir ./cluster",
    .options = rows,
};

/* ---- dev start ---- */

static int start_one(const struct values *values, const char *text) {
    uint64_t number;
    char path[PATH_MAX];
    if (values->dir == NULL)
        return options_misuse(&usage, "start needs --dir");
    if (!options_parse_number(OPTION_NUMBER, text, &number) || number == 0 ||
        number > DEV_NODES_MAX ||
        access(dev_dir_node_path(values->dir, (unsigned)number, "identity.json", path), F_OK) != 0)
        return options_misuse(&usage, "%s has no node %s", values->dir, text);
    struct dev_node node;
    struct err err = {0};
    int status = dev_node_start(&node, values->dir, (unsigned)number, DEV_NODE_FREE, &err);
    if (status == 0)
        status = dev_node_wait_ready(&node, 1, values->dir, -1, &err);
    return status == 0 ? CLI_OK : options_fail(&usage, &err, status);
}

/* ---- the environment of CMD ---- */

static void set_environment(const struct dev_dir *dir) {
    char list[DEV_NODES_MAX * 32] = "", first[32];
    size_t used = 0;
    for (unsigned i = 0; i < dir->node_count; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%shttp://127.0.0.1:%u",
                                 i > 0 ? "," : "", dir->first_port + i);
    snprintf(first, sizeof first, "http://127.0.0.1:%u", dir->first_port);
    setenv("QUERN_ENDPOINT", list, 1);
    setenv("QUERN_ACCESS_KEY", dir->credentials.access_key, 1);
    setenv("QUERN_SECRET_KEY", dir->credentials.secret_key, 1);
    setenv("AWS_ENDPOINT_URL", first, 1);
    setenv("AWS_ACCESS_KEY_ID", dir->credentials.access_key, 1);
    setenv("AWS_SECRET_ACCESS_KEY", dir->credentials.secret_key, 1);
    setenv("AWS_DEFAULT_REGION", "us-east-1", 1);
    char *absolute = realpath(dir->path, NULL);
    setenv("QUERN_DEV_DIR", absolute != NULL ? absolute : dir->path, 1);
    free(absolute);
}

/* ---- running ---- */

/* All that matter are blocked from now on. The descriptor tells of requests to stop, and of ended
 * children too when asked: those that end before are not lost. */
static int open_signals(int fd, bool with_children) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigset_t blocked = set;
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    return signalfd(fd, with_children ? &blocked : &set, SFD_CLOEXEC);
}

static pid_t start_command(char **command) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execvp(command[0], command);
    fprintf(stderr, "quern dev: %s: %s\n", command[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Reaps whatever ends, nodes too. True with the command's status once that has ended. */
static bool reap(pid_t command, int *ret_status) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == command) {
            *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            return true;
        }
    return false;
}

/* A terminal's SIGINT has reached the command by itself; others are passed on. */
static int run_command(char **command, int signal_fd) {
    pid_t pid = start_command(command);
    if (pid < 0) {
        perror("quern dev: fork");
        return CLI_FAILED;
    }
    int status = CLI_FAILED;
    struct signalfd_siginfo info;
    while (!reap(pid, &status))
        if (read(signal_fd, &info, sizeof info) == sizeof info && info.ssi_signo != SIGCHLD &&
            !(info.ssi_signo == SIGINT && isatty(STDIN_FILENO)))
            kill(pid, (int)info.ssi_signo);
    return status;
}

static int stay(const struct dev_dir *dir, int signal_fd) {
    printf("%u nodes are ready: %s\nkeys: %s/node1/credentials; Ctrl-C stops them\n",
           dir->node_count, getenv("QUERN_ENDPOINT"), dir->path);
    fflush(stdout);
    struct signalfd_siginfo info = {0};
    int unused;
    while (read(signal_fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGCHLD)
        reap(-1, &unused);
    return CLI_OK;
}

static int start_all(const struct dev_dir *dir, int signal_fd, struct err *err) {
    struct dev_node nodes[DEV_NODES_MAX];
    unsigned started = 0;
    int status = 0;
    for (; started < dir->node_count && status == 0; started += status == 0)
        status = dev_node_start(&nodes[started], dir->path, started + 1, DEV_NODE_TIED, err);
    int ready = dev_node_wait_ready(nodes, started, dir->path, signal_fd, status == 0 ? err : NULL);
    return status != 0 ? status : ready;
}

static int run(struct dev_dir *dir, const struct operands *operands) {
    int signal_fd = open_signals(-1, false);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* nodes of `dev start` come to us when it ends */
    struct err err = {0};
    int status = start_all(dir, signal_fd, &err);
    set_environment(dir);
    open_signals(signal_fd, true);
    int exit_status = status != 0                 ? options_fail(&usage, &err, status)
                      : operands->command != NULL ? run_command(operands->command, signal_fd)
                                                  : stay(dir, signal_fd);
    dev_node_stop_all(dir->path, dir->node_count);
    close(signal_fd);
    return exit_status;
}

static int check_values(const struct values *values, const struct operands *operands) {
    if (operands->command != NULL && operands->command_count == 0)
        return options_misuse(&usage, "no command follows --");
    if (operands->count > 0)
        return options_misuse(&usage, "'%s' is not understood", operands->words[0]);
    if (values->nodes > DEV_NODES_MAX)
        return options_misuse(&usage, "at most %u nodes", DEV_NODES_MAX);
    if (values->port == 0 || values->port > UINT16_MAX - DEV_PEER_OFFSET - DEV_NODES_MAX)
        return options_misuse(&usage, "--port does not take %llu",
                              (unsigned long long)values->port);
    return OPTIONS_GO;
}

int cli_dev(int argc, char **argv) {
    struct values values = {.port = 9000};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    if (operands.count == 2 && strcmp(operands.words[0], "start") == 0 && operands.command == NULL)
        return start_one(&values, operands.words[1]);
    status = check_values(&values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct dev_dir dir = DEV_DIR_INIT;
    struct err err = {0};
    status = dev_dir_open(&dir, values.dir, (unsigned)values.nodes, (uint16_t)values.port, &err);
    status = status == 0 ? run(&dir, &operands) : options_fail(&usage, &err, status);
    dev_dir_fini(&dir);
    return status;
}
