/* Marks at rare branches: the simulator counts which it has been through, and fails when one is
 * never reached. One relaxed store each, in release too: what is simulated is what is shipped. */
#ifndef QUERN_CORE_COVER_H
#define QUERN_CORE_COVER_H

#include <stdatomic.h>

#include "tbl/cover.h"

enum cover_mark {
#define X(name, text) COVER_##name,
    COVER_MARKS(X)
#undef X
        COVER_COUNT
};

extern atomic_uchar cover_hits[COVER_COUNT];

#define COVER(name) atomic_store_explicit(&cover_hits[COVER_##name], 1, memory_order_relaxed)
/* In a condition. */
#define COVERED(name, condition) ((condition) && (COVER(name), true))

const char *cover_name(enum cover_mark mark);
const char *cover_text(enum cover_mark mark);

#endif
