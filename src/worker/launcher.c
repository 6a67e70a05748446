/* Main's side of the launcher: it is forked, then asked for sandboxes over a socket pair. */
#include "worker/launcher.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "worker/launch.h"
#include "worker/nursery.h"
#include "worker/worker.h"

struct launcher {
    int socket;
    pid_t pid;
    atomic_bool dead;
    int level;
    char reason[256];
    pthread_mutex_t mutex; /* one exchange at a time */
};

/* The node's lock and sockets must not live on in a child that outlasts it by a moment. */
static void close_others(int socket) {
    if (socket > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, (unsigned)socket - 1, 0);
    close_range((unsigned)socket + 1, ~0u, 0);
}

/* Forks; the child never returns. */
static int fork_launcher(struct launcher *launcher, const char *dir, struct err *err) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return err_errno(err, errno, "cannot make the launcher's socket");
    launcher->pid = fork();
    if (launcher->pid == 0) {
        close_others(pair[1]);
        nursery_main(pair[1], dir);
    }
    close(pair[1]);
    if (launcher->pid < 0) {
        close(pair[0]);
        return err_errno(err, errno, "cannot fork the launcher");
    }
    launcher->socket = pair[0];
    return 0;
}

/* Asks for a sandbox of the level and waits until its keeper says that it stands. */
static int open_at(struct launcher *launcher, int level, int *ret_socket,
                   char ret_scratch[LAUNCH_SCRATCH_SIZE], struct err *err) {
    const struct launch_open open_message = {LAUNCH_OPEN, (uint32_t)level};
    struct launch_opened opened = {0};
    size_t size;
    _cleanup_(fd_closep) int fd = -1;
    unsigned count = 1;
    pthread_mutex_lock(&launcher->mutex);
    int code = launch_send(launcher->socket, &open_message, sizeof open_message, NULL, 0, err);
    if (code == 0)
        code = launch_receive(launcher->socket, &opened, sizeof opened, &size, &fd, &count, err);
    pthread_mutex_unlock(&launcher->mutex);
    if (code != 0 || size == 0)
        atomic_store(&launcher->dead, true);
    if (code == 0 && size != 0 && opened.code == 0 && count == 1) {
        count = 0;
        int none;
        code = launch_receive(fd, &opened, sizeof opened, &size, &none, &count, err);
    }
    if (code == 0 && size != sizeof opened)
        return err_set(err, ERR_CLOSED, "a sandbox did not start");
    if (code == 0 && opened.code != 0)
        return err_set(err, opened.code, "%.*s", (int)sizeof opened.text, opened.text);
    if (code != 0)
        return code;
    *ret_socket = TAKE_FD(fd);
    snprintf(ret_scratch, LAUNCH_SCRATCH_SIZE, "%s", opened.text);
    return 0;
}

/* The highest level at which a sandbox stands; why not the one above is kept. */
static int probe(struct launcher *launcher, int level_max, struct err *err) {
    snprintf(launcher->reason, sizeof launcher->reason, "%s",
             level_max < 4 ? "a lower level was asked for" : "nothing is missing");
    for (launcher->level = level_max; launcher->level > 0; launcher->level--) {
        struct err why = {0};
        int socket;
        char scratch[LAUNCH_SCRATCH_SIZE];
        if (open_at(launcher, launcher->level, &socket, scratch, &why) == 0) {
            close(socket);
            return 0;
        }
        snprintf(launcher->reason, sizeof launcher->reason, "no L%d: %.200s", launcher->level,
                 why.text);
    }
    return waitpid(launcher->pid, NULL, WNOHANG) == 0
               ? 0
               : err_set(err, ERR_INTERNAL, "the launcher died");
}

int launcher_start_at(const char *dir, int level_max, struct launcher **ret_launcher,
                      struct err *err) {
    struct launcher *launcher = calloc(1, sizeof *launcher);
    if (launcher == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    launcher->socket = -1;
    pthread_mutex_init(&launcher->mutex, NULL);
    int code = fork_launcher(launcher, dir, err);
    if (code == 0)
        code = probe(launcher, level_max, err);
    if (code != 0) {
        launcher_stop(launcher);
        return code;
    }
    *ret_launcher = launcher;
    return 0;
}

int launcher_start(const char *dir, struct launcher **ret_launcher, struct err *err) {
    return launcher_start_at(dir, 4, ret_launcher, err);
}

struct launcher *launcher_stop(struct launcher *launcher) {
    if (launcher == NULL)
        return NULL;
    fd_closep(&launcher->socket); /* at this it ends */
    if (launcher->pid > 0)
        waitpid(launcher->pid, NULL, 0);
    pthread_mutex_destroy(&launcher->mutex);
    free(launcher);
    return NULL;
}

int launcher_sandbox_level(const struct launcher *launcher, const char **ret_reason) {
    if (ret_reason != NULL)
        *ret_reason = launcher->reason;
    return launcher->level;
}

bool launcher_is_dead(struct launcher *launcher) {
    return atomic_load(&launcher->dead);
}

int launcher_open_sandbox(struct launcher *launcher, int *ret_socket,
                          char ret_scratch[LAUNCH_SCRATCH_SIZE], struct err *err) {
    if (launcher->level == 0)
        return err_set(err, ERR_NOT_IMPLEMENTED, "this machine allows no sandbox: %s",
                       launcher->reason);
    return open_at(launcher, launcher->level, ret_socket, ret_scratch, err);
}
