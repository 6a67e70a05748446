/* A ring of log positions by slot. */
#include "meta/slots.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define ROOM_MIN 256u

void slots_fini(struct slots *slots) {
    free(slots->lsns);
    *slots = (struct slots){0};
}

static void grow(struct slots *slots, uint64_t needed) {
    uint64_t room = slots->room > 0 ? slots->room : ROOM_MIN;
    while (room < needed)
        room *= 2;
    if (room == slots->room)
        return;
    uint64_t *lsns = calloc(room, sizeof *lsns);
    if (lsns == NULL)
        panic("out of memory for the index of the log");
    for (uint64_t slot = slots->first; slot < slots->end; slot++)
        lsns[slot & (room - 1)] = slots->lsns[slot & (slots->room - 1)];
    free(slots->lsns);
    slots->lsns = lsns;
    slots->room = room;
}

void slots_drop(struct slots *slots, uint64_t upto) {
    while (slots->first <= upto && slots->first < slots->end)
        slots->lsns[slots->first++ & (slots->room - 1)] = 0;
    if (slots->first == slots->end)
        slots->first = slots->end = 0;
}

void slots_put(struct slots *slots, uint64_t slot, uint64_t lsn) {
    ASSERT(slot > 0 && lsn > 0);
    if (slots->end > 0 && slot >= slots->first + SLOTS_MAX)
        slots_drop(slots, slot - SLOTS_MAX);
    if (slots->end == 0)
        slots->first = slots->end = slot;
    if (slot < slots->first)
        return; /* dropped before: it is not asked for */
    if (slot >= slots->end) {
        grow(slots, slot + 1 - slots->first);
        slots->end = slot + 1;
    }
    slots->lsns[slot & (slots->room - 1)] = lsn;
}

uint64_t slots_get(const struct slots *slots, uint64_t slot) {
    return slot >= slots->first && slot < slots->end ? slots->lsns[slot & (slots->room - 1)] : 0;
}
