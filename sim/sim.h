/* The simulator's world: machines that run the shipped core over fake disks and a fake network,
 * clients, faults, checkers; one thread, virtual time, every decision drawn from the seed or read
 * from a schedule. doc/sim.md tells how to use it. sim/explore/ is a program of its own.
 *
 *   plan.c      what a seed's world is like, and what happens to it when
 *   schedule.c  the same as a file: written, read, shrunk
 *   world.c     time, the event heap, the trace, a run
 *   nemesis.c   carries out what happens: crashes, cuts, damage, other members
 *   net.c       delays, losses, cuts, damaged frames, other versions
 *   disk.c      the log of a machine and what a crash leaves of it
 *   recover.c   reading that back
 *   state.c     what is applied, what of it is flushed, snapshots
 *   node.c      a machine: its clock, start and crash, the replicas it hosts
 *   replica.c   a replica: what its drive asks for, requests
 *   placer.c    moves replicas to where they are wanted (core/member.h)
 *   workload.c  clients that read, write and compare-and-set
 *   kv.c        the state machine
 *   truth.c     what is chosen, from what lies durably on the disks
 *   checkers.c  what must hold at every step
 *   liveness.c  and at the end
 */
#ifndef QUERN_SIM_SIM_H
#define QUERN_SIM_SIM_H

#include <stdnoreturn.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "base/rng.h"
#include "core/cover.h"
#include "core/drive.h"
#include "sim/kv.h"
#include "sim/plan.h"
#include "wal/batch.h"

#define SIM_NODES_MAX 7u
#define SIM_GROUPS_MAX 3u
#define SIM_BATCH_MAX 16u
#define SIM_PENDING_MAX 64u
#define SIM_QUEUE 1024u
#define SIM_VOTERS_MAX 64u
#define SIM_US 1000ull
#define SIM_MS 1000000ull

enum sim_event_kind {
    SIM_TICK,
    SIM_DELIVER,
    SIM_SYNCED,
    SIM_APPLY,
    SIM_PROPOSE,
    SIM_FLUSH,
    SIM_SNAPSHOT,
    SIM_DISK_TOLD,
    SIM_REQUEST, /* up to here of a node */
    SIM_REPLY,
    SIM_CLIENT,
    SIM_ACTION,
    SIM_RESTART,
    SIM_HINT,
    SIM_PLACE
};

struct sim_event {
    uint64_t at_ns;
    uint64_t order; /* of events at the same time: as they were made */
    enum sim_event_kind kind;
    uint32_t node; /* index */
    uint32_t life; /* an event of a former life of the node is void */
    uint32_t group;
    uint32_t peer;
    uint64_t number;
    struct kv_command command;
    struct kv_result result;
    struct buf bytes;
};

/* ---- disk ---- */

struct sim_record {
    uint32_t group, born;
    uint64_t slot;
    uint64_t write_seq;       /* 0: of a former life */
    uint64_t whole, identity; /* hashes of what was written */
    bool trimmed;             /* not read at start any more */
    struct buf bytes;         /* until it is durable */
};

struct sim_disk {
    struct sim_record *records;
    uint32_t count, room;
    uint32_t durable;
    uint32_t syncing;    /* the write in flight ends here; 0 = none */
    struct buf image;    /* what lies on the disk: blocks */
    uint32_t used;       /* of them, but for what a torn write has left */
    uint32_t last_block; /* where the newest batch begins */
    uint32_t *ends;      /* of each batch: the records before it and its own */
    uint32_t batch_count, ends_room;
    struct wal_batch batch; /* the write in flight: its records, then its blocks */
    struct buf frames;
    struct buf writing;
    bool rotten; /* what lies there is not what was written */
    bool newest_rotten;

    uint64_t began_ns;
    bool failing;     /* the write in flight fails */
    uint32_t sync_us; /* of late */
    uint64_t slow_until_ns;
    uint32_t slow_factor;
    uint64_t full_until_ns;
};

/* ---- state ---- */

struct sim_state {
    struct kv kv;
    struct paxos_config config;
    uint8_t chain[PAXOS_DIGEST];
    struct paxos_check check; /* the newest */
};

