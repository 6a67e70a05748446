/* A view of bytes that somebody else owns. */
#ifndef QUERN_BASE_SPAN_H
#define QUERN_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *data;
    size_t size;
};

#define SPAN_LITERAL(s) ((struct span){(s), sizeof(s) - 1})
#define SPAN_ARGS(s) (int)(s).size, (s).data /* for "%.*s" */

static inline struct span span_of(const char *string) {
    return (struct span){string, string != NULL ? strlen(string) : 0};
}

static inline bool span_equal(struct span a, struct span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool span_is(struct span a, const char *string) {
    return span_equal(a, span_of(string));
}

static inline bool span_starts_with(struct span a, struct span prefix) {
    return a.size >= prefix.size && (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

/* Bytewise order, a shorter prefix first: the order of S3 keys. */
static inline int span_compare(struct span a, struct span b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

#endif
