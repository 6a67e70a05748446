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
    return a.size >= prefix.size &&
           (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

/* Cuts *rest at the first c: *ret_before is what lies before it, *rest what lies behind. Without a
 * c it is false, *ret_before is everything and *rest empty. */
static inline bool span_cut(struct span *rest, char c, struct span *ret_before) {
    const char *at = rest->size > 0 ? (const char *)memchr(rest->data, c, rest->size) : NULL;
    *ret_before = (struct span){rest->data, at != NULL ? (size_t)(at - rest->data) : rest->size};
    size_t used = ret_before->size + (at != NULL);
    *rest = (struct span){rest->data + used, rest->size - used};
    return at != NULL;
}

static inline bool span_is_blank_(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without the white space at both ends. */
static inline struct span span_trim(struct span text) {
    while (text.size > 0 && span_is_blank_(text.data[0]))
        text = (struct span){text.data + 1, text.size - 1};
    while (text.size > 0 && span_is_blank_(text.data[text.size - 1]))
        text.size--;
    return text;
}

/* Whether it is one of the words, which are separated by single spaces. */
static inline bool span_in_words(struct span a, const char *words) {
    while (*words != '\0') {
        size_t size = strcspn(words, " ");
        if (span_equal(a, (struct span){words, size}))
            return true;
        words += size + (words[size] == ' ');
    }
    return false;
}

/* Bytewise order, a shorter prefix first: the order of S3 keys. */
static inline int span_compare(struct span a, struct span b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

#endif
