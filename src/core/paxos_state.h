/* The replica's state and what its parts need of each other. Private to core/paxos*.c.
 *
 *   paxos.c           new, free, step: each event to its part; status
 *   paxos_slots.c     the ring of slots, records, what is chosen, restore
 *   paxos_acceptor.c  promises and votes; the follower's side of a leader's stream
 *   paxos_election.c  probes, phase 1
 *   paxos_leader.c    phase 2, heartbeats, check-quorum
 *   paxos_read.c      linearizable reads
 *   paxos_learn.c     chosen values for those who missed them
 *
 * Slots of the ring, from left to right:
 *
 *      kept_from ........ chosen_upto | ........... last_slot
 *      chosen, for laggards           | open: accepted, at most PAXOS_OPEN_MAX
 *
 * The stream is what this acceptor received of one ballot: every slot in [start, received_upto] is
 * held with that ballot, or was known to be chosen when it came (a vote for a chosen slot needs no
 * record: whatever ballot may still be proposed there can only propose the chosen value). */
#ifndef QUERN_CORE_PAXOS_STATE_H
#define QUERN_CORE_PAXOS_STATE_H

#include "base/assert.h"
#include "base/rng.h"
#include "core/paxos.h"

/* The simulator's proof: each mutant is a classical bug it must catch (doc/paxos.md). 0 = none. */
#ifndef MUTANT
#define MUTANT 0
#endif

#define PAXOS_LOG_QUEUE 1024u /* records not yet durable, all kinds */
#define PAXOS_LOG_BUSY 256u   /* at so many, votes and proposals are put off */
#define PAXOS_APPLY_LAG 384u  /* chosen slots not yet applied: the like */

struct paxos_slot {
    uint64_t slot; /* 0 = empty */
    struct ballot ballot;
    struct paxos_value *value;
    uint64_t write_seq; /* of its record */
    uint64_t cookie;
};

struct paxos_recovered { /* the best vote phase 1 found for a slot */
    uint64_t slot;       /* 0 = none */
    struct ballot ballot;
    struct paxos_value *value;
};

struct paxos_peer {
    uint32_t node;
    struct id128 incarnation;
    uint64_t heard_ns;
    uint64_t chosen_upto;
    /* candidate */
    bool granted;       /* would promise */
    bool promised;      /* did, and all it had accepted is here */
    uint64_t page_slot; /* the next page of its promise begins here */
    /* leader */
    uint64_t sent_upto;
    uint64_t accepted_upto; /* its durable vote at our ballot */
    uint64_t rewound_to;    /* where sending last began again */
    bool stalled;           /* it did so twice at one slot: send one slot at a time */
    uint64_t seq_acked;
};

enum paxos_role { PAXOS_FOLLOWER, PAXOS_PROBING, PAXOS_PREPARING, PAXOS_LEADING };

struct paxos_read {
    uint64_t cookie;
    uint64_t index;
};

struct paxos_reads { /* a queue: [head, confirmed) wait to be applied, [confirmed, asked) for acks,
                        [asked, tail) for a round */
    struct paxos_read queue[PAXOS_READS_MAX];
    uint64_t head, confirmed, asked, tail;
    uint64_t seq; /* of the newest round */
};

struct paxos {
    struct paxos_options options;
    struct rng rng;
    uint32_t quorum;
    struct paxos_peer *self;
    struct paxos_peer peers[PAXOS_VOTERS_MAX];
    struct paxos_out *out; /* of the step that runs */
    uint64_t now_ns;
    bool started; /* the time of restoring is over */

    /* log */
    uint64_t write_seq;
    uint64_t durable_seq;
    uint64_t written_bytes;               /* of all records up to write_seq */
    uint64_t bytes_upto[PAXOS_LOG_QUEUE]; /* by write_seq */

    /* acceptor and learner */
    struct ballot promised;
    uint64_t promise_seq; /* its record */
    struct paxos_slot ring[PAXOS_RING];
    uint64_t kept_from;
    uint64_t kept_bytes; /* of [kept_from, chosen_upto] */
    uint64_t chosen_upto;
    uint64_t applied;
    uint64_t last_slot;
    struct {
        struct ballot ballot;
        uint64_t start;
        uint64_t received_upto;
        uint64_t accepted_upto; /* the durable part */
    } stream;

    /* follower */
    uint32_t leader;
    uint64_t leader_heard_ns; /* 0 = never */
    uint64_t election_at_ns;
    uint64_t hint_until_ns; /* the leader is thought to have crashed: be quick */
    uint64_t learn_at_ns;   /* of the last LEARN_REQ unanswered; 0 = none */
    uint32_t learn_misses;  /* requests in a row that brought nothing */

