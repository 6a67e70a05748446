/* One thread, little memory: forking a keeper from here is cheap whatever the node has grown to. */
#include "worker/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/clock.h"
#include "os/file.h"
#include "worker/cgroup.h"
#include "worker/environment.h"
#include "worker/keeper.h"
#include "worker/landlock.h"
#include "worker/launch.h"
#include "worker/scratch.h"
#include "worker/slim.h"
#include "worker/tree.h"

#define SPARE_DELAY_MS 5 /* the task that took one goes first */
#define SPARES 3 /* a sandbox that is ready saves the first task of a job some milliseconds */

struct ward { /* a keeper that lives */
    pid_t pid;
    int socket; /* to a spare one that nobody has asked for yet; else -1 */
    struct cgroup cgroup;
    char scratch[LAUNCH_SCRATCH_SIZE]; /* L1 and L2: removed with it */
};

struct nursery {
    int socket;
    int child_signal; /* a pipe: a child has died */
    int files_fd;
    char hidden[PATH_MAX];
    struct filter *filters[2]; /* without and with unix sockets */
    int spare_level;           /* spares are kept ready at this level; 0: none yet */
    bool has_net_namespaces;
    bool has_cgroups;
    struct cgroup_parent cgroups;
    char no_cgroups[sizeof((struct err *)0)->text]; /* why */
    unsigned cgroup_number;
    uint64_t spare_at_ns; /* when to make the next spare */
    unsigned count;
    struct ward wards[LAUNCH_SANDBOXES_MAX];
};

static int signal_pipe = -1;

static void on_child(int number) {
    (void)number;
    int saved = errno;
    if (write(signal_pipe, "", 1) < 0)
        errno = saved; /* full: it will be read */
    errno = saved;
}

static int watch_children(struct nursery *nursery, struct err *err) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_errno(err, errno, "cannot make a pipe");
    nursery->child_signal = fds[0];
    signal_pipe = fds[1];
    const struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    sigaction(SIGCHLD, &action, NULL);
    return 0;
}

/* L1 and L2 have no private root: their scratch lies in the machine's /tmp, for the task user
 * alone. */
static int make_scratch(char scratch[LAUNCH_SCRATCH_SIZE], struct err *err) {
    snprintf(scratch, LAUNCH_SCRATCH_SIZE, "/tmp/quern-task-XXXXXX");
    if (mkdtemp(scratch) == NULL)
        return err_errno(err, errno, "cannot make a scratch directory in /tmp");
    return 0;
}

static void remove_scratch(struct ward *ward) {
    if (ward->scratch[0] == '\0')
        return;
    _cleanup_(fd_closep) int fd =
        open(ward->scratch, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && scratch_clear(fd, NULL) == 0)
        rmdir(ward->scratch);
}

/* In the new process: waits until its ids are mapped, then never returns. */
static noreturn void become_keeper(struct nursery *nursery, int socket, struct jail *jail) {
    for (unsigned i = 0; i < nursery->count; i++)
        fd_closep(&nursery->wards[i].socket); /* else others would not see main's end close */
    close(nursery->socket);
    close(nursery->child_signal);
    close(signal_pipe);
    signal(SIGCHLD, SIG_DFL);
    char go;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || read(socket, &go, 1) != 1)
        _exit(1);
    keeper_main(socket, jail);
}

/* theirs: the keeper's end of its socket. */
static int fork_keeper(struct nursery *nursery, struct jail *jail, struct ward *ward, int theirs,
                       struct err *err) {
    int flags = jail_clone_flags(jail->level, jail->net_namespace) | SIGCHLD;
    ward->pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0);
    if (ward->pid < 0)
        return err_errno(err, errno, "cannot make namespaces");
    if (ward->pid == 0) {
        close(ward->socket);
        become_keeper(nursery, theirs, jail);
    }
    int code = jail->level >= 3 ? jail_map_ids(ward->pid, err)
                                : jail_give_scratch(ward->scratch, ward->pid, err);
    if (code == 0 && write(ward->socket, "", 1) != 1)
        code = err_errno(err, errno, "cannot start a keeper");
    if (code != 0) {
        kill(ward->pid, SIGKILL);
        waitpid(ward->pid, NULL, 0);
    }
    return code;
}

