/* The replica's state and what its parts need of each other. Private to core/paxos*.c.
 *
 *   paxos.c           new, free, step: each event to its part; status
 *   paxos_peers.c     the members of the configuration, quorums, a new configuration
 *   paxos_slots.c     the ring of slots, records, what is chosen
 *   paxos_restore.c   what the log gives back at start, and what others saw of a lost write
 *   paxos_acceptor.c  promises and votes; the follower's side of a leader's stream
 *   paxos_election.c  probes, phase 1
 *   paxos_recover.c   what phase 1 found: the value each open slot must be given
 *   paxos_leader.c    phase 2: proposals, votes, sending
 *   paxos_tenure.c    heartbeats, check-quorum, reconfiguration, transfer of leadership
 *   paxos_read.c      linearizable reads
 *   paxos_learn.c     chosen values and snapshots for those who missed them
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
#include "core/cover.h"
#include "base/mutant.h"
#include "core/paxos.h"

#define PAXOS_LOG_QUEUE 1024u /* records not yet durable, all kinds */
#define PAXOS_LOG_BUSY 256u   /* at so many, votes and proposals are put off */
#define PAXOS_APPLY_LAG 384u  /* chosen slots not yet applied: the like */
#define PAXOS_CHECKS 8u       /* of the own state, kept to compare */

struct paxos_slot {
    uint64_t slot; /* 0 = empty */
    struct ballot ballot;
    enum paxos_entry_status status; /* of an open slot; chosen ones are whole */
    uint8_t digest[PAXOS_DIGEST];
    struct paxos_value *value; /* NULL when damaged */
    uint64_t write_seq;        /* of its record */
    uint64_t cookie;
};

struct paxos_recovered { /* the best votes phase 1 found for a slot */
    uint64_t slot;       /* 0 = none */
    struct ballot ballot;
    uint8_t digest[PAXOS_DIGEST];
    struct ballot whole_ballot; /* of the best one whose value is known, */
    struct paxos_value *value;  /* which is this; NULL: of none is it */
};

/* What a voter's promise said of open slots, by slot % PAXOS_OPEN_MAX: the slot, or 0. */
struct paxos_report {
    uint64_t told[PAXOS_OPEN_MAX];         /* a vote, */
    struct ballot ballots[PAXOS_OPEN_MAX]; /* at this ballot */
    uint64_t lost[PAXOS_OPEN_MAX];         /* that it does not know */
    uint64_t doubt_upto;                   /* the like, of all it does not tell */
};

struct paxos_peer {
    uint32_t node;
    uint32_t born;
    bool voter;
    uint64_t heard_ns;
    uint64_t chosen_upto;
    struct ballot seen; /* the highest ballot it was heard to have promised */
    /* candidate */
    bool granted;       /* would promise */
    bool promised;      /* did, and all it had accepted is here */
    uint64_t page_slot; /* the next page of its promise begins here */
    struct paxos_report report;
    /* leader */
    uint64_t sent_upto;
    uint64_t accepted_upto; /* its durable vote at our ballot */
    uint64_t applied;       /* as it said: what is chosen up to here is durable there */
    uint64_t rewound_to;    /* where sending last began again */
    bool stalled;           /* it did so twice at one slot: send one slot at a time */
    bool spacious;
    uint64_t seq_acked;
    uint32_t sync_us;
    struct paxos_check check;
    /* after a start */
    bool recalled;
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
    struct paxos_config config; /* the newest known to be chosen: governs the open slots */
    uint32_t quorum;            /* voters of it */
    uint32_t peer_count;
    struct paxos_peer peers[PAXOS_MEMBERS_MAX]; /* its members in its order */
    struct paxos_peer *self;                    /* one of them, or NULL */
    struct paxos_out *out;                      /* of the step that runs */
    uint64_t now_ns;
    bool started; /* the time of restoring is over */

    /* log */
    uint64_t write_seq;
    uint64_t durable_seq;
    uint64_t written_bytes;               /* of all records up to write_seq */
    uint64_t bytes_upto[PAXOS_LOG_QUEUE]; /* by write_seq */
    enum paxos_space space;
    uint32_t sync_us;

