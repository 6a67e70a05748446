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
 *      PAXOS_EVENT_APPLIED. A slot of kind PAXOS_CONFIG is kept with the state: it is
 *      paxos_options.config of the next start.
 *   4. carry out the rest of out.
 *
 * What the log holds. Records of all groups may share one log; a group's keep their order, and a
 * crash loses only a suffix of what was not yet durable. The last record of a slot <= chosen_upto
 * holds the chosen value, which is what learn_serve reads. Records of slots the state store holds
 * durably may be dropped, once a younger paxos_checkpoint() record of the group is durable: it
 * keeps the promise. After a snapshot the log's older records of slots up to it are void: not all
 * of these slots need have passed through it, so they must not be served.
 *
 * At start: paxos_new with the state store's applied slot and configuration, then for what the log
 * has of this replica, in its order, an EVENT_RESTORE for each record (value NULL when only its
 * head could be read) and an EVENT_RESTORE_LOST wherever records of unknown number may be missing;
 * they give out->chosen as they pass. Then paxos_status: a replica that is amnesic may have
 * promised what it does not know any more, and must not be used: make another, with a birth of its
 * own, for which nothing of the log counts. Then the first EVENT_TICK.
 *
 * A reader on another thread. With several voters every linearizable read asks (EVENT_READ) and one
 * round serves all that came before it. A single voter that leads may be read at once, without
 * asking: publish {leads, applied} after each step (paxos_status; read_free tells that this short
 * cut holds), release the client of a slot only after it was applied and published, and readers
 * that see read_free see every acknowledged command in the state store. */
#ifndef QUERN_CORE_PAXOS_H
#define QUERN_CORE_PAXOS_H

#include <stdbool.h>

#include "core/paxos_config.h"
#include "core/paxos_message.h"
#include "core/paxos_record.h"

#define PAXOS_WINDOW 64u /* slots a leader has in flight */
#define PAXOS_WINDOW_BYTES                                                                         \
    (64u << 20)               /* and their bytes; also of records that are not durable yet */
#define PAXOS_OPEN_MAX 128u   /* slots an acceptor holds above its chosen_upto */
#define PAXOS_RING 256u       /* slots in memory: open ones and recently chosen ones */
#define PAXOS_READS_MAX 1024u /* reads waiting */

struct paxos_options {
    uint32_t group;
    uint32_t node;
    uint32_t born;              /* this replica's */
    uint32_t boot;              /* grows with every start, durable before paxos_new */
    struct paxos_config config; /* as of applied; without members: one that waits to be taken in */
    uint64_t applied;           /* slots the state store holds: chosen */
    uint64_t seed;
    /* 0 = the default */
    uint64_t heartbeat_ns;    /* 20 ms */
    uint64_t stickiness_ns;   /* 150 ms: after a leader was heard no probe is granted */
    uint64_t election_min_ns; /* 300 ms: timeouts are uniform in [min, max] */
    uint64_t election_max_ns; /* 600 ms: also the time a leader leads without hearing a quorum */
    uint64_t rank_step_ns;    /* 5 ms: after a crash hint the voters probe one after the other */
    uint64_t recall_ns;       /* 100 ms: after a start no vote before all others told what they saw,
                                 or so long */
    uint64_t recent_bytes;    /* 2 MiB: chosen values kept in memory for laggards */
    uint64_t window;          /* PAXOS_WINDOW, and at most that; the like: */
    uint64_t open_max;        /* PAXOS_OPEN_MAX */
    uint64_t busy_records;    /* 256: not yet durable, then votes and proposals are put off */
    uint64_t page_entries;    /* PAXOS_ENTRIES_MAX: of a message */
};

enum paxos_space { PAXOS_SPACE_GOOD, PAXOS_SPACE_LOW, PAXOS_SPACE_NONE };

enum paxos_event_type {
    PAXOS_EVENT_TICK,
    PAXOS_EVENT_MESSAGE,     /* message: stays the caller's; values are referenced as needed */
    PAXOS_EVENT_DURABLE,     /* write_seq: it and all before it are on the disk */
    PAXOS_EVENT_PROPOSE,     /* value (referenced as needed), cookie != 0, reserve */
    PAXOS_EVENT_RECONFIGURE, /* config, cookie != 0 */
    PAXOS_EVENT_TRANSFER,    /* node: let it lead */
    PAXOS_EVENT_READ,        /* cookie */
    PAXOS_EVENT_APPLIED,     /* slot: it and all before it were applied; check, when there is a
                                new one */
    PAXOS_EVENT_SNAPSHOT,    /* slot, config, check: the state store holds it now, durably; slot 0:
                                it could not be had */
    PAXOS_EVENT_DISK,        /* space, sync_us: how the log's disk does */
    PAXOS_EVENT_PEER_RESET,  /* node: its connection was refused or reset, a hint that it crashed */
    PAXOS_EVENT_RESTORE,     /* record, before the first tick */
    PAXOS_EVENT_RESTORE_LOST /* promises: the missing records may be promises; the like */
};

struct paxos_event {
    enum paxos_event_type type;
    uint64_t now_ns; /* monotonic; never smaller than before */
    const struct paxos_message *message;
    const struct paxos_record *record;
    const struct paxos_config *config;
    struct paxos_value *value;
    uint64_t cookie;
    uint64_t write_seq;
    uint64_t slot;
    uint32_t node;
    bool reserve; /* may be proposed when space is low: it frees some, or must go on */
    bool promises;
    enum paxos_space space;
    uint32_t sync_us;
    struct paxos_check check; /* slot 0 = none */
};

struct paxos_send {
    struct paxos_message *message; /* the owner's now */
    uint64_t gate;                 /* write_seq that must be durable first; 0 = none */
};

