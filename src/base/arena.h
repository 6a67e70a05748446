/* A request's memory: cut from blocks, given back at once. Overflow of the limit is sticky and
 * checked once.
 *
 * Not thread-safe: one request, one thread. Under AddressSanitizer every cut is a malloc of its
 * own, so that overruns are seen. */
#ifndef QUERN_BASE_ARENA_H
#define QUERN_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used_bytes;  /* of all blocks, as asked for */
    size_t limit_bytes; /* cuts beyond it fail */
    bool overflowed;
};

void arena_init(struct arena *arena, size_t limit_bytes);
void arena_fini(struct arena *arena);  /* frees everything cut from it */
void arena_reset(struct arena *arena); /* the same, and it can be used again */
static inline void arena_finip(struct arena *arena) {
    arena_fini(arena);
}

/* 16-byte aligned, zeroed. NULL when the limit or memory is exhausted; then arena->overflowed is
 * set. */
void *arena_alloc(struct arena *arena, size_t size);
#define arena_new(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))

/* Copies with a terminating NUL; NULL as above. */
char *arena_strndup(struct arena *arena, const char *data, size_t size);
char *arena_strdup(struct arena *arena, const char *string);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