    /* what a damaged log has cost */
    bool damaged;          /* records are missing: gaps are to be expected */
    bool amnesic;          /* promises, too, and no later record tells them */
    uint64_t doubt_upto;   /* slots up to it that are not in the ring may have had our vote */
    uint64_t recall_at_ns; /* no vote before; 0 = all is told */

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
        uint32_t born; /* of the leader */
        uint64_t start;
        uint64_t received_upto;
        uint64_t accepted_upto; /* the durable part */
    } stream;
    struct paxos_check checks[PAXOS_CHECKS]; /* a ring by their number */
    uint64_t check_count;
    bool fetching; /* a snapshot: nothing is chosen here meanwhile */

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
    uint64_t blocked_slot; /* that phase 1 cannot decide yet */
    uint64_t retry_at_ns;
    uint64_t heartbeat_at_ns;
    uint64_t start;          /* the first slot proposed at our ballot */
    uint64_t next_slot;      /* the next to propose */
    uint64_t barrier_slot;   /* once it is applied, all that was ever acknowledged is */
    uint64_t sealed_slot;    /* holds a configuration not yet chosen: nothing is proposed above; 0 =
                                none */
    bool renewing;           /* leads, and does phase 1 with the voters of a new configuration */
    uint64_t open_bytes;     /* of [chosen_upto + 1, next_slot) */
    struct paxos_peer *heir; /* who is to lead next, once it has everything; NULL = nobody */
    bool heir_told;
    uint64_t heir_until_ns;
    uint64_t slow_since_ns;    /* our disk is much slower than the others'; 0 = it is not */
    struct paxos_check agreed; /* the newest check of which a majority has the same digest */
    struct paxos_reads reads;
};

/* ---- paxos.c ---- */
/* Adds the head; owned by out afterwards, or dropped when out is full (the network may do so, too).
 */
void paxos_send_to(struct paxos *paxos, uint32_t node, uint32_t born, struct paxos_message *message,
                   uint64_t gate);
void paxos_send(struct paxos *paxos, const struct paxos_peer *peer, struct paxos_message *message);
void paxos_reply(struct paxos *paxos, const struct paxos_message *to, struct paxos_message *message,
                 uint64_t gate);
void paxos_saw_round(struct paxos *paxos, uint64_t round);
void paxos_set_leader(struct paxos *paxos, uint32_t node);

/* ---- paxos_peers.c ---- */
void paxos_adopt(struct paxos *paxos, const struct paxos_config *config);
struct paxos_peer *paxos_peer_of(struct paxos *paxos, uint32_t node,
                                 uint32_t born); /* NULL when it is no member */
bool paxos_is_voter(const struct paxos *paxos);  /* this replica */
bool paxos_is_alone(const struct paxos *paxos);  /* the only member */
/* Of the voters. */
bool paxos_has_quorum(const struct paxos *paxos,
                      bool (*has)(const struct paxos *, const struct paxos_peer *));

/* ---- paxos_slots.c ---- */
struct paxos_slot *paxos_slot_at(struct paxos *paxos, uint64_t slot); /* NULL when not in memory */
struct paxos_slot *paxos_slot_put(struct paxos *paxos, uint64_t slot, struct ballot ballot,
                                  struct paxos_value *value, uint64_t write_seq);
/* One whose value is lost. */
void paxos_slot_put_damaged(struct paxos *paxos, uint64_t slot, struct ballot ballot,
                            const uint8_t digest[PAXOS_DIGEST]);
void paxos_slot_drop(struct paxos *paxos, uint64_t slot);  /* an open one */
void paxos_slots_skip(struct paxos *paxos, uint64_t upto); /* the state has them: forget them */
void paxos_slots_fini(struct paxos *paxos);
uint64_t paxos_append(struct paxos *paxos, enum paxos_record_type type, uint64_t slot,
                      struct ballot ballot, struct paxos_value *value);
bool paxos_is_busy(const struct paxos *paxos); /* log or apply lag: take on nothing new */
/* Hands over the slots up to it, which must be in memory and known to be chosen. */
void paxos_raise_chosen(struct paxos *paxos, uint64_t upto);