/* ---- node ---- */

struct sim_batch { /* commands proposed together; their clients wait */
    uint64_t cookie;
    uint32_t count;
    struct kv_command commands[SIM_BATCH_MAX];
};

struct sim_replica {
    struct sim_node *node;
    uint32_t group;
    /* durable */
    uint32_t born;         /* 0 = none is hosted */
    uint32_t since;        /* records of the log before are another replica's */
    uint64_t trimmed_upto; /* slots the log no longer holds */
    struct sim_state flushed;
    bool state_lost; /* what was flushed cannot be read */
    /* of a life */
    struct drive *drive; /* NULL: not started, it needs a state first */
    struct sim_state state;
    uint64_t durable_seq;
    uint64_t flush_seq; /* checkpoint that lets the log be trimmed to flush_upto */
    uint64_t flush_upto;
    uint32_t flush_before; /* records before this index of the log */
    struct kv_command pending[SIM_PENDING_MAX];
    uint32_t pending_count;
    struct sim_batch batches[PAXOS_WINDOW * 2];
    struct paxos_chosen queue[SIM_QUEUE]; /* [queue_head, queue_tail) wait to be applied */
    uint64_t queue_head, queue_tail;
    struct paxos_value **values; /* by slot: of its last record in the log, if any */
    uint64_t value_room;
    struct {             /* a replica to be dropped, once this leader is known to lead still */
        uint64_t cookie; /* of the read that tells; 0 = none */
        uint32_t node, born;
    } drop;
    uint32_t fetch_from; /* index + 1 of the node whose state is on its way; 0 = none */
};

struct sim_node {
    struct sim *sim;
    uint32_t index;
    uint32_t id; /* another one with every new disk */
    uint32_t life;
    uint32_t boot;
    uint32_t births; /* of replicas, ever */
    bool up;
    uint64_t paused_until_ns;
    uint64_t clock_base_ns, clock_since_ns; /* its clock showed base at since, */
    int64_t clock_ppm;                      /* and goes so much faster than time */
    uint32_t version;                       /* 0 = ours, 1 = an older one, 2 = a newer one */
    uint64_t tick_at_ns;
    bool apply_scheduled;
    bool propose_scheduled;
    struct sim_disk disk;
    struct sim_replica replicas[SIM_GROUPS_MAX];
};

/* ---- clients ---- */

struct sim_client {
    bool busy;
    struct kv_command command;
    uint64_t attempt;
    uint32_t target;
    uint64_t floor; /* the newest slot any client had seen of the group when this command was first
                       sent */
    uint64_t position;              /* slot of the command in the reference order; 0 = none yet */
    uint32_t sent;                  /* times */
    uint64_t known[SIM_GROUPS_MAX]; /* the newest slot of each group that an answer has shown */
    bool *carried_out;              /* by number */
    uint64_t carried_room;
    struct kv_result expected; /* of the reference, once it has a position */
    uint64_t seen;             /* the value it last saw, for compare-and-set */
    uint64_t done;
};

struct sim_truth;

struct sim {
    struct sim_plan *plan;
    struct sim_options options; /* the plan's */
    bool verbose;
    bool healed; /* faults are over */
    uint64_t now_ns;
    uint64_t order;
    uint64_t cookie;
    uint32_t big_count; /* big values proposed so far */
    uint64_t hash;      /* of the trace */
    uint64_t event_count;
    struct sim_event **heap;
    uint32_t heap_count, heap_room;
    struct rng net, disk, work, timers, places;
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to */
    uint32_t machine_count;
    uint32_t wanted[SIM_GROUPS_MAX]; /* bits of machines that shall have a replica */
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX];
    struct sim_truth *truth;
};

/* ---- world.c ---- */
/* Runs a plan to its end; a failure is printed and ends the process with 1. Returns the trace's
 * hash. */
