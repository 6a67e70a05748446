/* The inside of the meta role: what its threads share. Nobody outside this folder includes it.
 *
 *   request threads --call--> mailbox -> replica thread: core/drive of all groups
 *   peers' handlers --message--^   ^         |append     |send            |apply
 *                                  |        wal     peers (rpc)        applier thread -> store
 *                                  +--durable-+                           |
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
#include "meta/replicas.h"
#include "meta/slots.h"
#include "meta/state.h"
#include "os/kv.h"
#include "wal/wal.h"

#define GROUPS_MAX PLACE_GROUPS_MAX
#define WAITING_MAX 8192u /* commands of a group not yet proposed */
#define WAITING_BYTES_MAX ((size_t)64 << 20)

struct group {
    struct meta *meta;
    uint32_t number;
    /* The applier's. */
    struct catalog *catalog;
    struct state_applied state;

    /* The replica thread's. */
    struct drive *drive; /* NULL: this node has no replica of the group */
    uint32_t drive_born;
    struct list waiting; /* struct call */
    uint32_t waiting_count;
    size_t waiting_bytes;
    struct list proposals; /* proposed and not chosen */
    uint32_t in_flight;    /* their number */
    struct list reads;     /* struct call: asked and not answered */
    struct slots slots;
    uint64_t last_slot;    /* of any record in the log */
    uint64_t applied_told; /* to the drive */
    uint64_t check_told;
    bool wants_state;     /* nothing is chosen until it comes */
    uint64_t durable_seq; /* to tell the drive; 0 = nothing new */

    /* Published by the replica thread, but for applied: by the applier. */
    atomic_uint leader;
    atomic_bool leads;
    atomic_bool votes;
    atomic_bool read_free;
    atomic_bool full; /* leads, and no quorum has room for what users write */
    _Atomic uint64_t ballot_round;
    _Atomic uint64_t chosen_upto;
    _Atomic uint64_t applied;
    _Atomic uint64_t flushed;   /* of applied, what the state store holds durably; the keeper's */
    atomic_uint space;          /* of the state: catalog_space */
    atomic_bool hosted;         /* there is a drive */
    atomic_bool receiving;      /* a state for it, into the other space */
    atomic_bool erasing;        /* the state of a dropped replica is still being removed */
    pthread_mutex_t mutex;      /* of the rest */
    struct paxos_config config; /* the newest known */
    struct paxos_check check;   /* the state's newest */
};

/* A record on its way to the disk. */
struct pending {
    uint64_t lsn;
    uint64_t write_seq;
    uint32_t group;
    uint32_t born;
};

#define PEERS_MAX 256u

struct peers {
    pthread_mutex_t mutex;
    uint32_t count;
    struct peer *list[PEERS_MAX];
};

/* Of the state store. */
struct damage {
    atomic_bool known;
    pthread_mutex_t mutex;       /* of the next two, until they are known */
    struct err why;              /* code 0: there is none */
    uint64_t wanted[GROUPS_MAX]; /* slots that others must hold to make it anew */
    uint64_t sparable_since_ns;  /* 0: it is not; the scrubber's */
};

struct meta {
    char *dir;
    struct rpc_identity identity;
    struct rpc_client *client;
    uint32_t boot;
    uint64_t keep_bytes;
    uint32_t group_count;
    struct group *groups;
    struct replicas replicas;
    pthread_mutex_t host_mutex; /* one replica at a time is made or dropped */
    struct kv *kv;
    struct wal *wal;
    struct mailbox mailbox;
    struct applier applier;
    struct peers peers;

    /* The replica thread's. */
    pthread_t replica;
    struct pending *pending; /* a ring of pending_room entries, a power of 2 */
    uint64_t pending_room;
    uint64_t pending_first;
    uint64_t pending_end;
    uint64_t last_lsn;
    uint64_t durable_lsn;
    uint64_t round_ns; /* when commands were last proposed */
    uint64_t replayed; /* items of the log at the start */
    bool alone;        /* nobody else has what this node loses */
    struct list trims; /* calls that wait for their checkpoints */

    pthread_mutex_t watch_mutex; /* of the next two: meta_watch_leaders */
    void (*leader_changed)(void *context, uint32_t group, uint32_t leader);
    void *leader_context;

    struct server_of_slots *slot_server;
    enum paxos_space space; /* as last told; the keeper's */
    struct keeper *keeper;
    struct scrub *scrub;
    struct damage damage;
    struct members *members;
    struct placer *placer;
    struct fetcher *fetcher;
    struct map_cache *maps;
};

/* ---- restore.c: what was known before the start ---- */

/* Recovers the groups from state store and log, and opens the latter. */
int replica_recover(struct meta *meta, const struct place_map *genesis, uint64_t segment_bytes,
                    struct err *err);

/* ---- replica.c: the thread that owns the groups ---- */

void replica_start(struct meta *meta);
void replica_stop(struct meta *meta); /* everything waiting is answered ERR_SHUTDOWN */
void replica_fini(struct meta *meta); /* after the log was closed */
/* For restore.c: what a drive's decisions do; a record in the log; the applied slot is told. */
struct drive_io replica_io(struct group *group);
void replica_note_slot(struct group *group, uint64_t slot, uint64_t lsn);
void replica_tell_applied(struct group *group, uint64_t now_ns);
void replica_publish_leader(struct group *group, uint32_t leader);

/* ---- host.c: replicas come and go ---- */

/* The replica is not to be used any more, nor its state. At the start, before the threads are. */
int host_give_up(struct group *group, struct err *err);
/* Ends what the replica thread has of a group's replica; its state stays. */
void host_fini(struct group *group);
/* A replica of the group on this node, unless there is one; *ret_born is its birth. ERR_BUSY: the
 * one before is still being removed. Not the replica thread. */
