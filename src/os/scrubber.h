/* A thread that reads again and again what lies on a disk, all of it once in a period, so that what
 * has rotted is found while another node still has it. A little at a time: nobody should notice. */
#ifndef QUERN_OS_SCRUBBER_H
#define QUERN_OS_SCRUBBER_H

#include <stdint.h>

struct scrubber;

struct scrub_work {
    uint64_t period_ms; /* QUERN_SCRUB_MS instead, for tests */
    /* Called before anything is read, about once a second: how many bytes are to be read in a
     * period. */
    uint64_t (*total)(void *context);
    /* Reads about so many, or more where a piece is larger; returns how many. 0: none now. */
    uint64_t (*read)(void *context, uint64_t bytes);
    void *context;
};

/* Panics without memory or a thread. */
struct scrubber *scrubber_start(const struct scrub_work *work);
struct scrubber *scrubber_stop(struct scrubber *scrubber); /* waits for a read; NULL is fine */

#endif
