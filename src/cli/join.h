/* A node's way into a cluster that runs. */
#ifndef QUERN_CLI_JOIN_H
#define QUERN_CLI_JOIN_H

#include "base/err.h"
#include "node/node.h"

/* Asks the node that answers S3 at endpoint ("HOST:PORT") to take this one in, unless options->dir
 * belongs to a cluster already; writes what it says, and the keys, to options->dir. Keys come from
 * QUERN_ACCESS_KEY and QUERN_SECRET_KEY, else from DIR/credentials. It may be asked again when it
 * was cut short: the node is the same one. */
int join_cluster(const struct node_options *options, const char *endpoint, struct err *err);

#endif
