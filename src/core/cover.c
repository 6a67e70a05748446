/* The marks. */
#include "core/cover.h"

atomic_uchar cover_hits[COVER_COUNT];

const char *cover_name(enum cover_mark mark) {
    static const char *const names[] = {
#define X(name, text) #name,
        COVER_MARKS(X)
#undef X
    };
    return names[mark];
}

const char *cover_text(enum cover_mark mark) {
    static const char *const texts[] = {
#define X(name, text) text,
        COVER_MARKS(X)
#undef X
    };
    return texts[mark];
}
