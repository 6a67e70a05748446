/* Leases of locks end by the clock of the root group's leader. */
#ifndef QUERN_META_LOCKS_H
#define QUERN_META_LOCKS_H

#include <stdint.h>

#include "core/catalog_lock.h"

struct meta;

/* When a lock was first seen under its fence with so many renewals. */
struct lease_seen {
    char name[CATALOG_LOCK_NAME_MAX + 1];
    uint64_t fence;
    uint64_t renewals;
    uint64_t ttl_ms;
    uint64_t seen_ns;
};

struct leases {
    uint64_t applied; /* of the root group when they were last looked at; 0 = never */
    uint32_t count;
    struct lease_seen list[CATALOG_LOCKS_MAX]; /* by name */
};

/* On the root group's leader, again and again, by one thread: ends the leases that nobody renewed.
 * A leader that is new forgets what it saw before (leases_forget): leases begin anew with it, which
 * makes them longer, never shorter. */
void leases_look(struct meta *meta, struct leases *leases, uint64_t now_ns);
void leases_forget(struct leases *leases);

#endif
