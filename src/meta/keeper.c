/* The keeper flushes the state store now and then, tells the other voters what it holds, and trims
 * the log below what all of them hold: a voter that was away finds what it missed. Beyond
 * meta->keep_bytes, and when the disk is short of room, it is not waited for: it fetches the state
 * itself. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/call.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "os/clock.h"
#include "os/space.h"

#define LOOK_MS 500
#define FLUSH_MS 5000                    /* at least so often while there are writes, */
#define FLUSH_BYTES ((uint64_t)64 << 20) /* or after so much log */

#define POINTS_MAX 128u
#define TRIM_WAIT_MS 10000

/* Records up to lsn are of no slot above last_slot[group]. */
struct point {
    uint64_t lsn;
    uint64_t last_slot[GROUPS_MAX];
};

struct keeper {
    struct meta *meta;
    pthread_t thread;
    uint64_t flushed_ns;
    uint64_t flushed_lsn;            /* appended when it was last flushed */
    uint64_t flushed_bytes;          /* live then */
    bool warned;                     /* that a laggard is given up */
    _Atomic uint64_t damaged_lsn;    /* a record that must go; 0 = none */
    uint64_t outrun_lsn;             /* the like, since when the log goes on in another segment */
    struct point points[POINTS_MAX]; /* by lsn */
    uint32_t point_count;
    pthread_mutex_t mutex; /* of stopping */
    pthread_cond_t stopped;
    bool stopping;
};

/* When there are too many points, every second one goes. */
void keeper_note_point(struct meta *meta) {
    struct keeper *keeper = meta->keeper;
    if (keeper->point_count == POINTS_MAX) {
        for (uint32_t i = 0; i < POINTS_MAX / 2; i++)
            keeper->points[i] = keeper->points[2 * i + 1];
        keeper->point_count = POINTS_MAX / 2;
    }
    struct point *point = &keeper->points[keeper->point_count++];
    point->lsn = meta->last_lsn;
    for (uint32_t g = 0; g < meta->group_count; g++)
        point->last_slot[g] = meta->groups[g].last_slot;
}

static int ask_replica(struct meta *meta, enum call_kind kind, struct span command,
                       uint64_t deadline_ns) {
    struct call *call = call_new(kind, META_ROOT, command);
    mailbox_post_call(&meta->mailbox, call);
    int r = call_wait(call, deadline_ns);
    call_unref(call);
    return r;
}

/* The store is flushed; what it then holds is published and told to the peers. */
static int flush(struct keeper *keeper) {
    struct meta *meta = keeper->meta;
    struct err err = {0};
    uint64_t applied[GROUPS_MAX];
    for (uint32_t g = 0; g < meta->group_count; g++)
        applied[g] = atomic_load(&meta->groups[g].applied);
    int r = kv_flush(meta->kv, &err);
    if (r != 0 && !damage_is_final(meta))
        space_panic(&err, "the catalogue");
    for (uint32_t g = 0; r == 0 && g < meta->group_count; g++)
        atomic_store(&meta->groups[g].flushed, applied[g]);
    return r;
}

/* What every member's store holds of the group; what this node's holds when the log has grown too
 * long. */
static uint64_t floor_of(struct meta *meta, uint32_t group, bool alone) {
    if (!meta_hosts(meta, group))
        return UINT64_MAX;
    uint64_t floor = atomic_load(&meta->groups[group].flushed);
    struct paxos_config config = meta_config(meta, group);
    for (uint32_t i = 0; i < config.count && !alone; i++) {
        if (config.members[i].node == meta->identity.node_id)
            continue;
        const struct peer *peer = peers_find(meta, config.members[i].node);
        uint64_t slot = peer != NULL ? peer_flushed(peer, group) : 0;
        floor = slot < floor ? slot : floor;
    }
    return floor;
}

static bool is_below(struct keeper *keeper, const struct point *point, bool alone) {
    uint32_t g = 0, count = keeper->meta->group_count;
    while (g < count && point->last_slot[g] <= floor_of(keeper->meta, g, alone))
        g++;
    return g == count;
}

static const struct point *point_below(struct keeper *keeper, bool alone) {
    for (uint32_t i = keeper->point_count; i-- > 0;)
        if (is_below(keeper, &keeper->points[i], alone))
            return &keeper->points[i];
    return NULL;
}

/* What was logged when it was flushed last; if not all of it was applied then, it is due again. */
static uint64_t flushed_lsn(struct keeper *keeper, uint64_t appended_lsn) {
    uint32_t count = keeper->point_count;
    return count > 0 && is_below(keeper, &keeper->points[count - 1], true) ? appended_lsn : 0;
}

static void points_drop(struct keeper *keeper, uint64_t lsn) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < keeper->point_count; i++)
        if (keeper->points[i].lsn > lsn)
            keeper->points[kept++] = keeper->points[i];
    keeper->point_count = kept;
}

