/* Multi-Paxos for one group, without I/O: paxos_step(state, event, out) decides, its owner acts
 * (core/drive.h).
 *
 * No clock, thread, randomness or I/O of its own: time is in the events, the seed in the options.
 * Every queue has a limit. One ballot covers all open slots; the leader proposes slots in order,
 * acceptors accept a ballot's slots without gaps, so that one number (accepted_upto) is a whole
 * vote. doc/paxos.md tells the algorithm as built.
 *
 * The owner's duties, for each step, in this order (core/drive.c does them):
 *   1. append out->records to the log, in order; report them with PAXOS_EVENT_DURABLE once they are
 *      on the disk (a failed write ends the process). Appending need not wait for the disk.
 *   2. send each message once all records up to its gate are durable. Messages may be lost, doubled
 *      and reordered.
 *   3. apply out->chosen in order, each slot once and not before its own record (write_seq) is
 *      durable: the state store must not reach the disk ahead of the log. Report with
 *      PAXOS_EVENT_APPLIED.
 *   4. carry out the rest of out.
 *
 * What the log holds. Records of all groups may share one log; a group's keep their order, and a
 * crash loses only a suffix of what was not yet durable. The last record of a slot <= chosen_upto
 * holds the chosen value, which is what learn_serve reads. Records of slots the state store holds
 * durably may be dropped, once a younger paxos_checkpoint() record of the group is durable: it
 * keeps the promise. At start: paxos_new with the state store's applied slot, then an EVENT_RESTORE
 * for each record of the group in log order (they give out->chosen as they pass), then the first
 * EVENT_TICK.
 *
 * A reader on another thread. With several voters every linearizable read asks (EVENT_READ) and one
 * round serves all that came before it. A single voter that leads may be read at once, without
 * asking: publish {leads, applied} after each step (paxos_status; read_free tells that this short
 * cut holds), release the client of a slot only after it was applied and published, and readers
 * that see read_free see every acknowledged command in the state store. */
#ifndef QUERN_CORE_PAXOS_H
#define QUERN_CORE_PAXOS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/span.h"

#define PAXOS_VOTERS_MAX 7u
#define PAXOS_VALUE_MAX (1u << 20)   /* bytes of a slot's value */
#define PAXOS_MESSAGE_MAX (2u << 20) /* bytes of an encoded message */
#define PAXOS_WINDOW 64u             /* slots a leader has in flight */
#define PAXOS_WINDOW_BYTES                                                                         \
    (64u << 20)                /* and their bytes; also of records that are not durable yet */
#define PAXOS_OPEN_MAX 128u    /* slots an acceptor holds above its chosen_upto */
#define PAXOS_RING 256u        /* slots in memory: open ones and recently chosen ones */
#define PAXOS_ENTRIES_MAX 128u /* of one message */
#define PAXOS_READS_MAX 1024u  /* reads waiting */

/* ---- ballots, values ---- */

struct ballot {
    uint64_t round; /* 0 = none */
    uint32_t node;
    uint32_t boot;
};

static inline int ballot_compare(struct ballot a, struct ballot b) {
    if (a.round != b.round)
        return a.round < b.round ? -1 : 1;
    if (a.node != b.node)
        return a.node < b.node ? -1 : 1;
    return (a.boot > b.boot) - (a.boot < b.boot);
}

/* What a slot holds. Shared by reference and never changed once sealed; references may be dropped
 * by any thread. A value without bytes is a NOOP: it is chosen, and changes nothing. */
struct paxos_value {
    atomic_uint refs;
    uint32_t size;
    uint8_t digest[16]; /* XXH3-128 of data */
    char data[];
};

/* size <= PAXOS_VALUE_MAX; data is the caller's to fill, then seal. Panics when out of memory, as
 * all of this file. */
