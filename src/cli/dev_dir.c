/* Forming and resuming the folder of a development cluster. */
#include "cli/dev_dir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "meta/replicas.h"
#include "os/file.h"

#define NODES_DEFAULT 3u

const char *dev_dir_node_path(const char *dir, unsigned node, const char *name, char *ret_path) {
    snprintf(ret_path, PATH_MAX, "%s/node%u/%s", dir, node, name);
    return ret_path;
}

bool dev_dir_node_is_running(const char *dir, unsigned node) {
    char path[PATH_MAX];
    _cleanup_(fd_closep) int fd = -1;
    return access(dev_dir_node_path(dir, node, "lock", path), F_OK) == 0 &&
           file_lock(path, &fd, NULL) == ERR_EXISTS;
}

int dev_dir_read_pid(const char *path) {
    _cleanup_(buf_finip) struct buf text = BUF_INIT;
    if (file_read_whole(path, 32, &text, NULL) != 0)
        return 0;
    long pid = strtol(text.data, NULL, 10);
    return pid > 1 && pid < INT_MAX ? (int)pid : 0;
}

int dev_dir_write_pid(const char *path, int pid, struct err *err) {
    char text[16];
    snprintf(text, sizeof text, "%d\n", pid);
    return file_replace(path, 0644, span_of(text), err);
}

static int choose_path(struct dev_dir *dir, const char *path, struct err *err) {
    if (path != NULL) {
        if ((size_t)snprintf(dir->path, sizeof dir->path, "%s", path) >= sizeof dir->path)
            return err_set(err, ERR_INVALID, "the path of the folder is too long");
        return file_make_directories(dir->path, err);
    }
    const char *base = getenv("TMPDIR");
    snprintf(dir->path, sizeof dir->path, "%s/quern-dev-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(dir->path) == NULL)
        return err_errno(err, errno, "%s", dir->path);
    dir->is_temporary = true;
    return 0;
}

static int lock(struct dev_dir *dir, struct err *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/dev.lock", dir->path);
    int status = file_lock(path, &dir->lock_fd, err);
    if (status == ERR_EXISTS)
        return err_set(err, status, "another quern dev runs in %s", dir->path);
    if (status != 0)
        return status;
    snprintf(path, sizeof path, "%s/dev.pid", dir->path);
    return dev_dir_write_pid(path, getpid(), err);
}

static unsigned count_nodes(const struct dev_dir *dir) {
    char path[PATH_MAX];
    unsigned count = 0;
    while (count < DEV_NODES_MAX &&
           access(dev_dir_node_path(dir->path, count + 1, "identity.json", path), F_OK) == 0)
        count++;
    return count;
}

static void set_addresses(const struct dev_dir *dir, struct place_node *node, unsigned number) {
    unsigned port = dir->first_port + number - 1;
    snprintf(node->http_address, sizeof node->http_address, "127.0.0.1:%u", port);
    snprintf(node->peer_address, sizeof node->peer_address, "127.0.0.1:%u", port + DEV_PEER_OFFSET);
}

/* The last identity makes the folder a cluster: a crash before it leaves one that is formed anew.
 */
static int form(struct dev_dir *dir, struct err *err) {
    struct place_node nodes[DEV_NODES_MAX] = {0};
    char path[PATH_MAX];
    for (unsigned i = 1; i <= dir->node_count; i++) {
        snprintf(nodes[i - 1].name, sizeof nodes[i - 1].name, "node%u", i);
        set_addresses(dir, &nodes[i - 1], i);
    }
    _cleanup_(identity_fini) struct identity identity = {0};
    int status = credentials_make(&dir->credentials, err);
    if (status == 0)
        status = identity_form_cluster(nodes, dir->node_count, 0, &identity.map, err);
    for (unsigned i = dir->node_count; i >= 1 && status == 0; i--) {
        identity.node_id = i;
        status = file_make_directories(dev_dir_node_path(dir->path, i, "", path), err);
        if (status == 0)
            status = credentials_write(dev_dir_node_path(dir->path, i, "credentials", path),
                                       &dir->credentials, err);
        if (status == 0)
            status =
                replicas_found(dev_dir_node_path(dir->path, i, "meta", path), identity.map, i, err);
        if (status == 0)
            status = identity_write(dev_dir_node_path(dir->path, i, "identity.json", path),
                                    &identity, err);
    }
    return status;
}

/* The same cluster as every other node's, with the ports of this run. */
static int resume_node(struct dev_dir *dir, unsigned number, struct id128 *cluster_id,
                       struct err *err) {
    char path[PATH_MAX];
    _cleanup_(identity_fini) struct identity identity = {0};
    int status =
        identity_read(dev_dir_node_path(dir->path, number, "identity.json", path), &identity, err);
    if (status != 0)
        return status;
    if (number == 1)
        *cluster_id = identity.map->cluster_id;
    if (!id128_equal(*cluster_id, identity.map->cluster_id) || identity.node_id != number ||
        identity.map->node_count != dir->node_count)
        return err_set(err, ERR_WRONG_CLUSTER, "%s is not node %u of this cluster", path, number);
    for (unsigned i = 0; i < identity.map->node_count; i++)
        set_addresses(dir, &identity.map->nodes[i], identity.map->nodes[i].id);
    return identity_write(path, &identity, err);
}

static int resume(struct dev_dir *dir, struct err *err) {
    struct id128 cluster_id;
    char path[PATH_MAX];
    int status = credentials_read(dev_dir_node_path(dir->path, 1, "credentials", path),
                                  &dir->credentials, err);
    for (unsigned i = 1; i <= dir->node_count && status == 0; i++)
        status = resume_node(dir, i, &cluster_id, err);
    return status;
}

int dev_dir_open(struct dev_dir *dir, const char *path, unsigned node_count, uint16_t first_port,
                 struct err *err) {
    dir->first_port = first_port;
    int status = choose_path(dir, path, err);
    if (status == 0)
        status = lock(dir, err);
    if (status != 0)
        return status;
    unsigned present = count_nodes(dir);
    if (present > 0 && node_count > 0 && node_count != present)
        return err_set(err, ERR_INVALID, "%s holds a cluster of %u nodes, not %u", dir->path,
                       present, node_count);
    dir->node_count = present > 0 ? present : node_count > 0 ? node_count : NODES_DEFAULT;
    return present > 0 ? resume(dir, err) : form(dir, err);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

void dev_dir_fini(struct dev_dir *dir) {
    char path[PATH_MAX];
    if (dir->lock_fd >= 0) {
        snprintf(path, sizeof path, "%s/dev.pid", dir->path);
        unlink(path);
    }
    if (dir->is_temporary && nftw(dir->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        perror(dir->path);
    fd_closep(&dir->lock_fd);
    dir->lock_fd = -1;
}
