/* How far a transfer is, on stderr and only when that is a terminal. Adding is for any thread. */
#ifndef QUERN_CLI_PROGRESS_H
#define QUERN_CLI_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label;
    uint64_t total_bytes; /* 0: unknown */
    uint64_t start_ns;
    atomic_uint_fast64_t done_bytes;
    atomic_uint_fast64_t shown_ns;
    bool is_terminal;
};

void progress_init(struct progress *progress, const char *label, uint64_t total_bytes);
void progress_add(struct progress *progress, int64_t bytes); /* negative: a piece begins anew */
void progress_fini(struct progress *progress);               /* removes the line */

/* "1.5 MiB" into text[PROGRESS_SIZE]; returns text. */
#define PROGRESS_SIZE 16
const char *progress_print_bytes(uint64_t bytes, char *text);

#endif
