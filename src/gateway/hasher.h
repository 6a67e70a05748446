/* MD5 beside the thread that receives: it fills one block while the helper hashes those before.
 * A few blocks, so that neither waits for the other in step. One owner thread. */
#ifndef QUERN_GATEWAY_HASHER_H
#define QUERN_GATEWAY_HASHER_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

#define HASHER_BLOCK_BYTES ((size_t)256 << 10)

struct hasher;

int hasher_start(struct hasher **ret_hasher, struct err *err);

/* The next block to fill, once it is free. It may be read until the one after the next is asked
 * for. */
void *hasher_block(struct hasher *hasher);
/* The block last given is filled with size bytes: hash it. */
void hasher_push(struct hasher *hasher, size_t size);
/* Once all that was pushed is hashed. */
void hasher_finish(struct hasher *hasher, uint8_t ret_md5[MD5_SIZE]);

struct hasher *hasher_stop(struct hasher *hasher);

#endif
