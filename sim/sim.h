/* The simulator's world: nodes that run the shipped core over fake disks and a fake network,
 * clients, faults, checkers; one thread, virtual time, every decision drawn from the seed.
 * doc/sim.md tells how to use it.
 *
 *   options.c   what a seed's world is like          net.c       delays, losses, partitions
 *   world.c     time, the event heap, the trace      disk.c      the log of a node and what a crash
 * leaves of it node.c      a node: drives, state, crash, start  workload.c  clients that read,
 * write and compare-and-set faults.c    who crashes and is cut off when      kv.c        the state
 * machine checkers.c  what must hold at every step and at the end
 */
#ifndef QUERN_SIM_SIM_H
#define QUERN_SIM_SIM_H

#include <stdnoreturn.h>

#include "base/assert.h"
#include "base/rng.h"
#include "core/drive.h"
#include "sim/kv.h"

#define SIM_NODES_MAX 5u
#define SIM_GROUPS_MAX 3u
#define SIM_BATCH_MAX 16u
#define SIM_PENDING_MAX 64u
#define SIM_US 1000ull
#define SIM_MS 1000000ull

/* X(name, lowest, highest, how many of 100 seeds have it at all; the others have 0) */
#define SIM_OPTIONS(X)                                                                             \
    X(groups, 1, SIM_GROUPS_MAX, 100)                                                              \
    X(clients, 2, SIM_CLIENTS_MAX, 100)                                                            \
    X(horizon_ms, 5000, 60000, 100)                                                                \
    X(think_us, 100, 20000, 100) /* mean pause of a client */                                      \
    X(read_percent, 10, 60, 90)                                                                    \
    X(big_ppm, 10000, 500000, 15) /* of 64 ms in which commands fill a slot */                     \
    X(delay_us, 50, 3000, 100)    /* mean, of a message */                                         \
    X(loss_ppm, 1000, 200000, 60)                                                                  \
    X(dup_ppm, 1000, 200000, 60)                                                                   \
    X(spike_ppm, 1000, 50000, 60)        /* messages that come up to 300 ms late */                \
    X(partition_ms, 200, 3000, 60)       /* mean time between them */                              \
    X(reset_ms, 100, 3000, 50)           /* mean time between crash hints without a crash */       \
    X(sync_us, 50, 3000, 100)            /* mean, of a write to the disk */                        \
    X(stall_ppm, 100, 5000, 40)          /* writes that take a second */                           \
    X(crash_ms, 200, 4000, 70)           /* mean time between crashes */                           \
    X(crash_at_sync_ppm, 100, 10000, 40) /* writes that end in a crash nobody is told of */        \
    X(tear_percent, 10, 100, 50)         /* crashes that leave half a record */                    \
    X(leader_percent, 10, 90, 60)        /* crashes and cuts aimed at a leader */                  \
    X(flush_ms, 50, 2000, 90)            /* mean time between flushes of the state store */        \
    X(apply_us, 10, 2000, 70)                                                                      \
    X(recent_kib, 1, 64, 60) /* chosen values in memory */

struct sim_options {
    uint64_t seed;
    uint64_t nodes;
#define X(name, low, high, percent) uint64_t name;
    SIM_OPTIONS(X)
#undef X
};

enum sim_event_kind {
    SIM_TICK,
    SIM_DELIVER,
    SIM_SYNCED,
    SIM_APPLY,
    SIM_PROPOSE,
    SIM_FLUSH, /* of a node's life */
    SIM_REQUEST,
    SIM_REPLY,
    SIM_CLIENT,
    SIM_CRASH,
    SIM_RESTART,
    SIM_PARTITION,
    SIM_HEAL,
    SIM_RESET
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
    uint32_t group;
    uint64_t write_seq;
    bool trimmed; /* not read at start any more; a laggard may still be served from it */
    struct buf bytes;
};

struct sim_disk {
    struct sim_record *records;
    uint32_t count, room;
    uint32_t durable;
    uint32_t syncing; /* the write in flight ends here; 0 = none */
};

/* ---- node ---- */

struct sim_batch { /* commands proposed together; their clients wait */
    uint64_t cookie;
    uint32_t count;
    struct kv_command commands[SIM_BATCH_MAX];
};

struct sim_group { /* of a node */
    struct drive *drive;
    struct kv kv;
    struct kv flushed;  /* what the state store holds durably */
    uint64_t flush_seq; /* checkpoint that lets the log be trimmed to trim_upto */
    uint64_t trim_upto;
    uint32_t trim_before; /* records before this index of the log */
    struct kv_command pending[SIM_PENDING_MAX];
    uint32_t pending_count;
    struct sim_batch batches[PAXOS_WINDOW * 2];
    struct paxos_chosen queue[1024]; /* [queue_head, queue_tail) wait to be applied */
    uint64_t queue_head, queue_tail;
    struct paxos_value **values; /* the last record of each slot */
    uint64_t value_room;
};

