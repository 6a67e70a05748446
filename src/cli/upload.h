/* One object into the store, verified: a single PUT while it is small enough, else parts. */
#ifndef QUERN_CLI_UPLOAD_H
#define QUERN_CLI_UPLOAD_H

#include "base/err.h"
#include "cli/client.h"

/* Stores what fd has: a regular file from its beginning (its size is known: parts go in parallel),
 * or a stream to its end. A file that shrinks meanwhile is an error. ERR_CORRUPT when the server
 * got other bytes than were read. */
int upload_object(struct client *client, const struct place *place, int fd, struct err *err);

#endif