uint64_t sim_run(struct sim_plan *plan, bool verbose);
struct sim_event *sim_event_new(struct sim *sim, enum sim_event_kind kind, uint64_t delay_ns);
void sim_post(struct sim *sim, struct sim_event *event);
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
noreturn void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t sim_about(struct rng *rng,
                   uint64_t mean); /* exponential-like around the mean, at least 1 */

/* ---- stats.c ---- */
struct sim_stats { /* summed over all seeds of a run of the program */
    _Atomic uint64_t seeds, events, slots, commands, virtual_ms;
    _Atomic uint64_t actions[SIM_ACTION_KINDS];
    _Atomic uint64_t lost, doubled, late, flipped, torn, snapshots, reborn, members;
    _Atomic uint64_t damaged_records, lost_records, amnesic, forgotten;
    _Atomic uint64_t marks[COVER_COUNT]; /* seeds that went through them */
};
extern struct sim_stats *sim_stats; /* shared by all processes */
void sim_stats_init(void);
void sim_stats_add_marks(void);    /* of this process, which ran one seed */
unsigned sim_stats_unmarked(void); /* names the marks no seed went through; their number */
void sim_stats_print(void);

/* ---- net.c ---- */
void sim_net_send(struct sim *sim, struct paxos_message *message);
void sim_net_deliver(struct sim *sim, struct sim_event *event);
/* How long a client's request or reply takes; 0 = it is lost. */
uint64_t sim_net_client_delay(struct sim *sim);
bool sim_net_reaches(const struct sim *sim, uint32_t from, uint32_t to); /* both ways, and up */

/* ---- disk.c ---- */
void sim_disk_init(struct sim_disk *disk);
void sim_disk_append(struct sim_node *node, const struct paxos_record *record);
void sim_disk_sync(struct sim_node *node); /* unless a write is in flight */
void sim_disk_synced(struct sim_node *node);
/* power: what was not synced is lost, or only some of it; else the process alone has ended. */
void sim_disk_crash(struct sim_node *node, bool power);
void sim_disk_rot(struct sim_node *node, uint32_t draw);
void sim_disk_wipe(struct sim_node *node);
void sim_disk_fini(struct sim_node *node);
enum paxos_space sim_disk_space(const struct sim_node *node);

/* ---- recover.c ---- */
uint64_t sim_hash_identity(struct span record);
void sim_disk_restore(struct sim_replica *replica);

/* ---- state.c ---- */
void sim_state_apply(struct sim_replica *replica, const struct paxos_chosen *chosen,
                     struct kv_result *results);
void sim_state_flush(struct sim_node *node);
/* The next flush; eager: at once, perhaps. */
void sim_state_schedule(struct sim_node *node, bool eager);
void sim_state_trim(struct sim_replica *replica); /* its checkpoint is durable */
void sim_state_fetch(struct sim_replica *replica, uint32_t from);
void sim_state_fetched(struct sim_replica *replica);

/* ---- node.c ---- */
void sim_node_init(struct sim *sim, uint32_t index);
void sim_node_start(struct sim_node *node);
/* hinted: the peers see its connections break, soon. */
void sim_node_crash(struct sim_node *node, bool power, bool hinted, uint64_t down_ns);
void sim_node_fini(struct sim_node *node);
void sim_node_event(struct sim_node *node, struct sim_event *event);
void sim_node_rearm(struct sim_node *node); /* after anything that may move its ticks */
uint64_t sim_node_clock(const struct sim_node *node);
void sim_node_set_clock(struct sim_node *node, int64_t ppm, uint64_t jump_ns);
struct sim_node *sim_node_of(struct sim *sim, uint32_t id); /* NULL: its disk is gone */
struct sim_event *sim_node_post(struct sim_node *node, enum sim_event_kind kind, uint64_t delay_ns);

/* ---- replica.c ---- */
void sim_replica_start(struct sim_replica *replica);
void sim_replica_stop(struct sim_replica *replica);
void sim_replica_make(struct sim_replica *replica); /* a new one, which waits to be taken in */
void sim_replica_drop(struct sim_replica *replica);
void sim_replica_apply(struct sim_replica *replica); /* all that is queued */
void sim_replica_request(struct sim_replica *replica, const struct kv_command *command);
void sim_replica_propose(struct sim_replica *replica);
void sim_replica_remember(struct sim_replica *replica, uint64_t slot, struct paxos_value *value);
struct sim_replica *sim_leader(struct sim *sim, uint32_t group); /* NULL = none */

