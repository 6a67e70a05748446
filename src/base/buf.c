/* A growable byte buffer with a limit. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT ((size_t)64 << 20)

void buf_fini(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf){.limit = buf->limit};
}

char *buf_reserve(struct buf *buf, size_t size) {
    size_t limit = buf->limit > 0 ? buf->limit : LIMIT_DEFAULT;
    if (buf->failed || size > limit || buf->size > limit - size) {
        buf->failed = true;
        return NULL;
    }
    size_t needed = buf->size + size + 1;
    if (needed > buf->room) {
        size_t room = buf->room > 0 ? buf->room : 256;
        while (room < needed)
            room *= 2;
        char *data = realloc(buf->data, room);
        if (data == NULL) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->room = room;
    }
    buf->data[buf->size + size] = '\0';
    return buf->data + buf->size;
}

void buf_append(struct buf *buf, const void *data, size_t size) {
    char *to = buf_reserve(buf, size);
    if (to == NULL)
        return;
    if (size > 0)
        memcpy(to, data, size);
    buf->size += size;
}

void buf_puts(struct buf *buf, const char *string) {
    buf_append(buf, string, strlen(string));
}

void buf_putc(struct buf *buf, char c) {
    buf_append(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = size >= 0 ? buf_reserve(buf, (size_t)size) : NULL;
    if (to != NULL) {
        vsnprintf(to, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}