    /* proposer */
    enum paxos_role role;
    struct ballot ballot; /* from PROBING on */
    uint64_t round_max;   /* seen */
    struct paxos_recovered recovered[PAXOS_OPEN_MAX];
    uint64_t retry_at_ns;
    uint64_t heartbeat_at_ns;
    uint64_t start;        /* the first slot proposed at our ballot */
    uint64_t next_slot;    /* the next to propose */
    uint64_t barrier_slot; /* once it is applied, all that was ever acknowledged is */
    uint64_t open_bytes;   /* of [chosen_upto + 1, next_slot) */
    struct paxos_reads reads;
};

/* ---- paxos.c ---- */
struct paxos_peer *paxos_peer_of(struct paxos *paxos, uint32_t node); /* NULL when no voter */
bool paxos_has_quorum(const struct paxos *paxos,
                      bool (*has)(const struct paxos *, const struct paxos_peer *));
/* Adds the head; owned by out afterwards, or dropped when out is full (the network may do so, too).
 */
void paxos_send(struct paxos *paxos, uint32_t to, struct paxos_message *message, uint64_t gate);
void paxos_saw_round(struct paxos *paxos, uint64_t round);
void paxos_set_leader(struct paxos *paxos, uint32_t node);
void paxos_arm_election(struct paxos *paxos);

/* ---- paxos_slots.c ---- */
struct paxos_slot *paxos_slot_at(struct paxos *paxos, uint64_t slot); /* NULL when not in memory */
void paxos_slot_put(struct paxos *paxos, uint64_t slot, struct ballot ballot,
                    struct paxos_value *value, uint64_t write_seq, uint64_t cookie);
void paxos_slots_fini(struct paxos *paxos);
uint64_t paxos_append(struct paxos *paxos, enum paxos_record_type type, uint64_t slot,
                      struct ballot ballot, struct paxos_value *value);
bool paxos_is_busy(const struct paxos *paxos); /* log or apply lag: take on nothing new */
/* Hands over the slots up to it, which must be in memory and known to be chosen. */
void paxos_raise_chosen(struct paxos *paxos, uint64_t upto);
int paxos_restore(struct paxos *paxos, const struct paxos_record *record);

/* ---- paxos_acceptor.c ---- */
void paxos_promise(struct paxos *paxos, struct ballot ballot);
void paxos_stream_begin(struct paxos *paxos, struct ballot ballot, uint64_t start);
/* Counts the votes that became durable; true when there are more than before. */
bool paxos_stream_count(struct paxos *paxos);
void paxos_send_nack(struct paxos *paxos, uint32_t to);
int paxos_on_prepare(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_accept(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_heartbeat(struct paxos *paxos, const struct paxos_message *message);
void paxos_send_accepted(struct paxos *paxos);

/* ---- paxos_election.c ---- */
void paxos_probe(struct paxos *paxos);
void paxos_step_down(struct paxos *paxos);
int paxos_on_probe(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_probe_reply(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_promise(struct paxos *paxos, const struct paxos_message *message);
void paxos_election_retry(struct paxos *paxos); /* asks again those who have not promised */
void paxos_election_check(struct paxos *paxos); /* leads if it may */
void paxos_election_clear(struct paxos *paxos); /* forgets what phase 1 found */

/* ---- paxos_leader.c ---- */
void paxos_lead(struct paxos *paxos); /* phase 1 is done */
void paxos_propose_slot(struct paxos *paxos, struct paxos_value *value, uint64_t cookie);
void paxos_on_propose(struct paxos *paxos, const struct paxos_event *event);
int paxos_on_accepted(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_heartbeat_ack(struct paxos *paxos, const struct paxos_message *message);
void paxos_send_heartbeats(struct paxos *paxos);
void paxos_leader_tick(struct paxos *paxos);
void paxos_leader_count(struct paxos *paxos); /* what is chosen now? */
void paxos_leader_pump(struct paxos *paxos);  /* sends what may be sent */

/* ---- paxos_read.c ---- */
void paxos_on_read(struct paxos *paxos, uint64_t cookie);
void paxos_reads_advance(
    struct paxos *paxos); /* confirms, begins a round, releases what is applied */
void paxos_reads_refuse(struct paxos *paxos);

/* ---- paxos_learn.c ---- */
void paxos_learn_request(struct paxos *paxos, uint32_t ahead); /* unless one is under way */
int paxos_on_learn_req(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_learn(struct paxos *paxos, const struct paxos_message *message);

#endif