struct paxos_value *paxos_value_new(size_t size);
void paxos_value_seal(struct paxos_value *value);       /* computes the digest */
struct paxos_value *paxos_value_copy(struct span data); /* new, filled and sealed */
struct paxos_value *paxos_value_ref(struct paxos_value *value);
struct paxos_value *paxos_value_unref(struct paxos_value *value); /* NULL is fine; returns NULL */

/* ---- records of the log ---- */

enum paxos_record_type {
    PAXOS_RECORD_PROMISE = 1, /* ballot */
    PAXOS_RECORD_ACCEPT,      /* slot, ballot (which it also promises), value */
    PAXOS_RECORD_LEARN,       /* slot, value: known to be chosen */
    PAXOS_RECORD_END
};

struct paxos_record {
    enum paxos_record_type type;
    uint32_t group;
    uint64_t write_seq;   /* 1, 2, ... per group and process; not stored */
    uint64_t slot;        /* 0 in a PROMISE */
    struct ballot ballot; /* zero in a LEARN */
    uint64_t chosen_upto; /* known when it was written: what the log then holds for these slots is
                             chosen */
    struct paxos_value *value; /* NULL in a PROMISE */
};

#define PAXOS_RECORD_HEAD 64u /* bytes of an encoded record before its value */

void paxos_record_encode(const struct paxos_record *record,
                         struct buf *buf); /* appends; buf's failure is sticky */
/* Only the head, for a writer that gathers: head, then value->data. */
void paxos_record_encode_head(const struct paxos_record *record,
                              uint8_t ret_head[PAXOS_RECORD_HEAD]);
/* The whole of bytes must be one record. The caller unrefs ret_record->value. Errors: ERR_CORRUPT.
 */
int paxos_record_decode(struct span bytes, struct paxos_record *ret_record, struct err *err);
/* Only the head, the value left alone (its size to *ret_size): for building an index of a log.
 * Errors: ERR_CORRUPT. */
int paxos_record_decode_head(struct span bytes, struct paxos_record *ret_record, uint32_t *ret_size,
                             struct err *err);

/* ---- messages ---- */

enum paxos_message_type {
    PAXOS_PROBE = 1,     /* ballot: would you promise it? Changes nothing */
    PAXOS_PROBE_REPLY,   /* ballot as asked, promised, chosen_upto, flag GRANTED */
    PAXOS_PREPARE,       /* ballot, slot: votes from there on are wanted */
    PAXOS_PROMISE,       /* ballot, slot as asked, chosen_upto, entries up to upto; flag MORE */
    PAXOS_ACCEPT,        /* ballot, start, chosen_upto, one entry */
    PAXOS_ACCEPTED,      /* ballot, upto: durable without gap from start; chosen_upto */
    PAXOS_HEARTBEAT,     /* ballot, start, chosen_upto, slot: last sent to you, seq of reads */
    PAXOS_HEARTBEAT_ACK, /* as ACCEPTED; slot: last received, start: the slot asked, seq */
    PAXOS_NACK,          /* promised: a ballot above the one refused */
    PAXOS_LEARN_REQ,     /* slot: the first wanted */
    PAXOS_LEARN,         /* chosen_upto of the sender, chosen entries in order without gap */
    PAXOS_MESSAGE_END
};

enum paxos_message_flag { PAXOS_GRANTED = 1, PAXOS_MORE = 2 };

struct paxos_entry {
    uint64_t slot;
    struct ballot ballot; /* zero in a LEARN */
    struct paxos_value *value;
};

/* One layout for all types; fields a type does not name are zero. */
struct paxos_message {
    enum paxos_message_type type;
    uint32_t flags;
    uint32_t group;
    uint32_t from;
    uint32_t to;
    uint64_t config_id;
    struct id128 incarnation; /* the sender's */
    struct ballot ballot;
    struct ballot promised;
    uint64_t slot;
    uint64_t upto;
    uint64_t start; /* the first slot of the ballot */
    uint64_t chosen_upto;
    uint64_t seq;
    uint32_t entry_count;
    struct paxos_entry entries[];
};