/* ---- paxos_restore.c ---- */
int paxos_restore(struct paxos *paxos, const struct paxos_record *record);
void paxos_restore_lost(struct paxos *paxos, bool promises);
void paxos_restore_end(struct paxos *paxos);
bool paxos_is_recalling(const struct paxos *paxos);
void paxos_recall_check(struct paxos *paxos);
int paxos_on_recall(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_recalled(struct paxos *paxos, const struct paxos_message *message);
/* A leader's word for how far slots can have gone that we lost. */
void paxos_bound_doubt(struct paxos *paxos, uint64_t chosen_upto);

/* ---- paxos_acceptor.c ---- */
void paxos_promise(struct paxos *paxos, struct ballot ballot);
void paxos_stream_begin(struct paxos *paxos, struct ballot ballot, uint32_t born, uint64_t start);
/* Counts the votes that became durable; true when there are more than before. */
bool paxos_stream_count(struct paxos *paxos);
/* Its sender is out of the configuration, and does not know it yet: it shall learn instead of
 * disturbing. */
bool paxos_is_outdated(const struct paxos *paxos, const struct paxos_message *message);
void paxos_send_nack(struct paxos *paxos, const struct paxos_message *to, uint32_t flags);
int paxos_on_prepare(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_accept(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_heartbeat(struct paxos *paxos, const struct paxos_message *message);
void paxos_send_accepted(struct paxos *paxos);
const struct paxos_check *paxos_last_check(const struct paxos *paxos);
/* A majority has this digest: is ours another? */
void paxos_compare_check(struct paxos *paxos, const struct paxos_check *agreed);

/* ---- paxos_election.c ---- */
void paxos_arm_election(struct paxos *paxos);
void paxos_probe(struct paxos *paxos);
void paxos_step_down(struct paxos *paxos);
int paxos_on_probe(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_probe_reply(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_promise(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_nack(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_transfer(struct paxos *paxos, const struct paxos_message *message);
void paxos_ask_promises(struct paxos *paxos);   /* of those who have not given them */
void paxos_election_check(struct paxos *paxos); /* leads if it may */
/* Phase 1 is wanted, of the election or of a new configuration. */
bool paxos_is_preparing(const struct paxos *paxos);

/* ---- paxos_recover.c ---- */
void paxos_recover_clear(struct paxos *paxos); /* forgets what phase 1 found */
void paxos_report_clear(struct paxos_peer *peer);
/* Takes down what a voter tells of a slot. Errors: ERR_PROTOCOL. */
int paxos_recover_entry(struct paxos *paxos, struct paxos_peer *peer,
                        const struct paxos_entry *entry);
void paxos_recover_own(struct paxos *paxos);
/* The first open slot of which too few know enough, or whose value is not here; 0 = none. */
uint64_t paxos_recover_missing(struct paxos *paxos);
void paxos_recover_fetch(struct paxos *paxos); /* asks all members for lost values */
int paxos_on_fetch(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_fetched(struct paxos *paxos, const struct paxos_message *message);

/* ---- paxos_leader.c ---- */
void paxos_lead(struct paxos *paxos);    /* phase 1 is done */
void paxos_lead_on(struct paxos *paxos); /* and with the new configuration's voters */
void paxos_peer_begin(const struct paxos *paxos, struct paxos_peer *peer); /* led from now on */
uint64_t paxos_propose_slot(struct paxos *paxos, struct paxos_value *value, uint64_t cookie);
void paxos_on_propose(struct paxos *paxos, const struct paxos_event *event);
int paxos_on_accepted(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_heartbeat_ack(struct paxos *paxos, const struct paxos_message *message);
void paxos_leader_count(struct paxos *paxos); /* what is chosen now? */
void paxos_leader_pump(struct paxos *paxos);  /* sends what may be sent */
bool paxos_has_window(const struct paxos *paxos);
struct paxos_message *paxos_message_of_leader(struct paxos *paxos, enum paxos_message_type type,
                                              uint32_t room);
void paxos_proposal_done(struct paxos *paxos, uint64_t cookie, uint64_t slot, int code);

/* ---- paxos_tenure.c ---- */
void paxos_send_heartbeats(struct paxos *paxos);
void paxos_leader_tick(struct paxos *paxos);
void paxos_on_reconfigure(struct paxos *paxos, const struct paxos_event *event);
void paxos_on_transfer_event(struct paxos *paxos, uint32_t node);
void paxos_hand_over(struct paxos *paxos); /* to the heir, when it has everything */
void paxos_renew(struct paxos *paxos);     /* a new configuration is chosen under this leader */
bool paxos_is_spacious(const struct paxos *paxos);

/* ---- paxos_read.c ---- */
void paxos_on_read(struct paxos *paxos, uint64_t cookie);
void paxos_reads_advance(
    struct paxos *paxos); /* confirms, begins a round, releases what is applied */
void paxos_reads_refuse(struct paxos *paxos);

/* ---- paxos_learn.c ---- */
/* Unless one is under way; of a replica that is ahead. */
void paxos_learn_request(struct paxos *paxos, uint32_t node, uint32_t born);
int paxos_on_learn_req(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_learn(struct paxos *paxos, const struct paxos_message *message);
int paxos_on_snapshot_message(struct paxos *paxos, const struct paxos_message *message);
void paxos_on_snapshot_event(struct paxos *paxos, const struct paxos_event *event);

#endif
