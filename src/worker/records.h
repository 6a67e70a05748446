/* A filter that lets pass exactly the lines whose first byte lies in a split. Pure: no I/O, no
 * clock. */
#ifndef QUERN_WORKER_RECORDS_H
#define QUERN_WORKER_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/client.h"

struct records {
    store_sink *sink;
    void *context;
    uint64_t record_bytes_max;
    uint64_t offset;        /* in the object, of the next byte to come */
    uint64_t record_offset; /* where the record that is open began */
    bool skipping;          /* in a record that belongs to the split before */
    bool open;              /* in a record of ours */
    bool past_end;          /* the split has ended: only the open record goes on */
    bool too_long;
};

/* inside: the split begins within a record of the one before. offset: of the split in its object.
 */
void records_init(struct records *records, bool inside, uint64_t offset, uint64_t record_bytes_max,
                  store_sink *sink, void *context);

/* A store_sink whose context is the filter. Not 0 when the sink below said so, or a record is too
 * long. */
int records_sink(void *context, const void *data, size_t size);

/* What comes now is the splits after ours. */
void records_end_of_split(struct records *records);
/* Nothing more is needed. Only after records_end_of_split(). */
bool records_complete(const struct records *records);

#endif