#define PAXOS_MESSAGE_HEAD 120u /* bytes of an encoded message before its entries */
#define PAXOS_ENTRY_HEAD 48u    /* bytes of an encoded entry before its value */

struct paxos_message *paxos_message_new(enum paxos_message_type type,
                                        uint32_t entry_room);            /* zeroed */
struct paxos_message *paxos_message_free(struct paxos_message *message); /* unrefs the values */
size_t paxos_message_size(const struct paxos_message *message);          /* encoded */
void paxos_message_encode(const struct paxos_message *message, struct buf *buf); /* appends */
/* The whole of bytes must be one message; values are copied and their digests checked. Errors:
 * ERR_CORRUPT, ERR_VERSION. */
int paxos_message_decode(struct span bytes, struct paxos_message **ret_message, struct err *err);
/* The group a message is for, from its first bytes, to route it undecoded; false when too short. */
bool paxos_message_group(struct span bytes, uint32_t *ret_group);

/* ---- the state machine ---- */

struct paxos_options {
    uint32_t group;
    uint32_t node; /* one of voters */
    struct id128 incarnation;
    uint32_t boot;      /* grows with every start, durable before paxos_new */
    uint64_t config_id; /* messages of another one are dropped */
    uint32_t voter_count;
    uint32_t voters[PAXOS_VOTERS_MAX];
    struct id128 incarnations[PAXOS_VOTERS_MAX]; /* by voter; zero = not checked */
    uint64_t applied;                            /* slots the state store holds: chosen */
    uint64_t seed;
    /* 0 = the default */
    uint64_t heartbeat_ns;    /* 20 ms */
    uint64_t stickiness_ns;   /* 150 ms: after a leader was heard no probe is granted */
    uint64_t election_min_ns; /* 300 ms: timeouts are uniform in [min, max] */
    uint64_t election_max_ns; /* 600 ms: also the time a leader leads without hearing a quorum */
    uint64_t rank_step_ns;    /* 5 ms: after a crash hint the voters probe one after the other */
    uint64_t recent_bytes;    /* 2 MiB: chosen values kept in memory for laggards */
};

enum paxos_event_type {
    PAXOS_EVENT_TICK,
    PAXOS_EVENT_MESSAGE,    /* message: stays the caller's; values are referenced as needed */
    PAXOS_EVENT_DURABLE,    /* write_seq: it and all before it are on the disk */
    PAXOS_EVENT_PROPOSE,    /* value (referenced as needed), cookie != 0 */
    PAXOS_EVENT_READ,       /* cookie */
    PAXOS_EVENT_APPLIED,    /* slot: it and all before it were applied */
    PAXOS_EVENT_PEER_RESET, /* node: its connection was refused or reset, a hint that it crashed */
    PAXOS_EVENT_RESTORE     /* record, before the first tick */
};

struct paxos_event {
    enum paxos_event_type type;
    uint64_t now_ns; /* monotonic; never smaller than before */
    const struct paxos_message *message;
    const struct paxos_record *record;
    struct paxos_value *value;
    uint64_t cookie;
    uint64_t write_seq;
    uint64_t slot;
    uint32_t node;
};

struct paxos_send {
    struct paxos_message *message; /* the owner's now */
    uint64_t gate;                 /* write_seq that must be durable first; 0 = none */
};

struct paxos_chosen {
    uint64_t slot;
    struct paxos_value *value; /* one reference, the owner's now */
    uint64_t cookie;           /* of the PROPOSE this slot answers, or 0 */
    uint64_t write_seq;        /* of this replica's own record of it */
};

/* Of a PROPOSE, at once: code 0 = it is proposed in slot, and will end either in out->chosen with
 * its cookie or here with ERR_TIMEOUT (leadership was lost: it may or may not be chosen);
 * ERR_NOT_LEADER, ERR_BUSY, ERR_LIMIT = it was not proposed. Of a READ: code 0 = a read of the
 * state as applied now is linearizable; ERR_NOT_LEADER, ERR_BUSY = ask again. */
