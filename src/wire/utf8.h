/* UTF-8 as Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef QUERN_WIRE_UTF8_H
#define QUERN_WIRE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

bool utf8_is_valid(struct span text);

/* The size of the character that text begins with: 1 to 4; 0 when it is empty or malformed there.
 */
size_t utf8_next(struct span text);

#endif
