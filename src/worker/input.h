/* A task's stdin, made from chunks and small pieces of data: a descriptor of the chunk itself where
 * that is right, else a scratch file with exactly the task's records, else (large inputs of several
 * chunks) a pipe that a thread feeds. */
#ifndef QUERN_WORKER_INPUT_H
#define QUERN_WORKER_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "core/place.h"
#include "store/client.h"

#define INPUT_RECORD_MAX_DEFAULT ((uint64_t)1 << 20)

struct input_part {
    struct chunk_ref chunk; /* when data is empty */
    struct span data;
};

/* What to read: the first count parts are the task's. With by_line the parts after them are looked
 * into for the rest of the last record, and with inside_record what comes before the first newline
 * is left out: it belongs to the split before. */
struct input_plan {
    const struct input_part *parts;
    unsigned part_count;
    unsigned count;
    bool by_line;
    bool inside_record;
    uint64_t offset;           /* of the first part in the object */
    uint64_t record_bytes_max; /* 0 = INPUT_RECORD_MAX_DEFAULT */
    const char *name;          /* of the object, for errors; may be NULL */
    struct place_map *map;     /* to tell local bytes from remote ones */
    uint32_t self;
};

struct input;

/* scratch_fd is the slot's own file, overwritten. The plan and what it points to are lent until
 * close. An error is ERR_LIMIT (a record is too long: the task fails) or that of the store (the
 * task may be tried again). */
int input_open(struct store_client *store, const struct input_plan *plan, int scratch_fd,
               uint64_t deadline_ns, struct input **ret_input, struct err *err);

/* To be given to the task; it stays ours. */
int input_fd(const struct input *input);

struct input_counts {
    uint64_t local_bytes;
    uint64_t remote_bytes;
};

/* After the task's end. Not 0 when the feed of a pipe failed: then the task has seen too little,
 * whatever its status. That the task did not read all is no failure. Frees it in any case; NULL is
 * fine. */
int input_close(struct input *input, struct input_counts *ret_counts, struct err *err);

#endif
