/* The Range header. */
#include "gateway/range.h"

#include "base/err.h"

/* Takes digits off the front; false when there are none or too many. */
static bool take_number(struct span *text, uint64_t *ret_number) {
    uint64_t number = 0;
    size_t i = 0;
    for (; i < text->size && text->data[i] >= '0' && text->data[i] <= '9'; i++) {
        if (i == 19)
            return false;
        number = number * 10 + (uint64_t)(text->data[i] - '0');
    }
    if (i == 0)
        return false;
    *text = (struct span){text->data + i, text->size - i};
    *ret_number = number;
    return true;
}

static bool take_char(struct span *text, char c) {
    if (text->size == 0 || text->data[0] != c)
        return false;
    *text = (struct span){text->data + 1, text->size - 1};
    return true;
}

int range_parse(struct span header, uint64_t size, struct range *ret_range) {
    const struct range whole = {.offset = 0, .length = size};
    struct span text = header;
    uint64_t first = 0, last = UINT64_MAX;
    if (!span_starts_with(text, SPAN_LITERAL("bytes="))) {
        *ret_range = whole;
        return 0;
    }
    text = (struct span){text.data + 6, text.size - 6};
    bool has_first = take_number(&text, &first);
    bool has_dash = take_char(&text, '-');
    bool has_last = take_number(&text, &last);
    if (!has_dash || text.size > 0 || (!has_first && !has_last) ||
        (has_first && has_last && last < first)) {
        *ret_range = whole;
        return 0;
    }
    if (!has_first) { /* the last so many bytes */
        first = last < size ? size - last : 0;
        if (last == 0)
            return ERR_INVALID_RANGE;
        last = UINT64_MAX;
    }
    if (first >= size)
        return ERR_INVALID_RANGE;
    if (last >= size)
        last = size - 1;
    *ret_range = (struct range){.offset = first, .length = last - first + 1, .is_partial = true};
    return 0;
}

int range_parse_copy(struct span header, uint64_t size, struct range *ret_range) {
    struct span text = header;
    uint64_t first, last;
    if (!span_starts_with(text, SPAN_LITERAL("bytes=")))
        return ERR_INVALID;
    text = (struct span){text.data + 6, text.size - 6};
    if (!take_number(&text, &first) || !take_char(&text, '-') || !take_number(&text, &last) ||
        text.size > 0)
        return ERR_INVALID;
    if (last < first || last >= size)
        return ERR_INVALID;
    *ret_range = (struct range){.offset = first, .length = last - first + 1, .is_partial = true};
    return 0;
}
