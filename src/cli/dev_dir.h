/* The folder of a development cluster: DIR/node<i>/ for each node, formed before the first start.
 *
 *     dev.lock    held while `quern dev` runs;  dev.pid  its process id
 *     node<i>/    the data directory of node i, and its quern.pid and log */
#ifndef QUERN_CLI_DEV_DIR_H
#define QUERN_CLI_DEV_DIR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "node/dir.h"

#define DEV_NODES_MAX 64u
#define DEV_PEER_OFFSET 100u /* of the peers' ports from the S3 ports */

struct dev_dir {
    char path[PATH_MAX - 128];
    bool is_temporary;
    int lock_fd;
    unsigned node_count;
    uint16_t first_port;
    struct credentials credentials;
};

#define DEV_DIR_INIT ((struct dev_dir){.lock_fd = -1})

/* path NULL: a new temporary folder. node_count 0: as many as the folder has, else 3. fini in any
 * case: it removes a temporary folder. */
int dev_dir_open(struct dev_dir *dir, const char *path, unsigned node_count, uint16_t first_port,
                 struct err *err);
void dev_dir_fini(struct dev_dir *dir);

/* DIR/node<i>/name into ret_path[PATH_MAX]; returns it. */
const char *dev_dir_node_path(const char *dir, unsigned node, const char *name, char *ret_path);
/* Whether a process holds the node's data directory. */
bool dev_dir_node_is_running(const char *dir, unsigned node);
/* The process id in a file, or 0. */
int dev_dir_read_pid(const char *path);
int dev_dir_write_pid(const char *path, int pid, struct err *err);

#endif
