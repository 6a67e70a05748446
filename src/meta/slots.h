/* Where the log holds the slots of a group: the lsn of each slot's last record. One thread. */
#ifndef QUERN_META_SLOTS_H
#define QUERN_META_SLOTS_H

#include <stdint.h>

#define SLOTS_MAX ((uint64_t)4 << 20) /* of a group; the oldest are forgotten */

struct slots {
    uint64_t *lsns; /* a ring of room entries, a power of 2; 0 = unknown */
    uint64_t room;
    uint64_t first; /* slots [first, end) are in the ring */
    uint64_t end;
};

void slots_fini(struct slots *slots);
/* Panics when out of memory. */
void slots_put(struct slots *slots, uint64_t slot, uint64_t lsn);
uint64_t slots_get(const struct slots *slots, uint64_t slot); /* 0 = unknown */
void slots_drop(struct slots *slots, uint64_t upto);          /* and all before it */

#endif