/* ---- placer.c ---- */
void sim_place(struct sim *sim, uint32_t group);
void sim_place_confirmed(struct sim_replica *leader, bool leads); /* the answer to drop.cookie */
bool sim_is_placed(struct sim *sim, uint32_t group);

/* ---- workload.c ---- */
void sim_clients_start(struct sim *sim);
void sim_client_wake(struct sim *sim, uint32_t client, uint64_t attempt);
void sim_client_reply(struct sim *sim, const struct sim_event *event);
void sim_reply(struct sim *sim, const struct kv_command *command, struct kv_result result);

/* ---- nemesis.c ---- */
void sim_nemesis_start(struct sim *sim);
void sim_nemesis_act(struct sim *sim, const struct sim_action *action);
void sim_nemesis_hint(struct sim *sim, uint32_t node, uint32_t gone);
void sim_heal(struct sim *sim); /* everything works from now on */

/* ---- truth.c ---- */
struct sim_vote {
    struct ballot ballot;
    uint8_t digest[PAXOS_DIGEST];
    bool config;
    uint32_t voter_count;
    struct paxos_member voters[SIM_VOTERS_MAX]; /* past members, too */
};

struct sim_slot {
    bool chosen;
    uint8_t digest[PAXOS_DIGEST];
    struct sim_vote *votes;
    uint32_t vote_count;
    uint64_t state; /* digest of the reference after it */
    uint64_t values[KV_KEYS];
    uint64_t versions[KV_KEYS];
};

struct sim_history { /* of a group */
    struct sim_slot *slots;
    uint64_t room;
    uint64_t chosen_upto;         /* without gap */
    struct kv kv;                 /* the reference */
    uint64_t seen;                /* the newest slot an answer has shown */
    struct paxos_config *configs; /* by slot */
    uint32_t config_count;
};

void sim_truth_init(struct sim *sim);
void sim_truth_fini(struct sim *sim);
struct sim_history *sim_history(struct sim *sim, uint32_t group);
struct sim_slot *sim_slot_at(struct sim *sim, uint32_t group, uint64_t slot);
/* The configuration that governs the slot, as far as is chosen. */
const struct paxos_config *sim_config_for(struct sim *sim, uint32_t group, uint64_t slot);
struct sim_vote *sim_vote_of(struct sim_slot *slot, struct ballot ballot);
bool sim_voted(const struct sim_vote *vote, uint32_t node, uint32_t born);
/* Durably, ever. */
struct ballot *sim_promised(struct sim *sim, uint32_t group, uint32_t node, uint32_t born);
void sim_truth_record(struct sim_node *node, const struct paxos_record *record);

/* ---- checkers.c ---- */
void sim_check_restored(struct sim_replica *replica);
void sim_check_send(struct sim *sim, const struct paxos_message *message);
void sim_check_applied(struct sim_replica *replica, const struct paxos_chosen *chosen);
void sim_check_leads(struct sim_replica *replica, const struct paxos_status *status);
void sim_check_trim(struct sim_replica *replica, uint64_t slot);
void sim_check_invoked(struct sim *sim, struct sim_client *client);
void sim_check_answered(struct sim *sim, struct sim_client *client, struct kv_result result);

/* ---- liveness.c ---- */
/* NULL once all replicas are equal, where they are wanted, each group has a leader and all clients
 * are answered; else what is amiss. */
const char *sim_unrest(struct sim *sim);
/* At rest a follower is cut off for a while; when it is back it must not lead. False:
 * there is nobody to cut off. */
struct sim_trial {
    struct ballot ballot;
    uint32_t victim;
};
bool sim_trial_begin(struct sim *sim, struct sim_trial *trial);
void sim_trial_mend(struct sim *sim);
void sim_trial_end(struct sim *sim, const struct sim_trial *trial);

#endif
