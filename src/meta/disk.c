/* The disk watched: room and speed are told to the groups, which go by them (core/paxos.h), and the
 * ballast is kept. */
#include <limits.h>
#include <stdio.h>

#include "base/log.h"
#include "meta/call.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "os/clock.h"
#include "os/space.h"

static enum paxos_space space_of(uint64_t free_bytes) {
    return free_bytes < SPACE_NONE_BYTES  ? PAXOS_SPACE_NONE
           : free_bytes < SPACE_LOW_BYTES ? PAXOS_SPACE_LOW
                                          : PAXOS_SPACE_GOOD;
}

static void tell_log(enum paxos_space before, enum paxos_space now, uint64_t free_bytes) {
    if (before == now)
        return;
    unsigned long long mib = free_bytes >> 20;
    if (now == PAXOS_SPACE_GOOD)
        log_info("%llu MiB are left on the disk: it takes writes again", mib);
    else
        log_warn("%llu MiB are left on the disk: %s", mib,
                 now == PAXOS_SPACE_LOW ? "only what frees some is taken" : "no slot is voted for");
}

bool disk_look(struct meta *meta) {
    char path[PATH_MAX];
    uint64_t free_bytes, total_bytes;
    struct err err = {0};
    struct wal_status log;
    snprintf(path, sizeof path, "%s/ballast", meta->dir);
    space_make_room(path);
    if (space_get(meta->dir, &free_bytes, &total_bytes, &err) != 0) {
        log_warn("%s", err.text);
        return true;
    }
    if (space_keep_ballast(path, free_bytes, &err) != 0)
        log_warn("%s", err.text);
    wal_get_status(meta->wal, &log);
    struct disk_report report = {space_of(free_bytes), log.sync_us};
    tell_log(meta->space, report.space, free_bytes);
    meta->space = report.space;
    struct call *call =
        call_new(CALL_DISK, META_ROOT, (struct span){(const char *)&report, sizeof report});
    mailbox_post_call(&meta->mailbox, call);
    call_wait(call, DEADLINE_NONE);
    call_unref(call);
    return report.space != PAXOS_SPACE_NONE;
}
