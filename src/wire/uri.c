/* Request targets, percent escapes, canonical queries. */
#include "wire/uri.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/codec.h"

static const char digits[] = "0123456789ABCDEF";

/* RFC 3986, 2.3. */
static bool is_unreserved(unsigned char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void uri_encode(struct buf *buf, struct span text, bool keep_slash) {
    char *out = buf_reserve(buf, 3 * text.size);
    if (out == NULL)
        return;
    char *at = out;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (is_unreserved(c) || (keep_slash && c == '/')) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '%';
        *at++ = digits[c >> 4];
        *at++ = digits[c & 15];
    }
    buf->size += (size_t)(at - out);
}

static bool needs_decoding(struct span text, bool plus_is_space) {
    return text.size > 0 && (memchr(text.data, '%', text.size) != NULL ||
                             (plus_is_space && memchr(text.data, '+', text.size) != NULL));
}

int uri_decode(struct span text, bool plus_is_space, struct arena *arena, struct span *ret_decoded,
               struct err *err) {
    if (!needs_decoding(text, plus_is_space)) {
        *ret_decoded = text;
        return 0;
    }
    char *out = arena_alloc(arena, text.size + 1), *at = out;
    if (out == NULL)
        return err_set(err, ERR_LIMIT, "the request is too large");
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = text.size - i > 2 ? hex_digit(text.data[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;
            if (low < 0 || high + low == 0)
                return err_set(err, ERR_INVALID_URI, "the URI has a bad %% escape");
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        *at++ = c;
    }
    *ret_decoded = (struct span){out, (size_t)(at - out)};
    return 0;
}

static size_t count_params(struct span query) {
    size_t count = 0;
    for (struct span param; query.size > 0; count += param.size > 0)
        span_cut(&query, '&', &param);
    return count;
}

static int parse_query(struct span query, struct arena *arena, struct uri *uri, struct err *err) {
    size_t count = count_params(query);
    if (count > URI_PARAMS_MAX)
        return err_set(err, ERR_INVALID_URI, "more than %u query parameters", URI_PARAMS_MAX);
    if (count > 0 && (uri->params = arena_array(arena, struct uri_param, count)) == NULL)
        return err_set(err, ERR_LIMIT, "the request is too large");
    while (query.size > 0) {
        struct span name, value;
        span_cut(&query, '&', &value);
        if (value.size == 0)
            continue;
        span_cut(&value, '=', &name);
        struct uri_param *param = &uri->params[uri->param_count++];
        int code = uri_decode(name, true /* plus is space */, arena, &param->name, err);
        if (code == 0)
            code = uri_decode(value, true /* plus is space */, arena, &param->value, err);
        if (code != 0)
            return code;
    }
    return 0;
}

/* Drops "http://authority" of an absolute form (RFC 9112, 3.2.2). */
static struct span drop_authority(struct span target) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct span scheme = span_of(schemes[i]);
        if (!span_starts_with(target, scheme))
            continue;
        struct span rest = {target.data + scheme.size, target.size - scheme.size};
        while (rest.size > 0 && rest.data[0] != '/' && rest.data[0] != '?')
            rest = (struct span){rest.data + 1, rest.size - 1};
        return rest.size > 0 ? rest : SPAN_LITERAL("/");
    }
    return target;
}

/* "/bucket/key": the key is all behind the second slash, further slashes included. */
static void split_path(struct uri *uri) {
    struct span rest = uri->path;
    if (rest.data[0] == '/')
        rest = (struct span){rest.data + 1, rest.size - 1};
    span_cut(&rest, '/', &uri->bucket);
    uri->key = rest;
}

int uri_parse(struct span target, struct arena *arena, struct uri *ret_uri, struct err *err) {
    for (size_t i = 0; i < target.size; i++)
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f)
            return err_set(err, ERR_INVALID_URI, "the URI has a byte that must be escaped");
    struct span query = drop_authority(target);
    struct span path;
    span_cut(&query, '?', &path);
    bool is_asterisk = span_is(target, "*");
    if (!is_asterisk && !span_starts_with(path, SPAN_LITERAL("/")))
        return err_set(err, ERR_INVALID_URI, "the URI does not begin with a slash");
    struct uri uri = {0};
    int code = uri_decode(path, false /* plus is plus */, arena, &uri.path, err);
    if (code == 0)
        code = parse_query(query, arena, &uri, err);
    if (code != 0)
        return code;
    split_path(&uri);
    *ret_uri = uri;
    return 0;
}

bool uri_find(const struct uri *uri, const char *name, struct span *ret_value) {
    for (size_t i = 0; i < uri->param_count; i++) {
        if (span_is(uri->params[i].name, name)) {
            *ret_value = uri->params[i].value;
            return true;
        }
    }
    return false;
}

bool uri_has(const struct uri *uri, const char *name) {
    struct span value;
    return uri_find(uri, name, &value);
}

struct span uri_param(const struct uri *uri, const char *name) {
    struct span value = {"", 0};
    uri_find(uri, name, &value);
    return value;
}

/* The order of the encoded forms, without making them: of two bytes that differ, the one that is
 * escaped sorts as '%', two escaped ones by their digits, which is by value. */
static int compare_encoded(struct span a, struct span b) {
    for (size_t i = 0; i < a.size && i < b.size; i++) {
        unsigned char x = (unsigned char)a.data[i], y = (unsigned char)b.data[i];
        if (x == y)
            continue;
        if (is_unreserved(x) == is_unreserved(y))
            return x < y ? -1 : 1;
        return is_unreserved(x) ? 1 : -1; /* '%' is below all unreserved characters */
    }
    return (a.size > b.size) - (a.size < b.size);
}

static int compare_params(const void *a, const void *b) {
    const struct uri_param *x = a, *y = b;
    int order = compare_encoded(x->name, y->name);
    return order != 0 ? order : compare_encoded(x->value, y->value);
}

int uri_print_canonical_query(const struct uri *uri, const char *except, struct buf *buf,
                              struct err *err) {
    struct uri_param sorted[URI_PARAMS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < uri->param_count && count < URI_PARAMS_MAX; i++)
        if (except == NULL || !span_is(uri->params[i].name, except))
            sorted[count++] = uri->params[i];
    qsort(sorted, count, sizeof *sorted, compare_params);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_putc(buf, '&');
        uri_encode(buf, sorted[i].name, false /* no slash */);
        buf_putc(buf, '=');
        uri_encode(buf, sorted[i].value, false /* no slash */);
    }
    return buf->failed ? err_set(err, ERR_LIMIT, "the query is too long") : 0;
}
