/* Well-formed UTF-8 and nothing else. */
#include "wire/utf8.h"

#include <stdint.h>

/* The size of the sequence at the beginning, 0 when it is not well-formed (Unicode 15, table 3-7:
 * the second byte's range depends on the first). */
static size_t sequence_size(const uint8_t *bytes, size_t room) {
    uint8_t first = bytes[0], low = 0x80, high = 0xbf;
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size == 0 || first > 0xf4 || size > room)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < size; i++, low = 0x80, high = 0xbf)
        if (bytes[i] < low || bytes[i] > high)
            return 0;
    return size;
}

size_t utf8_next(struct span text) {
    return text.size == 0 ? 0 : sequence_size((const uint8_t *)text.data, text.size);
}

bool utf8_is_valid(struct span text) {
    while (text.size > 0) {
        size_t size = utf8_next(text);
        if (size == 0)
            return false;
        text.data += size;
        text.size -= size;
    }
    return true;
}