static int check_level(const struct nursery *nursery, int level, struct err *err) {
    if (nursery->count == LAUNCH_SANDBOXES_MAX)
        return err_set(err, ERR_LIMIT, "there are %d sandboxes already", LAUNCH_SANDBOXES_MAX);
    if (level > 4 || level < 1)
        return err_set(err, ERR_INVALID, "there is no sandbox level %d", level);
    if (level >= 2 && landlock_abi() == 0)
        return err_set(err, ERR_NOT_IMPLEMENTED, "the kernel has no Landlock");
    if (level == 1 && geteuid() != 0) /* nothing would keep tasks from the user's own files */
        return err_set(err, ERR_NOT_IMPLEMENTED, "without Landlock quern must run as root");
    if (level == 4 && !nursery->has_net_namespaces)
        return err_set(err, ERR_NOT_IMPLEMENTED, "net namespaces are not allowed");
    if (level == 4 && !nursery->has_cgroups)
        return err_set(err, ERR_NOT_IMPLEMENTED, "%s", nursery->no_cgroups);
    return 0;
}

/* What is made for a keeper before it is forked. */
static int prepare_ward(struct nursery *nursery, int level, struct ward *ward, struct err *err) {
    *ward = (struct ward){.socket = -1, .cgroup = CGROUP_NONE};
    int code = check_level(nursery, level, err);
    if (code == 0 && level < 3)
        code = make_scratch(ward->scratch, err);
    if (code == 0 && nursery->has_cgroups)
        code = cgroup_make(&nursery->cgroups, nursery->cgroup_number++, JAIL_PROCESSES_MAX + 1,
                           &ward->cgroup, err);
    return code;
}

static void discard_ward(struct nursery *nursery, struct ward *ward) {
    remove_scratch(ward);
    fd_closep(&ward->socket);
    if (ward->cgroup.number != 0)
        cgroup_remove(&nursery->cgroups, &ward->cgroup);
}

