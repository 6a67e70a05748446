/* Once a day all that lies at rest of the catalogue is read: the state store, then the log. What is
 * damaged there is harmless while nobody needs it and other nodes have it, so it is to go now: a
 * state store as meta/damage.c says, the damaged part of the log by trimming it, once the state
 * store holds what it said. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/engine.h"
#include "os/clock.h"
#include "os/scrubber.h"

#define PERIOD_MS ((uint64_t)24 * 3600 * 1000)

struct scrub {
    struct meta *meta;
    struct scrubber *scrubber;
    bool in_log;
    struct buf position; /* in the state store */
    struct wal_reader reader;
    uint64_t next_lsn;
    uint64_t damaged_lsn; /* 0: none that is known */
};

/* ---- reading ---- */

static uint64_t read_state(struct scrub *scrub, uint64_t bytes) {
    struct err err = {0};
    uint64_t read = 0;
    int r = kv_scrub(scrub->meta->kv, &scrub->position, bytes, &read, &err);
    if (r == ERR_CORRUPT)
        damage_note(scrub->meta, &err);
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
    if (damage_is_known(scrub->meta)) {
        damage_look(scrub->meta);
        return 0;
    }
    wal_get_status(scrub->meta->wal, &status);
    return kv_file_bytes(scrub->meta->kv) + status.live_bytes;
}

static uint64_t read_some(void *context, uint64_t bytes) {
    struct scrub *scrub = context;
    if (damage_is_known(scrub->meta))
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
