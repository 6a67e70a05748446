/* What replicas of a group say to each other, as structs and as bytes (doc/wire.md). */
#ifndef QUERN_CORE_PAXOS_MESSAGE_H
#define QUERN_CORE_PAXOS_MESSAGE_H

#include "base/buf.h"
#include "base/err.h"
#include "core/paxos_value.h"

#define PAXOS_MESSAGE_MAX (2u << 20) /* bytes of an encoded message */
#define PAXOS_ENTRIES_MAX 128u       /* of one message */

enum paxos_message_type {
    PAXOS_PROBE = 1,   /* ballot: would you promise it? Changes nothing */
    PAXOS_PROBE_REPLY, /* ballot as asked, promised, chosen_upto; GRANTED, REMOVED */
    PAXOS_PREPARE,     /* ballot, slot: votes from there on are wanted */
    PAXOS_PROMISE,   /* ballot, slot as asked, chosen_upto, entries up to upto, doubt_upto; MORE */
    PAXOS_ACCEPT,    /* ballot, start, chosen_upto, one entry */
    PAXOS_ACCEPTED,  /* ballot, upto: durable without gap from start; chosen_upto */
    PAXOS_HEARTBEAT, /* ballot, start, chosen_upto, slot: last sent to you, seq of reads, check */
    PAXOS_HEARTBEAT_ACK, /* as ACCEPTED; slot: last received, start: the slot asked, seq, check,
                            sync_us, applied; LOW, FULL */
    PAXOS_NACK,          /* promised: a ballot above the one refused; chosen_upto; REMOVED */
    PAXOS_LEARN_REQ,     /* slot: the first wanted */
    PAXOS_LEARN,         /* chosen_upto of the sender, chosen entries in order without gap */
    PAXOS_FETCH,         /* one entry without its value: who holds one of this digest? */
    PAXOS_FETCHED,       /* the entry */
    PAXOS_SNAPSHOT,      /* slot: what you want is gone; a state as of slot is to be had here */
    PAXOS_TRANSFER,      /* ballot: it ends; lead, without asking who would promise */
    PAXOS_RECALL,        /* I started anew: what did you see of me? */
    PAXOS_RECALLED,      /* promised: the highest ballot you promised me; of the leader its ballot,
                            start, and upto: your vote */
    PAXOS_MESSAGE_END
};

enum paxos_message_flag {
    PAXOS_GRANTED = 1,
    PAXOS_MORE = 2,
    PAXOS_REMOVED = 4, /* you are none of the voters of the configuration I know */
    PAXOS_LOW = 8,     /* little space for the log: take on nothing new */
    PAXOS_FULL = 16    /* none: no more votes */
};

enum paxos_entry_status {
    PAXOS_WHOLE,   /* with its value */
    PAXOS_DAMAGED, /* ballot and digest are known, the value is lost */
    PAXOS_LOST,    /* there may have been a vote; nothing is known of it */
    PAXOS_STATUS_END
};

struct paxos_entry {
    uint64_t slot;
    struct ballot ballot; /* zero in a LEARN */
    enum paxos_entry_status status;
    uint8_t digest[PAXOS_DIGEST]; /* the value's */
    struct paxos_value *value;    /* of a whole entry, else NULL */
};

struct paxos_check { /* the state's digest chain after a slot (meta/apply.h) */
    uint64_t slot;   /* 0 = none */
    uint8_t digest[PAXOS_DIGEST];
};

/* One layout for all types; fields a type does not name are zero. */
struct paxos_message {
    enum paxos_message_type type;
    uint32_t flags;
    uint32_t group;
    uint32_t from;
    uint32_t to;
    uint32_t from_born;
    uint32_t to_born;
    uint64_t config_slot; /* of the newest configuration the sender knows */
    struct ballot ballot;
    struct ballot promised;
    uint64_t slot;
    uint64_t upto;
    uint64_t start; /* the first slot of the ballot */
    uint64_t chosen_upto;
    uint64_t seq;
    union {
        uint64_t doubt_upto; /* slots up to it that are not among the entries are PAXOS_LOST */
        uint64_t applied;    /* slots that the sender's log and state store keep, all of them */
    };
    struct paxos_check check;
    uint32_t sync_us; /* what a write to the log takes of late */
    uint32_t entry_count;
    struct paxos_entry entries[];
};

#define PAXOS_MESSAGE_HEAD 152u /* bytes of an encoded message before its entries */
#define PAXOS_ENTRY_HEAD 48u    /* bytes of an encoded entry before its value */

struct paxos_message *paxos_message_new(enum paxos_message_type type,
                                        uint32_t entry_room);            /* zeroed */
struct paxos_message *paxos_message_free(struct paxos_message *message); /* unrefs the values */
/* An entry with its value (referenced). There must be room. */
void paxos_message_add(struct paxos_message *message, uint64_t slot, struct ballot ballot,
                       struct paxos_value *value);
size_t paxos_message_size(const struct paxos_message *message);                  /* encoded */
void paxos_message_encode(const struct paxos_message *message, struct buf *buf); /* appends */
/* The whole of bytes must be one message; values are copied and their digests checked. A head that
 * is longer than ours is a newer version's: the rest of it is passed over; of a shorter one the
 * missing fields are zero. Errors: ERR_CORRUPT, ERR_VERSION. */
int paxos_message_decode(struct span bytes, struct paxos_message **ret_message, struct err *err);
/* The group a message is for, from its first bytes, to route it undecoded; false when too short. */
bool paxos_message_group(struct span bytes, uint32_t *ret_group);

#endif