struct sim_node {
    struct sim *sim;
    uint32_t index;
    uint32_t life;
    uint32_t boot;
    bool up;
    uint64_t tick_at_ns;
    bool apply_scheduled;
    bool propose_scheduled;
    struct sim_disk disk;
    struct sim_group groups[SIM_GROUPS_MAX];
    struct sim_context { /* a drive's */
        struct sim_node *node;
        uint32_t group;
    } contexts[SIM_GROUPS_MAX];
};

/* ---- clients ---- */

struct sim_client {
    bool busy;
    struct kv_command command;
    uint64_t attempt;
    uint32_t target;
    uint64_t floor; /* the newest slot any client had seen of the group when this command was first
                       sent */
    uint64_t position;         /* slot of the command in the reference order; 0 = none yet */
    struct kv_result expected; /* of the reference, once it has a position */
    uint64_t seen;             /* the value it last saw, for compare-and-set */
    uint64_t done;
};

struct sim_truth;

struct sim {
    struct sim_options options;
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
    struct rng net, disk, crash, work, timers;
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to */
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX];
    struct sim_truth *truth;
};

/* ---- options.c ---- */
void sim_options_draw(struct sim_options *options, uint64_t seed);
void sim_options_print(const struct sim_options *options);

/* ---- world.c ---- */
/* Runs a seed to its end; a failure is printed and ends the process with 1. Returns the trace's
 * hash. */
uint64_t sim_run(const struct sim_options *options, bool verbose);
struct sim_event *sim_event_new(struct sim *sim, enum sim_event_kind kind, uint64_t delay_ns);
void sim_post(struct sim *sim, struct sim_event *event);
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
noreturn void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t sim_about(struct rng *rng,
                   uint64_t mean); /* exponential-like around the mean, at least 1 */

/* ---- net.c ---- */
void sim_net_send(struct sim *sim, struct paxos_message *message);
void sim_net_deliver(struct sim *sim, struct sim_event *event);
/* How long a client's request or reply takes; 0 = it is lost. */
uint64_t sim_net_client_delay(struct sim *sim);

/* ---- disk.c ---- */
void sim_disk_append(struct sim_node *node, const struct paxos_record *record);
void sim_disk_synced(struct sim_node *node);
void sim_disk_crash(struct sim_node *node); /* loses what was not synced, or only some of it */
void sim_disk_restore(struct sim_node *node, uint32_t group);
void sim_disk_fini(struct sim_node *node);

/* ---- node.c ---- */
void sim_node_start(struct sim_node *node);
void sim_node_crash(struct sim_node *node, bool hinted);
void sim_node_fini(struct sim_node *node);
void sim_node_event(struct sim_node *node, struct sim_event *event);
void sim_node_apply(struct sim_node *node, uint32_t group); /* all that is queued */
void sim_node_request(struct sim_node *node, const struct kv_command *command);
void sim_node_rearm(struct sim_node *node); /* after anything that may move its ticks */
uint32_t sim_leader(const struct sim *sim, uint32_t group); /* index; options.nodes = none */

/* ---- workload.c ---- */
void sim_clients_start(struct sim *sim);
void sim_client_wake(struct sim *sim, uint32_t client, uint64_t attempt);
void sim_client_reply(struct sim *sim, const struct sim_event *event);
void sim_reply(struct sim *sim, const struct kv_command *command, struct kv_result result);

/* ---- faults.c ---- */
void sim_faults_start(struct sim *sim);
void sim_fault(struct sim *sim, struct sim_event *event);
void sim_heal(struct sim *sim); /* everything works from now on */

/* ---- checkers.c ---- */
void sim_truth_init(struct sim *sim);
void sim_truth_fini(struct sim *sim);
void sim_check_durable(struct sim_node *node, const struct paxos_record *record);
void sim_check_restored(struct sim_node *node, uint32_t group);
void sim_check_send(struct sim *sim, const struct paxos_message *message);
void sim_check_applied(struct sim_node *node, uint32_t group, const struct paxos_chosen *chosen);
void sim_check_invoked(struct sim *sim, struct sim_client *client);
void sim_check_answered(struct sim *sim, struct sim_client *client, struct kv_result result);
/* NULL once all replicas are equal, each group has a leader and all clients are answered; else what
 * is amiss. */
const char *sim_unrest(const struct sim *sim);
uint64_t sim_slots(const struct sim *sim);

#endif
