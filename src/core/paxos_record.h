/* What a replica writes to the log, as structs and as bytes.
 *
 * The head tells everything but the value: it is the record's identity, which the log keeps in
 * several places (wal/wal.h), so that a damaged record is known by it. */
#ifndef QUERN_CORE_PAXOS_RECORD_H
#define QUERN_CORE_PAXOS_RECORD_H

#include "base/buf.h"
#include "base/err.h"
#include "core/paxos_value.h"

enum paxos_record_type {
    PAXOS_RECORD_PROMISE = 1, /* ballot; without a value */
    PAXOS_RECORD_ACCEPT,      /* slot, ballot (promised before), value */
    PAXOS_RECORD_LEARN,       /* slot, value: known to be chosen */
    PAXOS_RECORD_END
};

struct paxos_record {
    enum paxos_record_type type;
    uint32_t group;
    uint32_t born;        /* of the replica */
    uint64_t write_seq;   /* 1, 2, ... per group and process; not stored */
    uint64_t slot;        /* 0 in a PROMISE */
    struct ballot ballot; /* zero in a LEARN */
    uint64_t chosen_upto; /* known when it was written: what the log then holds for these slots is
                             chosen */
    uint8_t digest[PAXOS_DIGEST]; /* the value's; zero in a PROMISE */
    struct paxos_value *value;    /* NULL in a PROMISE, and where the log has lost it */
};

#define PAXOS_RECORD_HEAD 64u /* bytes of an encoded record before its value */

/* Appends head and value; buf's failure is sticky. */
void paxos_record_encode(const struct paxos_record *record, struct buf *buf);
/* Only the head, for a writer that gathers: head, then value->data. */
void paxos_record_encode_head(const struct paxos_record *record,
                              uint8_t ret_head[PAXOS_RECORD_HEAD]);
/* The whole of bytes must be one record. The caller unrefs ret_record->value. Errors: ERR_CORRUPT.
 */
int paxos_record_decode(struct span bytes, struct paxos_record *ret_record, struct err *err);
/* Only the head; the value is NULL and its size goes to *ret_size. Errors: ERR_CORRUPT. */
int paxos_record_decode_head(struct span bytes, struct paxos_record *ret_record, uint32_t *ret_size,
                             struct err *err);

#endif
