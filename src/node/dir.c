/* Opening a node's data directory. */
#include "node/dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "meta/replicas.h"
#include "os/file.h"
#include "os/kept.h"
#include "os/space.h"

#define BOOT_BYTES_MAX 32u

const char *node_dir_path(const struct node_dir *dir, const char *name, char *path) {
    snprintf(path, PATH_MAX, "%s/%s", dir->path, name);
    return path;
}

static bool set_text(char *to, size_t size, const char *value, const char *otherwise) {
    if (value == NULL && to[0] != '\0')
        return false; /* what the directory says */
    char before[256];
    snprintf(before, sizeof before, "%s", to);
    snprintf(to, size, "%s", value != NULL ? value : otherwise);
    return strcmp(before, to) != 0;
}

/* What was said on the command line, else what the node had, else the default. True when something
 * changed. */
static bool apply_options(const struct node_options *options, struct place_node *node) {
    bool changed = set_text(node->http_address, sizeof node->http_address, options->listen_address,
                            LISTEN_DEFAULT);
    changed |= set_text(node->peer_address, sizeof node->peer_address, options->peer_address,
                        PEER_DEFAULT);
    changed |= set_text(node->name, sizeof node->name, options->name, "node1");
    changed |= set_text(node->zone, sizeof node->zone, options->zone, "");
    return changed;
}

static int read_or_make_identity(const struct node_options *options, struct node_dir *dir,
                                 struct err *err) {
    char path[PATH_MAX];
    node_dir_path(dir, "identity.json", path);
    int status = identity_read(path, &dir->identity, err);
    if (status == 0 && !apply_options(options, identity_self(&dir->identity)))
        return 0;
    if (status == ERR_NOT_FOUND) {
        struct place_node node = {0};
        char meta[PATH_MAX];
        apply_options(options, &node);
        dir->identity.node_id = 1;
        status = identity_form_cluster(&node, 1, 0, &dir->identity.map, err);
        if (status == 0)
            status = replicas_found(node_dir_path(dir, "meta", meta), dir->identity.map, 1, err);
    }
    return status != 0 ? status : identity_write(path, &dir->identity, err);
}

/* The number stands there twice, so that a digit that was damaged is seen. */
static int parse_boot(void *ret_boot, const char *path, struct span bytes, struct err *err) {
    char text[BOOT_BYTES_MAX + 1], again[BOOT_BYTES_MAX + 1];
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    unsigned long boot = strtoul(text, NULL, 10);
    snprintf(again, sizeof again, "%lu %lu\n", boot, boot);
    if (boot == 0 || boot >= UINT32_MAX || strcmp(text, again) != 0)
        return err_set(err, ERR_CORRUPT, "%s is damaged", path);
    *(unsigned long *)ret_boot = boot;
    return 0;
}

/* Births of replicas and ballots are told apart by it: it must never begin anew. */
static int count_boot(struct node_dir *dir, struct err *err) {
    char path[PATH_MAX], table[PATH_MAX], text[BOOT_BYTES_MAX];
    unsigned long boot = 0;
    int status =
        kept_read(node_dir_path(dir, "boot", path), BOOT_BYTES_MAX, parse_boot, &boot, err);
    if (status != 0 && status != ERR_NOT_FOUND)
        return status;
    if (boot == 0 && access(node_dir_path(dir, "meta/replicas", table), F_OK) != 0)
        return err_set(err, ERR_CORRUPT,
                       "%s has lost what says how often it was started: remove it, and let the "
                       "node join the cluster anew",
                       dir->path);
    dir->boot = (uint32_t)boot + 1;
    snprintf(text, sizeof text, "%u %u\n", dir->boot, dir->boot);
    return kept_write(path, 0600, span_of(text), err);
}

static int read_or_make_credentials(struct node_dir *dir, struct err *err) {
    char path[PATH_MAX];
    int status = credentials_read(node_dir_path(dir, "credentials", path), &dir->credentials, err);
    if (status != ERR_NOT_FOUND)
        return status;
    status = credentials_make(&dir->credentials, err);
    return status != 0 ? status : credentials_write(path, &dir->credentials, err);
}

int node_dir_open(const struct node_options *options, struct node_dir *dir, struct err *err) {
    char path[PATH_MAX];
    if ((size_t)snprintf(dir->path, sizeof dir->path, "%s", options->dir) >= sizeof dir->path)
        return err_set(err, ERR_INVALID, "the path of the data directory is too long");
    space_make_room(node_dir_path(dir, "meta/ballast", path)); /* that the start is counted */
    int status = file_make_directories(dir->path, err);
    if (status != 0)
        return status;
    status = file_lock(node_dir_path(dir, "lock", path), &dir->lock_fd, err);
    if (status == ERR_EXISTS)
        return err_set(err, status, "%s is in use by another quern", dir->path);
    if (status == 0)
        status = read_or_make_identity(options, dir, err);
    if (status == 0)
        status = count_boot(dir, err);
    return status != 0 ? status : read_or_make_credentials(dir, err);
}

void node_dir_fini(struct node_dir *dir) {
    identity_fini(&dir->identity);
    fd_closep(&dir->lock_fd);
    dir->lock_fd = -1;
}
