/* Ending leases that were not renewed. */
#include "meta/locks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "os/clock.h"

#define REPLY_BYTES_MAX ((size_t)8 << 20)
#define SUBMIT_MS 1000
#define RATE_PERCENT 10u /* clocks of holder and leader may run differently by so much */

void leases_forget(struct leases *leases) {
    leases->applied = leases->count = 0;
}

static int locks_read(struct meta *meta, struct arena *arena, Pb__Reply **ret_reply) {
    _cleanup_(buf_finip) struct buf packed = BUF_INIT, bytes = BUF_INIT;
    Pb__ListLocks list = PB__LIST_LOCKS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    query.op_case = PB__QUERY__OP_LIST_LOCKS;
    query.list_locks = &list;
    pb_pack(&packed, &query.base);
    int r = meta_local_stale_query(meta, META_ROOT, buf_span(&packed), &bytes, NULL);
    return r != 0 ? r : pb_unpack(&pb__reply__descriptor, buf_span(&bytes), arena, ret_reply, NULL);
}

static const struct lease_seen *find(const struct leases *leases, const Pb__Lock *lock) {
    for (uint32_t i = 0; i < leases->count; i++)
        if (strcmp(leases->list[i].name, lock->name) == 0)
            return &leases->list[i];
    return NULL;
}

/* What is as it was keeps its time. */
static void note(struct leases *leases, const Pb__Reply *reply, uint64_t now_ns) {
    struct leases *next = calloc(1, sizeof *next);
    if (next == NULL)
        panic("out of memory for leases");
    for (size_t i = 0; i < reply->n_locks && next->count < CATALOG_LOCKS_MAX; i++) {
        const Pb__Lock *lock = reply->locks[i];
        const struct lease_seen *before = find(leases, lock);
        struct lease_seen *seen = &next->list[next->count++];
        *seen = (struct lease_seen){.fence = lock->fence,
                                    .renewals = lock->renewals,
                                    .ttl_ms = lock->ttl_ms,
                                    .seen_ns = now_ns};
        snprintf(seen->name, sizeof seen->name, "%s", lock->name);
        if (before != NULL && before->fence == lock->fence && before->renewals == lock->renewals)
            seen->seen_ns = before->seen_ns;
    }
    next->applied = leases->applied;
    *leases = *next;
    free(next);
}

static bool has_ended(const struct lease_seen *seen, uint64_t now_ns) {
    uint64_t lasts_ns = seen->ttl_ms * (100 + RATE_PERCENT) / 100 * NS_PER_MS;
    return now_ns - seen->seen_ns > lasts_ns;
}

static void end_lease(struct meta *meta, const struct lease_seen *seen) {
    Pb__EndLock end = PB__END_LOCK__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    end.name = pb_text(seen->name);
    end.fence = seen->fence;
    end.renewals = seen->renewals;
    command.op_case = PB__COMMAND__OP_END_LOCK;
    command.end_lock = &end;
    log_info("the lease of lock %s, fence %llu, has ended", seen->name,
             (unsigned long long)seen->fence);
    meta_local_command(meta, META_ROOT, &command, clock_deadline_ms(SUBMIT_MS));
}

void leases_look(struct meta *meta, struct leases *leases, uint64_t now_ns) {
    uint64_t applied = atomic_load(&meta->groups[META_ROOT].applied);
    if (applied != leases->applied) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, REPLY_BYTES_MAX);
        Pb__Reply *reply;
        leases->applied = applied;
        if (locks_read(meta, &arena, &reply) == 0)
            note(leases, reply, now_ns);
    }
    for (uint32_t i = 0; i < leases->count; i++)
        if (has_ended(&leases->list[i], now_ns))
            end_lease(meta, &leases->list[i]);
}
