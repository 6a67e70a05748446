/* Files under /sys/fs/cgroup, read and written. */
#include "worker/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ROOT_V2 "/sys/fs/cgroup"
#define TEXT_SIZE 4096

static bool read_text(const char *path, char text[TEXT_SIZE]) {
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, TEXT_SIZE - 1);
    text[size > 0 ? size : 0] = '\0';
    return size >= 0;
}

static int write_text(const char *directory, const char *name, const char *text, struct err *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/%.64s", directory, name);
    _cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return err_errno(err, errno, "cannot write %.150s", path);
    return 0;
}

static bool has_word(const char *text, const char *word) {
    size_t size = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += size)
        if ((at == text || at[-1] == ' ' || at[-1] == ',') && strchr(" ,\n", at[size]) != NULL)
            return true;
    return false;
}

/* Version 2: below the root, where its controllers are handed down. Below a group that has
 * processes, such as our own, it is not allowed. */
static bool find_v2(char path[PATH_MAX]) {
    char text[TEXT_SIZE];
    snprintf(path, PATH_MAX, ROOT_V2);
    return read_text(ROOT_V2 "/cgroup.subtree_control", text) && has_word(text, "memory") &&
           has_word(text, "pids");
}

/* Version 1: where the controller is mounted by custom, below our own group. A line of
 * /proc/self/cgroup is "NUMBER:CONTROLLER,...:PATH". */
static bool find_v1(const char *controller, char path[PATH_MAX]) {
    char text[TEXT_SIZE];
    if (!read_text("/proc/self/cgroup", text))
        return false;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *names = strchr(line, ':'), *own = names != NULL ? strchr(names + 1, ':') : NULL;
        if (own == NULL)
            continue;
        *own++ = '\0';
        char list[256];
        snprintf(list, sizeof list, "%.250s\n", names + 1);
        if (!has_word(list, controller))
            continue;
        snprintf(path, PATH_MAX, ROOT_V2 "/%s%s", controller, strcmp(own, "/") == 0 ? "" : own);
        return access(path, W_OK) == 0;
    }
    return false;
}

static int make_own(char path[PATH_MAX], struct err *err) {
    size_t used = strlen(path);
    snprintf(path + used, PATH_MAX - used, "/quern-%d", (int)getpid());
    return mkdir(path, 0755) == 0 ? 0 : err_errno(err, errno, "cannot make %.150s", path);
}

int cgroup_parent_make(struct cgroup_parent *ret_parent, struct err *err) {
    struct cgroup_parent parent = {.is_v2 = find_v2(parent.memory)};
    if (!parent.is_v2 && !(find_v1("memory", parent.memory) && find_v1("pids", parent.pids)))
        return err_set(err, ERR_NOT_IMPLEMENTED, "control groups cannot be written");
    int code = make_own(parent.memory, err);
    if (code == 0 && parent.is_v2) {
        memcpy(parent.pids, parent.memory, sizeof parent.pids);
        code = write_text(parent.memory, "cgroup.subtree_control", "+memory +pids", err);
    } else if (code == 0) {
        code = make_own(parent.pids, err);
    }
    if (code != 0)
        rmdir(parent.memory);
    else
        *ret_parent = parent;
    return code;
}

void cgroup_parent_remove(const struct cgroup_parent *parent) {
    rmdir(parent->memory);
    if (!parent->is_v2)
        rmdir(parent->pids);
}

static void child_path(const char *parent, unsigned number, char path[PATH_MAX]) {
    snprintf(path, PATH_MAX, "%.4000s/%u", parent, number);
}

static int open_in(const char *directory, const char *name, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/%.64s", directory, name);
    return open(path, flags | O_CLOEXEC);
}

int cgroup_make(const struct cgroup_parent *parent, unsigned number, unsigned processes_max,
                struct cgroup *ret_cgroup, struct err *err) {
    struct cgroup cgroup = CGROUP_NONE;
    char memory[PATH_MAX], pids[PATH_MAX], text[24];
    child_path(parent->memory, number, memory);
    child_path(parent->pids, number, pids);
    if (mkdir(memory, 0755) != 0 || (!parent->is_v2 && mkdir(pids, 0755) != 0))
        return err_errno(err, errno, "cannot make a control group");
    cgroup.is_v2 = parent->is_v2;
    cgroup.number = number;
    cgroup.limit_fd =
        open_in(memory, cgroup.is_v2 ? "memory.max" : "memory.limit_in_bytes", O_WRONLY);
    cgroup.events_fd =
        open_in(memory, cgroup.is_v2 ? "memory.events" : "memory.oom_control", O_RDONLY);
    cgroup.used_fd =
        open_in(memory, cgroup.is_v2 ? "memory.current" : "memory.usage_in_bytes", O_RDONLY);
    cgroup.procs_fds[0] = open_in(memory, "cgroup.procs", O_WRONLY);
    cgroup.procs_fds[1] = parent->is_v2 ? -1 : open_in(pids, "cgroup.procs", O_WRONLY);
    snprintf(text, sizeof text, "%u", processes_max);
    bool is_open = cgroup.limit_fd >= 0 && cgroup.events_fd >= 0 && cgroup.used_fd >= 0 &&
                   cgroup.procs_fds[0] >= 0 && (parent->is_v2 || cgroup.procs_fds[1] >= 0);
    int code = !is_open ? err_errno(err, errno, "cannot open a control group")
                        : write_text(pids, "pids.max", text, err);
    if (code != 0) {
        cgroup_close(&cgroup);
        cgroup_remove(parent, &cgroup);
        return code;
    }
    *ret_cgroup = cgroup;
    return 0;
}

int cgroup_enter(struct cgroup *cgroup) {
    for (int i = 0; i < 2; i++) {
        if (cgroup->procs_fds[i] >= 0 && write(cgroup->procs_fds[i], "0", 1) != 1)
            return errno;
        fd_closep(&cgroup->procs_fds[i]);
        cgroup->procs_fds[i] = -1;
    }
    return 0;
}

void cgroup_remove(const struct cgroup_parent *parent, const struct cgroup *cgroup) {
    char path[PATH_MAX];
    child_path(parent->memory, cgroup->number, path);
    rmdir(path);
    child_path(parent->pids, cgroup->number, path);
    if (!parent->is_v2)
        rmdir(path);
}

void cgroup_close(struct cgroup *cgroup) {
    fd_closep(&cgroup->procs_fds[0]);
    fd_closep(&cgroup->procs_fds[1]);
    fd_closep(&cgroup->limit_fd);
    fd_closep(&cgroup->events_fd);
    fd_closep(&cgroup->used_fd);
    unsigned number = cgroup->number;
    *cgroup = CGROUP_NONE;
    cgroup->number = number;
}

int cgroup_limit_memory(const struct cgroup *cgroup, uint64_t bytes) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    if (bytes == 0)
        snprintf(text, sizeof text, cgroup->is_v2 ? "max" : "-1");
    return pwrite(cgroup->limit_fd, text, strlen(text), 0) > 0 ? 0 : errno;
}

uint64_t cgroup_memory_used(const struct cgroup *cgroup) {
    char text[24];
    ssize_t size = pread(cgroup->used_fd, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    return strtoull(text, NULL, 10);
}

uint64_t cgroup_memory_kills(const struct cgroup *cgroup) {
    char text[TEXT_SIZE];
    ssize_t size = pread(cgroup->events_fd, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    const char *line = strstr(text, "oom_kill ");
    return line != NULL ? strtoull(line + sizeof "oom_kill " - 1, NULL, 10) : 0;
}
