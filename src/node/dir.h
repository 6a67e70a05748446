/* A node's data directory: made, locked, and known for whose it is before anything in it is
 * touched.
 *
 *     lock            held while the node runs
 *     identity.json   who it is (node/identity.h)
 *     boot            how often it was started
 *     credentials     the root user's keys, mode 0600
 *     meta/ chunks/ scratch/   of the roles */
#ifndef QUERN_NODE_DIR_H
#define QUERN_NODE_DIR_H

#include <limits.h>
#include <stdint.h>

#include "base/err.h"
#include "node/identity.h"
#include "node/node.h"

#define LISTEN_DEFAULT "127.0.0.1:9000"
#define PEER_DEFAULT "127.0.0.1:9100"
#define KEY_SIZE 129 /* of an access or secret key, with the NUL */

struct credentials {
    char access_key[KEY_SIZE];
    char secret_key[KEY_SIZE];
};

struct node_dir {
    char path[PATH_MAX - 64];
    int lock_fd;
    struct identity identity;
    uint32_t boot; /* grows with every start; durable */
    struct credentials credentials;
};

#define NODE_DIR_INIT ((struct node_dir){.lock_fd = -1})

/* Makes what is absent (a cluster of one node) and takes the lock. One line for: in use, of a newer
 * format, damaged, not writable. fini in any case. */
int node_dir_open(const struct node_options *options, struct node_dir *dir, struct err *err);
void node_dir_fini(struct node_dir *dir);

/* "PATH/name" into path[PATH_MAX]; returns path. */
const char *node_dir_path(const struct node_dir *dir, const char *name, char *path);

/* DIR/credentials. Written from QUERN_ACCESS_KEY and QUERN_SECRET_KEY, else made at random. */
int credentials_make(struct credentials *ret_credentials, struct err *err);
int credentials_read(const char *path, struct credentials *ret_credentials, struct err *err);
int credentials_write(const char *path, const struct credentials *credentials, struct err *err);

#endif
