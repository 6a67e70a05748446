/* Locks, in the root group: who holds a name, under which fence.
 *
 * A fence is given to each new holder from one counter for all locks, so that it only grows. No
 * time is kept here: a lease ends when the root group's leader, by its own monotonic clock, has
 * seen no renewal for as long as the lease lasts, and proposes its end (meta/locks.c; C. Gray, D.
 * Cheriton, "Leases", SOSP 1989). What it saw is in the command: a renewal that came in between
 * wins. */
#include <string.h>

#include "core/catalog_impl.h"
#include "core/catalog_lock.h"

static struct catalog_key lock_key(const struct catalog_step *step, const char *name) {
    struct catalog_key key = catalog_key(step->group, TABLE_LOCK);
    catalog_key_text(&key, name);
    return key;
}

static Pb__Lock *load_lock(struct catalog_step *step, const char *name) {
    struct catalog_key key = lock_key(step, name);
    return catalog_load(step, &key, &pb__lock__descriptor);
}

static void store_lock(struct catalog_step *step, Pb__Lock *lock) {
    struct catalog_key key = lock_key(step, lock->name);
    catalog_store(step, &key, &lock->base);
    step->reply->lock = lock;
}

static bool same_holder(const Pb__Lock *lock, ProtobufCBinaryData holder) {
    return lock->holder.len == holder.len &&
           memcmp(lock->holder.data, holder.data, holder.len) == 0;
}

bool catalog_lock_name_is_sound(const char *name) {
    size_t size = strlen(name);
    if (size == 0 || size > CATALOG_LOCK_NAME_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
            return false;
    return true;
}

static bool check_acquire(struct catalog_step *step, const Pb__AcquireLock *op) {
    if (!catalog_lock_name_is_sound(op->name))
        catalog_refuse(step, ERR_INVALID,
                       "a lock's name is 1 to %u printable characters without spaces and slashes",
                       CATALOG_LOCK_NAME_MAX);
    else if (op->ttl_ms < CATALOG_LOCK_TTL_MS_MIN || op->ttl_ms > CATALOG_LOCK_TTL_MS_MAX)
        catalog_refuse(step, ERR_INVALID, "a lease lasts from 1 second to 1 day");
    else
        return catalog_check_id(step, op->holder, "holder");
    return false;
}

static uint64_t count_locks(struct catalog_step *step) {
    uint64_t count = 0;
    struct catalog_scan scan;
    struct catalog_key prefix = catalog_key(step->group, TABLE_LOCK);
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan))
        count++;
    catalog_scan_close(&scan);
    return count;
}

/* By the holder itself, again: a renewal, so that a request that was answered into the void may be
 * sent twice. */
void catalog_acquire_lock(struct catalog_step *step, const Pb__AcquireLock *op) {
    if (!check_acquire(step, op))
        return;
    Pb__Lock *lock = load_lock(step, op->name);
    if (lock != NULL && !same_holder(lock, op->holder)) {
        step->reply->lock = lock;
        catalog_refuse(step, ERR_LOCKED, "the lock %s is held", op->name);
        return;
    }
    if (lock == NULL && count_locks(step) >= CATALOG_LOCKS_MAX) {
        catalog_refuse(step, ERR_LIMIT, "%u locks are held, which is the limit", CATALOG_LOCKS_MAX);
        return;
    }
    if (lock == NULL) {
        lock = catalog_alloc(step, sizeof *lock);
        pb__lock__init(lock);
        lock->name = op->name;
        lock->holder = op->holder;
        lock->fence = catalog_count(step, COUNTER_FENCE);
    }
    lock->ttl_ms = op->ttl_ms;
    lock->renewals++;
    store_lock(step, lock);
}

/* NULL, and refused, when it is held under that fence no more. */
static Pb__Lock *load_held(struct catalog_step *step, const char *name, uint64_t fence) {
    Pb__Lock *lock = catalog_lock_name_is_sound(name) ? load_lock(step, name) : NULL;
    if (lock != NULL && lock->fence == fence)
        return lock;
    catalog_refuse(step, ERR_LOCK_LOST, "the lock is not held under fence %llu",
                   (unsigned long long)fence);
    return NULL;
}

void catalog_renew_lock(struct catalog_step *step, const Pb__RenewLock *op) {
    Pb__Lock *lock = load_held(step, op->name, op->fence);
    if (lock == NULL)
        return;
    lock->renewals++;
    store_lock(step, lock);
}

/* By its holder, by an administrator, or because its lease has ended: then only if it was not
 * renewed since. */
void catalog_end_lock(struct catalog_step *step, const Pb__EndLock *op) {
    Pb__Lock *lock = load_held(step, op->name, op->fence);
    if (lock == NULL)
        return;
    if (op->renewals != 0 && op->renewals != lock->renewals) {
        catalog_refuse(step, ERR_CONFLICT, "the lock was renewed meanwhile");
        return;
    }
    struct catalog_key key = lock_key(step, op->name);
    catalog_erase(step, &key);
    step->reply->lock = lock;
}

void catalog_list_locks(struct catalog_step *step, const Pb__ListLocks *query) {
    struct catalog_scan scan;
    struct catalog_key prefix = catalog_key(step->group, TABLE_LOCK);
    Pb__Lock **locks = catalog_alloc(step, CATALOG_LOCKS_MAX * sizeof(Pb__Lock *));
    size_t count = 0;
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan) && count < CATALOG_LOCKS_MAX; catalog_scan_next(&scan)) {
        Pb__Lock *lock = catalog_scan_record(&scan, &pb__lock__descriptor);
        if (lock != NULL && (query->name[0] == '\0' || strcmp(query->name, lock->name) == 0))
            locks[count++] = lock;
    }
    catalog_scan_close(&scan);
    step->reply->locks = locks;
    step->reply->n_locks = count;
}
