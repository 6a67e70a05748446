/* Conditional requests. */
#include "gateway/conditions.h"

#include <stdbool.h>

#include "base/err.h"
#include "wire/time.h"

static struct span trim(struct span text) {
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = (struct span){text.data + 1, text.size - 1};
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

struct span conditions_etag(struct span text) {
    text = trim(text);
    if (span_starts_with(text, SPAN_LITERAL("W/")))
        text = (struct span){text.data + 2, text.size - 2};
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
        text = (struct span){text.data + 1, text.size - 2};
    return text;
}

static bool list_has(struct span list, const char *etag) {
    while (list.size > 0) {
        const char *comma = memchr(list.data, ',', list.size);
        size_t size = comma != NULL ? (size_t)(comma - list.data) : list.size;
        struct span one = conditions_etag((struct span){list.data, size});
        if (span_is(one, "*") || span_is(one, etag))
            return true;
        size_t skip = size + (comma != NULL);
        list = (struct span){list.data + skip, list.size - skip};
    }
    return false;
}

int conditions_check(const struct conditions *conditions, const char *etag, uint64_t modified_ms) {
    int64_t modified_s = (int64_t)(modified_ms / 1000), since_s;
    if (conditions->if_match.size > 0) {
        if (!list_has(conditions->if_match, etag))
            return ERR_PRECONDITION_FAILED;
    } else if (time_parse_http(conditions->if_unmodified_since, &since_s) && modified_s > since_s) {
        return ERR_PRECONDITION_FAILED;
    }
    if (conditions->if_none_match.size > 0) {
        if (list_has(conditions->if_none_match, etag))
            return ERR_NOT_MODIFIED;
    } else if (time_parse_http(conditions->if_modified_since, &since_s) && modified_s <= since_s) {
        return ERR_NOT_MODIFIED;
    }
    return 0;
}
