/* Randomness from the kernel; for identifiers and secrets. Never fails (panics when the kernel has
 * none). */
#ifndef QUERN_OS_RANDOM_H
#define QUERN_OS_RANDOM_H

#include <stddef.h>

#include "base/id.h"

void random_bytes(void *ret_data, size_t size);
struct id128 random_id128(void);

#endif