/* A keeper at work on its jail; ward->socket leads to it. */
static int start_ward(struct nursery *nursery, int level, struct ward *ward, struct err *err) {
    int pair[2];
    int code = prepare_ward(nursery, level, ward, err);
    if (code == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        code = err_errno(err, errno, "cannot make a sandbox's socket");
    if (code == 0) {
        bool net = level >= 3 && nursery->has_net_namespaces;
        struct jail jail = {.level = level,
                            .net_namespace = net,
                            .cgroup = ward->cgroup,
                            .filter = nursery->filters[net],
                            .files_fd = nursery->files_fd,
                            .hidden = nursery->hidden,
                            .root = geteuid() == 0};
        snprintf(jail.scratch, sizeof jail.scratch, "%s", level >= 3 ? "/tmp" : ward->scratch);
        ward->socket = pair[0];
        code = fork_keeper(nursery, &jail, ward, pair[1], err);
        close(pair[1]);
    }
    cgroup_close(&ward->cgroup);
    if (code != 0)
        discard_ward(nursery, ward);
    return code;
}

static bool lacks_spares(const struct nursery *nursery) {
    unsigned spares = 0;
    for (unsigned i = 0; i < nursery->count; i++)
        spares += nursery->wards[i].socket >= 0;
    return nursery->spare_level > 0 && spares < SPARES;
}

static void add_spare(struct nursery *nursery) {
    struct ward *ward = &nursery->wards[nursery->count];
    if (start_ward(nursery, nursery->spare_level, ward, NULL) == 0)
        nursery->count++;
    else
        nursery->spare_level = 0; /* whoever asks next is told why */
}

static struct ward *find_spare(struct nursery *nursery, int level) {
    for (unsigned i = 0; i < nursery->count && level == nursery->spare_level; i++)
        if (nursery->wards[i].socket >= 0)
            return &nursery->wards[i];
    return NULL;
}

static int open_sandbox(struct nursery *nursery, int level, int *ret_socket, struct err *err) {
    struct ward *ward = find_spare(nursery, level);
    if (ward == NULL) {
        ward = &nursery->wards[nursery->count];
        int code = start_ward(nursery, level, ward, err);
        if (code != 0)
            return code;
        nursery->count++;
    }
    *ret_socket = TAKE_FD(ward->socket);
    return 0;
}

static bool serve_one(struct nursery *nursery) {
    struct launch_open request;
    size_t size;
    unsigned count = 0;
    int fd = -1;
    if (launch_receive(nursery->socket, &request, sizeof request, &size, &fd, &count, NULL) != 0 ||
        size == 0)
        return false;
    struct err err = {0};
    struct launch_opened opened = {0};
    opened.code = size == sizeof request && request.kind == LAUNCH_OPEN
                      ? open_sandbox(nursery, (int)request.level, &fd, &err)
                      : err_set(&err, ERR_PROTOCOL, "a message that the launcher does not know");
    memcpy(opened.text, err.text, sizeof opened.text);
    int code = launch_send(nursery->socket, &opened, sizeof opened, &fd, opened.code == 0, NULL);
    fd_closep(&fd);
    if (opened.code == 0) {
        nursery->spare_level = (int)request.level;
        nursery->spare_at_ns = clock_deadline_ms(SPARE_DELAY_MS);
    }
    return code == 0;
}

/* Reaps keepers; what a task of one has left to us at L1 or L2 dies too. */
static void bury_dead(struct nursery *nursery) {
    char bytes[64];
    while (read(nursery->child_signal, bytes, sizeof bytes) > 0)
        continue;
    pid_t spare[LAUNCH_SANDBOXES_MAX];
    unsigned kept = 0;
    bool died[LAUNCH_SANDBOXES_MAX];
    for (unsigned i = 0; i < nursery->count; i++) {
        died[i] = waitpid(nursery->wards[i].pid, NULL, WNOHANG) != 0;
        if (!died[i])
            spare[kept++] = nursery->wards[i].pid;
    }
    struct rusage usage = {0};
    tree_kill(false, spare, kept, &usage);
    kept = 0;
    for (unsigned i = 0; i < nursery->count; i++)
        if (died[i])
            discard_ward(nursery, &nursery->wards[i]);
        else
            nursery->wards[kept++] = nursery->wards[i];
    nursery->count = kept;
}

static bool may_clone(int flags) {
    pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0)
        _exit(0);
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static void find_means(struct nursery *nursery) {
    struct err why = {0};
    nursery->has_net_namespaces = may_clone(CLONE_NEWUSER | CLONE_NEWNET);
    nursery->has_cgroups = cgroup_parent_make(&nursery->cgroups, &why) == 0;
    nursery->cgroup_number = 1;
    memcpy(nursery->no_cgroups, why.text, sizeof why.text);
}

static int open_files(struct nursery *nursery, struct err *err) {
    char path[PATH_MAX + sizeof SCRATCH_FILES + 1];
    snprintf(path, sizeof path, "%s/%s", nursery->hidden, SCRATCH_FILES);
    int code = file_make_directories(path, err);
    nursery->files_fd = code == 0 ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    return code != 0 || nursery->files_fd >= 0 ? code : err_errno(err, errno, "%s", path);
}

static int nursery_init(struct nursery *nursery, const char *dir, struct err *err) {
    setsid(); /* a terminal's Ctrl-C is for main */
    prctl(PR_SET_NAME, "quern-launcher");
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    if (setenv("PATH", TASK_PATH, 1) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return err_errno(err, errno, "cannot set up the launcher");
    if (realpath(dir, nursery->hidden) == NULL)
        return err_errno(err, errno, "%s", dir);
    int code = open_files(nursery, err);
    if (code != 0)
        return code;
    find_means(nursery);
    code = watch_children(nursery, err);
    for (int i = 0; i < 2 && code == 0; i++)
        code = filter_new(i == 1, &nursery->filters[i], err);
    return code;
}

/* Main has gone: so do the keepers, and what they keep. */
static noreturn void end(struct nursery *nursery) {
    for (unsigned i = 0; i < nursery->count; i++)
        kill(nursery->wards[i].pid, SIGKILL);
    struct rusage usage = {0};
    tree_kill(false, NULL, 0, &usage);
    for (unsigned i = 0; i < nursery->count; i++)
        discard_ward(nursery, &nursery->wards[i]);
    if (nursery->has_cgroups)
        cgroup_parent_remove(&nursery->cgroups);
    _exit(0);
}

noreturn void nursery_main(int socket, const char *dir) {
    static struct nursery nursery; /* large, and this process has one */
    nursery.socket = socket;
    struct err err = {0};
    if (nursery_init(&nursery, dir, &err) != 0) {
        fprintf(stderr, "quern: launcher: %s\n", err.text);
        _exit(1);
    }
    slim_children();
    struct pollfd polls[] = {{socket, POLLIN, 0}, {nursery.child_signal, POLLIN, 0}};
    for (;;) {
        bool lacks = lacks_spares(&nursery);
        int ready = poll(polls, 2, lacks ? clock_poll_ms(nursery.spare_at_ns) : -1);
        if (ready < 0 && errno != EINTR)
            end(&nursery);
        if (lacks && clock_now_ns() >= nursery.spare_at_ns)
            add_spare(&nursery);
        if (ready <= 0)
            continue;
        if (polls[1].revents != 0)
            bury_dead(&nursery);
        if (polls[0].revents != 0 && !serve_one(&nursery))
            end(&nursery);
    }
}
