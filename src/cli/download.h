/* One object out of the store, verified. */
#ifndef QUERN_CLI_DOWNLOAD_H
#define QUERN_CLI_DOWNLOAD_H

#include "base/err.h"
#include "cli/client.h"

/* Writes the object to fd. When a connection or a node is lost in mid-stream it goes on from there,
 * as long as the object is still the same. ERR_CORRUPT when size, ETag or CRC32C do not match what
 * was written. */
int download_object(struct client *client, const struct place *place, int fd, struct err *err);

#endif
