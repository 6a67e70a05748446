/* quern serve: one node in the foreground, until SIGTERM or SIGINT. */
#include <errno.h>
#include <ini.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/join.h"
#include "cli/options.h"
#include "node/node.h"
#include "os/clock.h"
#include "os/space.h"

#define READY_POLL_MS 50u
#define ROLES "gateway,meta,store,worker"

struct values {
    const char *data;
    const char *listen;
    const char *peer;
    const char *join;
    const char *roles;
    const char *zone;
    const char *name;
    const char *config;
};

#define ROW(name, argument, text)                                                                  \
    { #name, 0, OPTION_TEXT, offsetof(struct values, name), argument, text }
static const struct option_row rows[] = {
    ROW(data, "DIR", "data directory (./quern-data)"),
    ROW(listen, "HOST:PORT", "S3 and console (127.0.0.1:9000)"),
    ROW(peer, "HOST:PORT", "other nodes (127.0.0.1:9100)"),
    ROW(join, "HOST:PORT", "join the cluster of the node whose S3 answers there"),
    ROW(roles, "LIST", "what it does: all of " ROLES),
    ROW(zone, "ZONE", "what fails together, for example a rack"),
    ROW(name, "NAME", "of the node (node1)"),
    ROW(config, "FILE", "lines NAME = VALUE with the options above"),
    {0},
};
#undef ROW

static const struct usage usage = {
    .name = "serve",
    .operands = "",
    .about =
        "Runs a node until SIGTERM or SIGINT. On an empty directory it forms a cluster of one "
        "node, and writes the\n"
        "root user's keys to DIR/credentials (QUERN_ACCESS_KEY and QUERN_SECRET_KEY are taken "
        "if they are set).\n"
        "With --join it becomes a node of a running cluster, whose keys it needs in those two; "
        "--listen and --peer are\n"
        "then the addresses by which others reach it. 'quern node add' lets it keep the "
        "catalogue, too.\n"
        "Prints one line, 'ready http://HOST:PORT', once it serves.",
    .example = "quern serve --data /srv/quern --listen 0.0.0.0:9000\n"
               "quern serve --data /srv/quern --listen b:9000 --peer b:9100 --name b --join a:9000",
    .options = rows,
};

/* The command line wins over the file. Values live as long as the process. */
static int take_config(void *context, const char *section, const char *name, const char *value) {
    for (const struct option_row *row = rows; row->name != NULL; row++) {
        if (strcmp(row->name, name) != 0 || strcmp(name, "config") == 0)
            continue;
        const char **target = (const char **)((char *)context + row->offset);
        if (*target == NULL)
            *target = strdup(value);
        return *target != NULL;
    }
    return 0;
}

static int read_config(struct values *values) {
    if (values->config == NULL)
        return OPTIONS_GO;
    int line = ini_parse(values->config, take_config, values);
    if (line < 0) {
        fprintf(stderr, "quern serve: %s cannot be read: %s\n", values->config, strerror(errno));
        return CLI_FAILED;
    }
    return line == 0
               ? OPTIONS_GO
               : options_misuse(&usage, "%s: line %d is no option of serve", values->config, line);
}

static int check_values(const struct values *values) {
    if (values->join != NULL && values->name == NULL)
        return options_misuse(&usage, "--join needs a --name that no node of the cluster has");
    if (values->roles != NULL && strcmp(values->roles, ROLES) != 0)
        return options_misuse(&usage, "a node runs all roles so far: " ROLES);
    return OPTIONS_GO;
}

/* sd_notify(3) without the library: one datagram to NOTIFY_SOCKET. Nobody is told when there is
 * none. */
static void notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    _cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        log_warn("systemd could not be told '%s': %s", state, strerror(errno));
}

/* SIGTERM and SIGINT come as bytes; a node that lost its reader is not killed by SIGPIPE. */
static int take_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* `quern dev start` leaves a node to the outer `quern dev`: it must not outlive that one. */
static int open_guardian(void) {
    const char *pid = getenv("QUERN_DEV_PID");
    return pid != NULL ? (int)syscall(SYS_pidfd_open, (pid_t)strtol(pid, NULL, 10), 0) : -1;
}

struct stops {
    int signal_fd;
    int guardian_fd; /* -1: none */
};

/* True when it is time to stop. */
static bool wait_stop(const struct stops *stops, int timeout_ms) {
    struct pollfd fds[] = {{.fd = stops->signal_fd, .events = POLLIN},
                           {.fd = stops->guardian_fd, .events = POLLIN}};
    int count = poll(fds, 2, timeout_ms);
    return count > 0;
}

static int serve_until_stopped(struct node *node, const struct stops *stops) {
    struct err err = {0};
    for (;;) {
        int status = node_check_ready(node, clock_deadline_ms(1000), &err);
        if (status == 0)
            break;
        if (!err_is_transient(status))
            return options_fail(&usage, &err, status);
        if (wait_stop(stops, READY_POLL_MS))
            return CLI_OK;
    }
    log_info("ready at %s", node_url(node));
    printf("ready %s\n", node_url(node));
    fflush(stdout);
    notify("READY=1");
    while (!wait_stop(stops, -1))
        continue;
    log_info("stopping");
    notify("STOPPING=1");
    return CLI_OK;
}

int cli_serve(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status == OPTIONS_GO)
        status = read_config(&values);
    if (status == OPTIONS_GO)
        status = check_values(&values);
    if (status != OPTIONS_GO)
        return status;
    struct stops stops = {.signal_fd = take_signals(), .guardian_fd = open_guardian()};
    struct node_options options = {
        .dir = values.data != NULL ? values.data : "quern-data",
        .listen_address = values.listen,
        .peer_address = values.peer,
        .name = values.name,
        .zone = values.zone,
    };
    struct node *node = NULL;
    struct err err = {0};
    status = values.join != NULL ? join_cluster(&options, values.join, &err) : 0;
    if (status == 0)
        status = node_start(&options, &node, &err);
    if (status == ERR_NOSPACE)
        err_wrap(&err, SPACE_ADVICE);
    if (status != 0)
        return options_fail(&usage, &err, status);
    log_info("quern " QUERN_VERSION ", data in %s, keys in %s", options.dir,
             node_credentials_path(node));
    status = serve_until_stopped(node, &stops);
    node_stop(node);
    fd_closep(&stops.signal_fd);
    fd_closep(&stops.guardian_fd);
    return status;
}
