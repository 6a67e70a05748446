/* The head of an HTTP reply, as far as a load generator needs it. */
#ifndef QUERN_CLI_LOAD_REPLY_H
#define QUERN_CLI_LOAD_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct load_reply {
    int status;
    uint64_t body_bytes;
    bool keep_alive;
};

/* The size of the head with its empty line; 0 while it is not whole; -1 when it is malformed or has
 * no Content-Length where it needs one. */
int load_reply_parse(struct span bytes, struct load_reply *ret_reply);

#endif
