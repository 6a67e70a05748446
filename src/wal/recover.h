/* Reading the log back at start. */
#ifndef QUERN_WAL_RECOVER_H
#define QUERN_WAL_RECOVER_H

#include <stdint.h>

#include "base/list.h"
#include "wal/scan.h"

/* Takes a RECORD, DAMAGED or LOST item; an error of its ends the recovery. lsn is 0 for what cannot
 * be read again (wal_read). */
typedef int wal_replay(void *context, uint64_t lsn, const struct wal_item *item, struct err *err);

struct wal_recovery {
    struct list
        segments;       /* of struct wal_segment, by generation; those without a batch at the end */
    uint64_t batch_seq; /* the last one */
    uint64_t lsn;       /* of the last record; they are counted from 1 anew */
    uint32_t file;      /* the highest number */
    uint32_t torn_blocks; /* discarded at the tail */
};

/* Opens all segments in dir, gives what they hold in order to replay, and discards a torn tail: its
 * blocks are zeroed, so that its batch_seq can be used again. What is damaged is told and left as
 * it is, but for a segment's head, which is written anew. Errors: ERR_VERSION, ERR_IO, and what
 * replay returns. On failure ret_recovery has nothing to free. */
int wal_recover(const char *dir, wal_replay *replay, void *context,
                struct wal_recovery *ret_recovery, struct err *err);

#endif
