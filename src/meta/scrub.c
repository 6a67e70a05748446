/* Once a day all that lies at rest of the catalogue is read: the state store, then the log. What is
 * damaged there is harmless while nobody needs it and other nodes have it, so it is to go now:
 *
 * - a state store is made anew, from the other nodes, by the next start. The process ends for that,
 *   but not before a quorum of each group can do without this replica: two nodes may find damage on
 *   the same day. (Who has to read the place ends at once, RocksDB's compaction too.)
 * - the damaged part of the log is trimmed, once the state store holds what it said. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/engine.h"
#include "os/clock.h"
#include "os/scrubber.h"

#define PERIOD_MS ((uint64_t)24 * 3600 * 1000)
#define HEARD_MS 3000u     /* a peer that works says something every few milliseconds */
#define SPARABLE_MS 15000u /* so long without a doubt: peers tell every 5 s what they hold */

struct scrub {
    struct meta *meta;
    struct scrubber *scrubber;
    bool in_log;
    struct buf position; /* in the state store */
    struct wal_reader reader;
    uint64_t next_lsn;
    uint64_t damaged_lsn;        /* 0: none that is known */
    struct err corrupt;          /* the state store; code 0: it is not */
    uint64_t wanted[GROUPS_MAX]; /* slots that others must hold to make it anew */
    uint64_t sparable_since_ns;  /* 0: it is not */
};

/* ---- a state store that is damaged ---- */

static bool holds(struct meta *meta, uint32_t node, uint32_t group, uint64_t slot) {
    const struct peer *peer = peers_find(meta, node);
    return peer != NULL && peer_flushed(peer, group) >= slot &&
           peer_heard_ns(peer) + HEARD_MS * NS_PER_MS >= clock_now_ns();
}

/* The group's other voters are a quorum, and hold what the store here does. */
static bool is_sparable(struct scrub *scrub, uint32_t group) {
    struct meta *meta = scrub->meta;
    struct paxos_config config = meta_config(meta, group);
    uint32_t count = 0;
    for (uint32_t i = 0; i < config.count; i++) {
        const struct paxos_member *member = &config.members[i];
        count += member->voter && member->node != meta->identity.node_id &&
                 holds(meta, member->node, group, scrub->wanted[group]);
    }
    return !meta_hosts(meta, group) || count > paxos_config_voters(&config) / 2;
}

static void give_up_when_sparable(struct scrub *scrub) {
    uint64_t now_ns = clock_now_ns();
    for (uint32_t g = 0; g < scrub->meta->group_count; g++) {
        if (!is_sparable(scrub, g)) {
            scrub->sparable_since_ns = 0;
            return;
        }
    }
    if (scrub->sparable_since_ns == 0)
        scrub->sparable_since_ns = now_ns;
    if (now_ns - scrub->sparable_since_ns < SPARABLE_MS * NS_PER_MS)
        return;
    log_info("the other nodes can do without this state store");
    kv_give_up(scrub->meta->kv, &scrub->corrupt);
}

static void note_corrupt(struct scrub *scrub, const struct err *err) {
    struct meta *meta = scrub->meta;
    scrub->corrupt = *err;
    for (uint32_t g = 0; g < meta->group_count; g++)
        scrub->wanted[g] = atomic_load(&meta->groups[g].flushed);
    log_error("the state store is damaged: %s; %s", err->text,
              meta->alone ? "nobody else has what it holds"
                          : "it is made anew once the other nodes can do without it");
}

/* ---- reading ---- */

static uint64_t read_state(struct scrub *scrub, uint64_t bytes) {
    struct err err = {0};
    uint64_t read = 0;
    int r = kv_scrub(scrub->meta->kv, &scrub->position, bytes, &read, &err);
    if (r == ERR_CORRUPT)
        note_corrupt(scrub, &err);
    else if (r != 0)
        log_warn("scrub: %s", err.text); /* whoever needs it will meet it, too */
    scrub->in_log = scrub->position.size == 0;
    return read;
}

static uint64_t read_log(struct scrub *scrub) {
    struct wal *wal = scrub->meta->wal;
    struct wal_status status;
    struct span record;
    struct err err = {0};
    wal_get_status(wal, &status);
    if (status.oldest_lsn <= scrub->damaged_lsn) {
        scrub->next_lsn = status.durable_lsn + 1; /* told, and not trimmed yet */
    } else if (scrub->damaged_lsn != 0) {
        log_info("the damaged part of the log is gone");
        scrub->damaged_lsn = 0;
    }
    if (scrub->next_lsn < status.oldest_lsn)
        scrub->next_lsn = status.oldest_lsn;
    if (scrub->next_lsn > status.durable_lsn) {
        scrub->next_lsn = 0;
        scrub->in_log = false;
        return 1;
    }
    int r = wal_read(wal, &scrub->reader, scrub->next_lsn, &record, &err);
    if (r == 0) {
        scrub->next_lsn = scrub->reader.end_lsn; /* the batch was read whole */
        return scrub->reader.rest.size + WAL_BLOCK;
    }
    if (r != ERR_NOT_FOUND) { /* else it was trimmed meanwhile */
        log_error("the log is damaged: %s; it is trimmed as soon as the state store holds what it "
                  "says",
                  err.text);
        scrub->damaged_lsn = scrub->next_lsn;
        keeper_note_damage(scrub->meta, scrub->damaged_lsn);
    }
    return 1;
}

static uint64_t total(void *context) {
    struct scrub *scrub = context;
    struct wal_status status;
    if (scrub->corrupt.code != 0) {
        if (!scrub->meta->alone)
            give_up_when_sparable(scrub);
        return 0;
    }
    wal_get_status(scrub->meta->wal, &status);
    return kv_file_bytes(scrub->meta->kv) + status.live_bytes;
}

static uint64_t read_some(void *context, uint64_t bytes) {
    struct scrub *scrub = context;
    if (scrub->corrupt.code != 0)
        return 0;
    return scrub->in_log ? read_log(scrub) : read_state(scrub, bytes);
}

void scrub_start(struct meta *meta) {
    struct scrub *scrub = calloc(1, sizeof *scrub);
    if (scrub == NULL)
        panic("out of memory for the scrub");
    scrub->meta = meta;
    scrub->scrubber = scrubber_start(&(struct scrub_work){
        .period_ms = PERIOD_MS, .total = total, .read = read_some, .context = scrub});
    meta->scrub = scrub;
}

void scrub_stop(struct meta *meta) {
    struct scrub *scrub = meta->scrub;
    if (scrub == NULL)
        return;
    scrubber_stop(scrub->scrubber);
    buf_fini(&scrub->position);
    wal_reader_fini(&scrub->reader);
    free(scrub);
    meta->scrub = NULL;
}