struct paxos_result {
    uint64_t cookie;
    uint64_t slot; /* proposed in; or the read's index, <= applied */
    int code;
};

/* Chosen slots a peer needs that are not in memory: read them from the log, at most
 * PAXOS_ENTRIES_MAX and PAXOS_MESSAGE_MAX bytes from from_slot on, and send them (paxos_learn_new).
 * Nothing need be sent when they are not to be had. */
struct paxos_serve {
    uint32_t to;
    uint64_t from_slot;
    uint64_t to_slot;
    uint64_t chosen_upto; /* of this node */
};

#define PAXOS_OUT_RECORDS 288u
#define PAXOS_OUT_MESSAGES 512u
#define PAXOS_OUT_CHOSEN 288u
#define PAXOS_OUT_PROPOSALS 256u
#define PAXOS_OUT_SERVES 8u

struct paxos_out {
    struct paxos_record
        records[PAXOS_OUT_RECORDS]; /* one reference of each value, the owner's now */
    struct paxos_send messages[PAXOS_OUT_MESSAGES];
    struct paxos_chosen chosen[PAXOS_OUT_CHOSEN];
    struct paxos_result proposals[PAXOS_OUT_PROPOSALS];
    struct paxos_result reads[PAXOS_READS_MAX + 1];
    struct paxos_serve serves[PAXOS_OUT_SERVES];
    uint32_t record_count;
    uint32_t message_count;
    uint32_t chosen_count;
    uint32_t proposal_count;
    uint32_t read_count;
    uint32_t serve_count;
    bool leader_changed; /* look at paxos_status() */
};

struct paxos_status {
    struct ballot promised;
    struct ballot ballot; /* led with, or of the leader followed */
    uint32_t leader;      /* a hint; 0 = unknown */
    bool leads;           /* phase 1 is done: proposals are taken */
    bool read_free; /* a read of the applied state needs no round: single voter, leads, its barrier
                       applied */
    uint64_t chosen_upto;
    uint64_t applied;
    uint64_t last_slot;     /* highest accepted or known chosen */
    uint64_t accepted_upto; /* durable vote at ballot */
    uint64_t last_write_seq;
};

struct paxos;

/* ERR_INVALID: options that make no sense. */
int paxos_new(const struct paxos_options *options, struct paxos **ret_paxos, struct err *err);
struct paxos *paxos_free(struct paxos *paxos);

/* Fills *out, which is emptied first (its references must have been taken). Errors: of a MESSAGE:
 * ERR_CORRUPT, ERR_STALE, ERR_PROTOCOL: it was dropped, go on; of a RESTORE: ERR_CORRUPT: the log
 * has lost a slot, do not start. */
int paxos_step(struct paxos *paxos, const struct paxos_event *event, struct paxos_out *out);

void paxos_status(const struct paxos *paxos, struct paxos_status *ret_status);
/* Proposals that would be taken now: 0 when not leading or the window is full. */
unsigned paxos_room(const struct paxos *paxos);
/* When the next PAXOS_TICK is due; other events may move it. */
uint64_t paxos_next_tick(const struct paxos *paxos);
/* A PROMISE record to append and make durable before older records are dropped; false when nothing
 * was promised yet. Its write_seq is counted and reported durable like any other. */
bool paxos_checkpoint(struct paxos *paxos, struct paxos_record *ret_record);
/* A LEARN message that answers a paxos_serve; add entries in slot order with paxos_learn_add while
 * it returns true (false: not added, the message is full). */
struct paxos_message *paxos_learn_new(const struct paxos *paxos, const struct paxos_serve *serve);
bool paxos_learn_add(struct paxos_message *message, uint64_t slot, struct paxos_value *value);

#endif