struct paxos_chosen {
    uint64_t slot;
    struct paxos_value *value; /* one reference, the owner's now */
    uint64_t cookie;           /* of the PROPOSE or RECONFIGURE this slot answers, or 0 */
    uint64_t write_seq;        /* of this replica's own record of it */
};

/* Of a PROPOSE or RECONFIGURE, at once: code 0 = it is proposed in slot, and will end either in
 * out->chosen with its cookie or here with ERR_TIMEOUT (leadership was lost: it may or may not be
 * chosen); ERR_NOT_LEADER, ERR_BUSY, ERR_LIMIT, ERR_NOSPACE, ERR_INVALID (no step from the present
 * configuration, or a new voter lags) = it was not proposed. Of a READ: code 0 = a read of the
 * state as applied now is linearizable; ERR_NOT_LEADER, ERR_BUSY = ask again. */
struct paxos_result {
    uint64_t cookie;
    uint64_t slot; /* proposed in; or the read's index, <= applied */
    int code;
};

/* Chosen slots a peer needs that are not in memory: read them from the log, at most
 * PAXOS_ENTRIES_MAX and PAXOS_MESSAGE_MAX bytes from from_slot on, and send them (paxos_learn_new);
 * when from_slot is no longer in the log, say what state is to be had instead
 * (paxos_snapshot_new). */
struct paxos_serve {
    uint32_t to;
    uint32_t to_born;
    uint64_t from_slot;
    uint64_t to_slot;
    uint64_t chosen_upto; /* of this node */
};

/* The state as of slot or later must be fetched from node, installed in the state store, and
 * reported with PAXOS_EVENT_SNAPSHOT. Nothing is chosen here meanwhile. */
struct paxos_fetch {
    uint32_t node; /* 0 = nothing is wanted */
    uint64_t slot;
};

#define PAXOS_OUT_RECORDS 288u
#define PAXOS_OUT_MESSAGES 640u
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
    struct paxos_fetch fetch;
    uint64_t diverged_slot; /* not 0: the state after this slot is another one than a majority's:
                               stop, and never use it again */
    uint32_t record_count;
    uint32_t message_count;
    uint32_t chosen_count;
    uint32_t proposal_count;
    uint32_t read_count;
    uint32_t serve_count;
    bool leader_changed; /* look at paxos_status() */
    bool config_changed; /* look at paxos_config_of() */
};

struct paxos_status {
    struct ballot promised;
    struct ballot ballot; /* led with, or of the leader followed */
    uint32_t leader;      /* a hint; 0 = unknown */
    bool leads;           /* proposals may be taken: phase 1 is done */
    bool read_free; /* a read of the applied state needs no round: single voter, leads, its barrier
                       applied */
    bool voter;     /* of the newest configuration known here */
    bool amnesic;   /* see above */
    bool full;      /* leads, and no quorum has space for more than what must go on */
    uint64_t blocked_slot; /* not 0: nobody who can be asked knows what was voted for there */
    uint64_t chosen_upto;
    uint64_t applied;
    uint64_t last_slot;     /* highest accepted or known chosen; a leader's: proposed */
    uint64_t accepted_upto; /* durable vote at ballot */
    uint64_t last_write_seq;
};

struct paxos;

/* ERR_INVALID: options that make no sense. */
int paxos_new(const struct paxos_options *options, struct paxos **ret_paxos, struct err *err);
struct paxos *paxos_free(struct paxos *paxos);

/* Fills *out, which is emptied first (its references must have been taken). Errors: of a MESSAGE:
 * ERR_CORRUPT, ERR_STALE, ERR_PROTOCOL: it was dropped, go on; of a RESTORE: ERR_CORRUPT: the log
 * has lost a slot without saying so, do not start. */
int paxos_step(struct paxos *paxos, const struct paxos_event *event, struct paxos_out *out);

void paxos_status(const struct paxos *paxos, struct paxos_status *ret_status);
/* The newest configuration known to be chosen. Lives as long as the replica; changes in steps. */
const struct paxos_config *paxos_config_of(const struct paxos *paxos);
/* How far a member is behind what is chosen, as the leader knows; UINT64_MAX when it was not heard
 * of late, or this is not the leader. */
uint64_t paxos_lag_of(const struct paxos *paxos, uint32_t node, uint32_t born);
/* It leads, its barrier above the newest configuration is chosen, and a quorum of the voters holds
 * durably all that was chosen before: nobody who is out of the configuration is needed any more. */
bool paxos_is_settled(const struct paxos *paxos);
/* Proposals that would be taken now: 0 when not leading or the window is full. */
unsigned paxos_room(const struct paxos *paxos);
/* When the next PAXOS_TICK is due; other events may move it. UINT64_MAX: none is. */
uint64_t paxos_next_tick(const struct paxos *paxos);
/* A PROMISE record to append and make durable before older records are dropped; false when nothing
 * was promised yet. Its write_seq is counted and reported durable like any other. */
bool paxos_checkpoint(struct paxos *paxos, struct paxos_record *ret_record);
/* A LEARN message that answers a paxos_serve; add entries in slot order with paxos_learn_add while
 * it returns true (false: not added, the message is full). */
struct paxos_message *paxos_learn_new(const struct paxos *paxos, const struct paxos_serve *serve);
bool paxos_learn_add(struct paxos_message *message, uint64_t slot, struct paxos_value *value);
/* A SNAPSHOT message that answers it instead: a state as of slot can be fetched here. */
struct paxos_message *paxos_snapshot_new(const struct paxos *paxos, const struct paxos_serve *serve,
                                         uint64_t slot);

#endif
