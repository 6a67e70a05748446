/* The log of one node: all Paxos groups write their records into it, and one write to the disk
 * makes durable whatever was appended meanwhile (group commit). It lies in segments of 64 MiB
 * (wal/segment.h, wal/block.h, doc/format.md).
 *
 * Appending never blocks; one thread writes, one batch in flight. A record has an lsn: 1, 2, ...
 * counted anew at each start from the oldest record that can be read. A failed write or sync ends
 * the process (PAXOS.md 2.3 i). */
#ifndef QUERN_WAL_WAL_H
#define QUERN_WAL_WAL_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"
#include "wal/recover.h"

struct wal;

struct wal_options {
    const char *dir;        /* made when absent */
    uint64_t segment_bytes; /* 0 = 64 MiB; at least 8 MiB */
    wal_replay *replay;     /* inside wal_open */
    void (*durable)(void *context,
                    uint64_t lsn); /* all records up to lsn are; the writer's thread: be quick */
    void *context;
};

/* Recovers (see wal_recover for the errors), then starts the threads. ERR_NOSPACE when there is no
 * room for the first segment. *ret_torn_bytes (may be NULL): what a crash left unfinished and was
 * discarded. */
int wal_open(const struct wal_options *options, struct wal **ret_wal, uint64_t *ret_torn_bytes,
             struct err *err);
/* Writes what was appended, then stops. */
struct wal *wal_close(struct wal *wal);

/* Queues one record gathered from parts, at most WAL_RECORD_MAX bytes; returns its lsn. Its first
 * WAL_IDENTITY bytes are kept twice. Memory for what is queued is the caller's to bound. */
uint64_t wal_append(struct wal *wal, const struct iovec *parts, int count);

/* The record can be dropped, and all before it: the segments they fill are used again, soon; until
 * then the next start may find them. */
void wal_trim(struct wal *wal, uint64_t lsn);

/* What is appended from now on lies in another segment: a trim can then free all before it. */
void wal_begin_segment(struct wal *wal);

struct wal_status {
    uint64_t appended_lsn;
    uint64_t durable_lsn;
    uint64_t oldest_lsn;    /* that can be read */
    uint64_t trimmable_lsn; /* a trim below this frees nothing; 0 = none would */
    uint64_t live_bytes;    /* of segments in use */
    uint64_t batches;       /* written since the start */
    uint32_t sync_us;       /* a write takes, of late */
    uint64_t batch_seq;     /* of the last one; what is appended now is in later ones */
};
void wal_get_status(struct wal *wal, struct wal_status *ret_status);

/* Reading back; it keeps the batch last read. One thread a reader. */
struct wal_reader {
    uint64_t next_lsn; /* at the front of rest */
    uint64_t end_lsn;
    struct span rest;
    char *blocks;
    uint32_t block_room;
    char *payload;
};
void wal_reader_fini(struct wal_reader *reader); /* of a zeroed one too */
/* The span lives until the next call. ERR_NOT_FOUND: trimmed or not yet written. */
int wal_read(struct wal *wal, struct wal_reader *reader, uint64_t lsn, struct span *ret_record,
             struct err *err);

#endif
