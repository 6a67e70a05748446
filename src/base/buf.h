/* A growable byte buffer with a limit. Failure (limit or memory) is sticky: append freely, check
 * once. data is NUL-terminated whenever it is not NULL. */
#ifndef QUERN_BASE_BUF_H
#define QUERN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct buf {
    char *data;
    size_t size;
    size_t room;
    size_t limit; /* of size; 0 = 64 MiB */
    bool failed;
};

#define BUF_INIT ((struct buf){0})

void buf_fini(struct buf *buf); /* frees; the buffer is as BUF_INIT, its limit kept */
static inline void buf_finip(struct buf *buf) {
    buf_fini(buf);
}

/* Makes room for size more bytes and returns where they go (then add to buf->size); NULL on
 * failure. */
char *buf_reserve(struct buf *buf, size_t size);
void buf_append(struct buf *buf, const void *data, size_t size);
void buf_puts(struct buf *buf, const char *string);
void buf_putc(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void buf_clear(struct buf *buf) {
    buf->size = 0;
    buf->failed = false;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}
static inline struct span buf_span(const struct buf *buf) {
    return (struct span){buf->data, buf->size};
}

#endif