static int checkpoint(struct meta *meta, const uint64_t *dropped_slots) {
    struct span slots = {(const char *)dropped_slots, meta->group_count * sizeof *dropped_slots};
    return ask_replica(meta, CALL_TRIM, slots, clock_deadline_ms(TRIM_WAIT_MS));
}

void keeper_note_damage(struct meta *meta, uint64_t lsn) {
    atomic_store(&meta->keeper->damaged_lsn, lsn);
}

/* Checkpoints in a segment of their own: the one that is damaged may be the last, of a node that
 * has nothing to write. */
static void outrun_damage(struct keeper *keeper) {
    static const uint64_t none[GROUPS_MAX];
    uint64_t lsn = atomic_load(&keeper->damaged_lsn);
    if (lsn == keeper->outrun_lsn)
        return;
    wal_begin_segment(keeper->meta->wal);
    if (checkpoint(keeper->meta, none) == 0)
        keeper->outrun_lsn = lsn;
}

static void trim(struct keeper *keeper) {
    struct meta *meta = keeper->meta;
    struct wal_status status;
    wal_get_status(meta->wal, &status);
    bool damaged = status.oldest_lsn <= atomic_load(&keeper->damaged_lsn);
    bool alone = status.live_bytes > meta->keep_bytes || meta->space != PAXOS_SPACE_GOOD || damaged;
    const struct point *point = point_below(keeper, alone);
    if (point == NULL || status.trimmable_lsn == 0 || status.trimmable_lsn > point->lsn)
        return;
    if (alone && !keeper->warned && !damaged)
        log_info("the log of %llu MiB is trimmed: a voter that was away for long will fetch the "
                 "state instead",
                 (unsigned long long)(status.live_bytes >> 20));
    keeper->warned = alone;
    uint64_t lsn = point->lsn;
    if (checkpoint(meta, point->last_slot) != 0)
        return; /* later */
    struct err err = {0};
    if (replicas_set_trimmed(&meta->replicas, point->last_slot, meta->group_count, &err) != 0)
        space_panic(&err, "the catalogue");
    wal_trim(meta->wal, lsn);
    points_drop(keeper, lsn);
}

static void look(struct keeper *keeper) {
    struct meta *meta = keeper->meta;
    struct wal_status status;
    wal_get_status(meta->wal, &status);
    uint64_t now_ns = clock_now_ns();
    bool may_flush = disk_look(meta);
    bool due = status.live_bytes - keeper->flushed_bytes >= FLUSH_BYTES ||
               now_ns - keeper->flushed_ns >= FLUSH_MS * NS_PER_MS;
    if (!due || !may_flush)
        return;
    keeper->flushed_ns = now_ns;
    if (damage_is_final(meta)) { /* the log alone is good from here on */
        peers_send_flushed(meta);
        return;
    }
    outrun_damage(keeper);
    wal_get_status(meta->wal, &status);
    if (status.appended_lsn != keeper->flushed_lsn &&
        ask_replica(meta, CALL_POINT, (struct span){0}, DEADLINE_NONE) == 0) {
        if (flush(keeper) != 0)
            return;
        keeper->flushed_lsn = flushed_lsn(keeper, status.appended_lsn);
    }
    peers_send_flushed(meta);
    trim(keeper);
    wal_get_status(meta->wal, &status);
    keeper->flushed_bytes = status.live_bytes;
}

static void *keep(void *argument) {
    struct keeper *keeper = argument;
    pthread_setname_np(pthread_self(), "keeper");
    pthread_mutex_lock(&keeper->mutex);
    while (!keeper->stopping) {
        if (clock_cond_wait(&keeper->stopped, &keeper->mutex, clock_deadline_ms(LOOK_MS)))
            continue;
        pthread_mutex_unlock(&keeper->mutex);
        look(keeper);
        pthread_mutex_lock(&keeper->mutex);
    }
    pthread_mutex_unlock(&keeper->mutex);
    return NULL;
}

void keeper_start(struct meta *meta) {
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL)
        panic("out of memory for the keeper");
    keeper->meta = meta;
    keeper->flushed_ns = clock_now_ns();
    pthread_mutex_init(&keeper->mutex, NULL);
    clock_cond_init(&keeper->stopped);
    meta->keeper = keeper;
    if (pthread_create(&keeper->thread, NULL, keep, keeper) != 0)
        panic("cannot start the keeper's thread");
}

void keeper_stop(struct meta *meta) {
    struct keeper *keeper = meta->keeper;
    if (keeper == NULL)
        return;
    pthread_mutex_lock(&keeper->mutex);
    keeper->stopping = true;
    pthread_cond_signal(&keeper->stopped);
    pthread_mutex_unlock(&keeper->mutex);
    pthread_join(keeper->thread, NULL);
    free(keeper);
    meta->keeper = NULL;
}
