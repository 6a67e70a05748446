/* The inside of the meta role: what its threads share. Nobody outside this folder includes it.
 *
 *   request threads --call--> mailbox -> replica thread: core/drive of all groups
 *   peers' handlers --message--^   ^         |append     |send            |apply
 *                                  |        wal       peer threads     applier thread -> store
 *                                  +--durable-+          (rpc)            |
 *                                  +--applied-----------------------------+--> calls answered
 *
 * The replica thread never waits for a disk, a socket or the state store. */
#ifndef QUERN_META_ENGINE_H
#define QUERN_META_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/catalog.h"
#include "core/drive.h"
#include "meta/apply.h"
#include "meta/mailbox.h"
#include "meta/map.h"
#include "meta/meta.h"
#include "meta/peer.h"
#include "meta/slots.h"
#include "os/kv.h"
#include "wal/wal.h"

#define GROUPS_MAX PLACE_GROUPS_MAX
#define WAITING_MAX 8192u /* commands of a group not yet proposed */
#define WAITING_BYTES_MAX ((size_t)64 << 20)

struct group {
    struct meta *meta;
    uint32_t number;
    struct catalog *catalog; /* the applier's */

    /* The replica thread's. */
    struct drive *drive;
    struct list waiting; /* struct call */
    uint32_t waiting_count;
    size_t waiting_bytes;
    struct list proposals; /* proposed and not chosen */
    uint32_t in_flight;    /* their number */
    struct list reads;     /* struct call: asked and not answered */
    struct slots slots;
    uint64_t last_slot;    /* of any record in the log */
    uint64_t applied_told; /* to the drive */
    uint64_t durable_seq;  /* to tell the drive; 0 = nothing new */

    /* Published by the replica thread, but for applied: by the applier. */
    atomic_uint leader;
    atomic_bool leads;
    atomic_bool read_free;
    _Atomic uint64_t ballot_round;
    _Atomic uint64_t chosen_upto;
    _Atomic uint64_t applied;
};

/* A record on its way to the disk. */
struct pending {
    uint64_t lsn;
    uint64_t write_seq;
    uint32_t group;
};

struct meta {
    char *dir;
    struct rpc_identity identity;
    struct rpc_client *client;
    uint32_t boot;
    uint32_t group_count;
    uint32_t voter_count;
    uint32_t voters[PLACE_VOTERS_MAX];
    struct group *groups;
    struct kv *kv;
    struct wal *wal;
    struct mailbox mailbox;
    struct applier applier;
    struct peer *peers[PLACE_VOTERS_MAX]; /* NULL for this node */

    /* The replica thread's. */
    pthread_t replica;
    struct pending *pending; /* a ring of pending_room entries, a power of 2 */
    uint64_t pending_room;
    uint64_t pending_first;
    uint64_t pending_end;
    uint64_t last_lsn;
    uint64_t durable_lsn;
    struct list trims; /* calls that wait for their checkpoints */

    struct server_of_slots *slot_server;
    struct keeper *keeper;
    struct members *members;

    _Atomic uint64_t heard_ns[PLACE_VOTERS_MAX]; /* a message came from the voter */
    _Atomic uint64_t
        flushed[PLACE_VOTERS_MAX][GROUPS_MAX]; /* slots its state store holds durably, as it said */

    struct map_cache maps;
};

/* ---- restore.c: what was known before the start ---- */

/* Recovers the groups from state store and log, and opens the latter. */
int replica_recover(struct meta *meta, struct err *err);

/* ---- replica.c: the thread that owns the groups ---- */

void replica_start(struct meta *meta);
void replica_stop(struct meta *meta); /* everything waiting is answered ERR_SHUTDOWN */
void replica_fini(struct meta *meta); /* after the log was closed */
/* For restore.c: what a drive's decisions do; a record in the log; the applied slot is told. */
struct drive_io replica_io(struct group *group);
void replica_note_slot(struct group *group, uint64_t slot, uint64_t lsn);
void replica_tell_applied(struct group *group, uint64_t now_ns);

/* ---- propose.c: calls become slots, slots become answers ---- */

void propose_call(struct group *group, struct call *call, uint64_t now_ns);
void propose_waiting(struct group *group, uint64_t now_ns);
void propose_fail_waiting(struct group *group, int code);
void propose_fail_all(struct group *group, int code); /* proposed ones as well */
void propose_done(struct group *group, const struct paxos_result *result);
void propose_forget(struct group *group, struct proposal *proposal); /* it was chosen */

/* ---- serve.c: old slots are read from the log for peers that lag ---- */

void slot_server_start(struct meta *meta);
void slot_server_stop(struct meta *meta);
/* Replica thread. Dropped when busy: the peer asks again. */
void slot_server_ask(struct group *group, const struct paxos_serve *serve);

/* ---- keeper.c: the state store is flushed, the log trimmed ---- */

void keeper_start(struct meta *meta);
void keeper_stop(struct meta *meta);
/* A point of the log: records up to lsn are of no slot above last_slot[group]. */
void keeper_note_point(struct meta *meta); /* replica thread, for a CALL_POINT */

/* ---- members.c: who is up, and the cluster map ---- */

void members_start(struct meta *meta);
void members_stop(struct meta *meta);

/* ---- local.c: the catalogue through this node's replica ---- */

/* ERR_NOT_LEADER, ERR_BUSY, ERR_TIMEOUT (indeterminate), ERR_LIMIT, ERR_SHUTDOWN, or 0 with a
 * packed Reply appended. */
int meta_local_submit(struct meta *meta, uint32_t group, struct span command, uint64_t deadline_ns,
                      struct buf *ret_reply, struct err *err);
int meta_local_query(struct meta *meta, uint32_t group, struct span query, uint64_t deadline_ns,
                     struct buf *ret_reply, struct err *err);
/* As this replica has it, which may be old. */
int meta_local_stale_query(struct meta *meta, uint32_t group, struct span query,
                           struct buf *ret_reply, struct err *err);
uint32_t meta_local_leader(const struct meta *meta, uint32_t group); /* 0 = unknown */
bool meta_local_leads(const struct meta *meta, uint32_t group);

/* ---- server.c: what other nodes ask ---- */

void server_add_handlers(struct meta *meta, struct rpc_server *server);

/* Index of a voter by node id; voter_count when it is none. */
static inline uint32_t meta_voter(const struct meta *meta, uint32_t node) {
    uint32_t i = 0;
    while (i < meta->voter_count && meta->voters[i] != node)
        i++;
    return i;
}

#endif
