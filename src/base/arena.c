/* A request's memory: cut from blocks, given back at once. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) /* clang's way to say __SANITIZE_ADDRESS__ */
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_BYTES 0u /* every cut its own malloc */
#else
#define BLOCK_BYTES 8192u
#endif

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    _Alignas(16) char data[];
};

void arena_init(struct arena *arena, size_t limit_bytes) {
    *arena = (struct arena){.limit_bytes = limit_bytes};
}

void arena_fini(struct arena *arena) {
    for (struct arena_block *block = arena->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    arena->blocks = NULL;
}

void arena_reset(struct arena *arena) {
    arena_fini(arena);
    arena_init(arena, arena->limit_bytes);
}

static struct arena_block *block_add(struct arena *arena, size_t size) {
    size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    struct arena_block *block = malloc(sizeof *block + room);
    if (block == NULL)
        return NULL;
    block->size = room;
    block->used = 0;
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size) {
    ASSERT(arena->limit_bytes > 0);
    if (size > arena->limit_bytes || arena->used_bytes > arena->limit_bytes - size) {
        arena->overflowed = true;
        return NULL;
    }
    size_t rounded = (size + 15) & ~(size_t)15;
    struct arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < rounded)
        block = block_add(arena, rounded);
    if (block == NULL) {
        arena->overflowed = true;
        return NULL;
    }
    void *cut = block->data + block->used;
    block->used += rounded;
    arena->used_bytes += size;
    return memset(cut, 0, size);
}

char *arena_strndup(struct arena *arena, const char *data, size_t size) {
    char *copy = arena_alloc(arena, size + 1);
    if (copy != NULL && size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *string) {
    return arena_strndup(arena, string, strlen(string));
}

char *arena_printf(struct arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = size >= 0 ? arena_alloc(arena, (size_t)size + 1) : NULL;
    if (text != NULL)
        vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return text;
}
