/* 128-bit identifiers: clusters, incarnations, chunks, versions, uploads. Made random by
 * os/random.h. */
#ifndef QUERN_BASE_ID_H
#define QUERN_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"

struct id128 {
    uint8_t bytes[16];
};

#define ID128_HEX_SIZE 33 /* with the NUL */

static inline bool id128_equal(struct id128 a, struct id128 b) {
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

static inline bool id128_is_zero(struct id128 id) {
    return id128_equal(id, (struct id128){{0}});
}

/* Prints 32 lower-case digits into text[ID128_HEX_SIZE]; returns text. */
char *id128_print(struct id128 id, char *text);

/* Exactly 32 hex digits. Returns false and leaves *ret_id alone on anything else. */
bool id128_parse(struct span text, struct id128 *ret_id);

#endif
