/* UTF-8 as Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef QUERN_WIRE_UTF8_H
#define QUERN_WIRE_UTF8_H

#include <stdbool.h>

#include "base/span.h"

bool utf8_is_valid(struct span text);

#endif
