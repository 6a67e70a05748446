/* Looking for newlines at the two ends of a split; what lies between passes in whole blocks. */
#include "worker/records.h"

#include <string.h>

#include "base/assert.h"

void records_init(struct records *records, bool inside, uint64_t offset, uint64_t record_bytes_max,
                  store_sink *sink, void *context) {
    *records = (struct records){.sink = sink,
                                .context = context,
                                .offset = offset,
                                .record_bytes_max = record_bytes_max,
                                .skipping = inside};
}

/* Notes where the last record of these bytes begins; false when one is longer than it may be. Only
 * records that are open at an end of a block are measured: a block is smaller than any limit. */
static bool measure(struct records *records, const char *data, size_t size) {
    ASSERT(data != NULL && size > 0);
    const char *last = memrchr(data, '\n', size);
    const char *first = last != NULL ? memchr(data, '\n', size) : data + size;
    if (!records->open)
        records->record_offset = records->offset;
    if (records->offset + (uint64_t)(first - data) - records->record_offset >
        records->record_bytes_max)
        records->too_long = true;
    else if (last != NULL)
        records->record_offset = records->offset + (uint64_t)(last + 1 - data);
    records->open = last != data + size - 1;
    return !records->too_long;
}

static int pass(struct records *records, const char *data, size_t size) {
    if (size == 0)
        return 0;
    if (!measure(records, data, size))
        return ERR_LIMIT;
    records->offset += size;
    return records->sink(records->context, data, size);
}

int records_sink(void *context, const void *data, size_t size) {
    struct records *records = context;
    const char *next = data;
    if (records->skipping) {
        const char *newline = memchr(next, '\n', size);
        size_t skipped = newline != NULL ? (size_t)(newline + 1 - next) : size;
        records->skipping = newline == NULL;
        records->offset += skipped;
        next += skipped;
        size -= skipped;
    }
    if (records->past_end) {
        if (!records->open)
            return 0;
        const char *newline = memchr(next, '\n', size);
        size = newline != NULL ? (size_t)(newline + 1 - next) : size;
    }
    return pass(records, next, size);
}

void records_end_of_split(struct records *records) {
    records->past_end = true;
    if (records->skipping) /* the whole split lies in one record of another */
        records->open = false;
    records->skipping = false;
}

bool records_complete(const struct records *records) {
    ASSERT(records->past_end);
    return !records->open;
}