int host_make(struct meta *meta, uint32_t group, uint32_t *ret_born, struct err *err);
/* The catalogue of a state as it is in the store. Not of one that is being changed. */
int host_open_catalog(struct meta *meta, uint32_t space, struct catalog **ret_catalog,
                      struct err *err);
/* Unless it is another one by now. What it had promised and voted for is gone: only for one that is
 * out of the configuration for good. Not the replica thread. */
int host_drop(struct meta *meta, uint32_t group, uint32_t born, struct err *err);
/* The replica thread's part, for calls of the kinds MAKE, DROP, VIEW, CHANGE and TRANSFER. */
void host_take_call(struct group *group, struct call *call, uint64_t now_ns);

enum host_install { HOST_INSTALL_BEGIN, HOST_INSTALL_DONE, HOST_INSTALL_FAILED };

/* What the leader of a group knows of its members: the reply of a CALL_VIEW. */
struct host_view {
    struct paxos_config config;
    uint64_t lags[PAXOS_MEMBERS_MAX];
    bool settled;
};

/* ---- snapshot.c: the state of a group from another node ---- */

void fetcher_start(struct meta *meta);
void fetcher_stop(struct meta *meta);
/* Replica thread: the core wants the group's state as of slot or later from node. */
void fetcher_want(struct group *group, const struct paxos_fetch *fetch);
/* The handler of RPC_META_SNAPSHOT. */
int snapshot_serve(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body);

/* ---- placer.c: leaders move their groups to where the map wants them ---- */

void placer_start(struct meta *meta);
void placer_stop(struct meta *meta);

/* ---- peers.c ---- */

void peers_init(struct peers *peers);
void peers_stop(struct peers *peers);
/* Made if need be; NULL only beyond PEERS_MAX. Not for this node. Any thread. */
struct peer *peers_get(struct meta *meta, uint32_t node);
struct peer *peers_find(struct meta *meta, uint32_t node); /* NULL when there is none */
void peers_flush(struct meta *meta);
void peers_send_flushed(struct meta *meta);

/* ---- propose.c: calls become slots, slots become answers ---- */

void propose_call(struct group *group, struct call *call, uint64_t now_ns);
void propose_waiting(struct group *group, uint64_t now_ns);
/* When the commands that wait in all groups may be proposed. */
uint64_t propose_round_ns(const struct meta *meta);
void propose_config(struct group *group, const struct paxos_config *config, uint64_t now_ns);
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
/* The record cannot be read any more: all up to it goes from the log as soon as the state store
 * holds it, whoever lags. Any thread. */
void keeper_note_damage(struct meta *meta, uint64_t lsn);

/* ---- scrub.c: what the state store and the log hold is read before it is needed ---- */

void scrub_start(struct meta *meta);
void scrub_stop(struct meta *meta);

/* ---- damage.c: a state store that is damaged ---- */

void damage_init(struct damage *damage);
/* It is; context is the struct meta. Any thread; the first is heeded. */
void damage_note(void *context, const struct err *why);
bool damage_is_known(struct meta *meta);
/* And others have what the store holds: it is not written to any more. */
bool damage_is_final(struct meta *meta);
/* Ends the process once the other nodes can do without the store. The scrubber's thread. */
void damage_look(struct meta *meta);
/* At the start, before the threads are: waits until they can; ERR_CORRUPT when they cannot. */
int damage_await_others(struct meta *meta, struct err *err);

/* ---- disk.c: room and speed of the disk ---- */

struct disk_report {
    enum paxos_space space;
    uint32_t sync_us; /* a write to the log, of late */
};
/* Tells the groups. False when nothing should be flushed but what must be. The keeper's thread. */
bool disk_look(struct meta *meta);

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
/* ERR_INVALID: there is no such group. */
int meta_local_check_group(const struct meta *meta, uint32_t group, struct err *err);
/* Whether the command may be proposed: the like, ERR_LIMIT, ERR_NOSPACE. */
int meta_local_check_submit(const struct meta *meta, uint32_t group, struct span command,
                            struct err *err);
/* As this replica has it, which may be old. */
int meta_local_stale_query(struct meta *meta, uint32_t group, struct span query,
                           struct buf *ret_reply, struct err *err);
/* A command of this node's own, in a group that it leads. Sent once, and errors are for the
 * caller's next look to mend: what is still wanted then is proposed anew. */
void meta_local_command(struct meta *meta, uint32_t group, Pb__Command *command,
                        uint64_t deadline_ns);
uint64_t meta_local_applied(const struct meta *meta, uint32_t group); /* slot */
uint32_t meta_local_leader(const struct meta *meta, uint32_t group);  /* 0 = unknown */
bool meta_local_leads(const struct meta *meta, uint32_t group);
/* Whenever another node leads a group here, or none is known to (0), the function is called, in the
 * replica thread. NULL: no longer, once this returns. */
void meta_watch_leaders(struct meta *meta,
                        void (*changed)(void *context, uint32_t group, uint32_t leader),
                        void *context);
/* A moment of the group's state, and where in the store it is. */
struct kv_snapshot *state_snapshot(struct meta *meta, uint32_t group, uint32_t *ret_space);

/* ---- remote.c: calls of another node, many under way at once ---- */

/* The handler of RPC_META_CALLS (meta/channel.h is the other end). */
int remote_serve(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body);

/* ---- server.c: what other nodes ask ---- */

void server_add_handlers(struct meta *meta, struct rpc_server *server);

/* This node has a replica of the group. Any thread. */
static inline bool meta_hosts(const struct meta *meta, uint32_t group) {
    return group < meta->group_count && atomic_load(&meta->groups[group].hosted);
}
/* A copy. Any thread. */
struct paxos_config meta_config(struct meta *meta, uint32_t group);

#endif
