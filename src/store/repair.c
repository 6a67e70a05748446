/* The repair thread: in rounds, every few seconds and whenever the map changes or a copy turns out
 * bad, compares with the other owners and fetches what is missing. It also keeps the index's house.
 */
#include "store/repair.h"

#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "meta/client.h"
#include "os/clock.h"
#include "store/repair_work.h"

#define ROUND_MS 5000
#define POLL_MS 250 /* for a new map */
#define FLUSH_MS 30000
#define EXPIRE_MS (24 * 3600 * 1000)

struct repair {
    struct store *store;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool stopping; /* set under the lock */
    bool woken;
    atomic_uint_fast64_t missing_count;
    /* by the repair thread: */
    struct repair_work work;
    uint64_t flushed_ns;
    uint64_t expired_ns;
    bool failure_told;
};

static void compare_all(struct repair *repair, const struct place_map *map) {
    repair->work.count = 0;
    for (uint32_t i = 0; i < map->node_count && !atomic_load(&repair->stopping); i++) {
        const struct place_node *node = &map->nodes[i];
        if (node->id == repair->store->identity.node_id || node->down ||
            !(node->roles & ROLE_STORE))
            continue;
        struct err err = {0};
        int rc = repair_compare(&repair->work, map, node->id, &err);
        if (rc != 0)
            log_debug("repair: node %u: %s", node->id, err_message(&err, rc));
    }
}

/* Whether there may be more to do at once. */
static bool repair_round(struct repair *repair, const struct place_map *map) {
    compare_all(repair, map);
    repair_sort(&repair->work);
    atomic_store(&repair->missing_count, repair_count_missing(&repair->work));
    uint64_t fetched = atomic_load(&repair->work.fetched_count);
    repair_fetch(&repair->work);
    fetched = atomic_load(&repair->work.fetched_count) - fetched;
    atomic_store(&repair->missing_count, repair_count_missing(&repair->work));
    if (fetched > 0)
        log_info("repair: %llu chunks fetched", (unsigned long long)fetched);
    return repair->work.count == MISSING_MAX && fetched > 0;
}

static void keep_house(struct repair *repair) {
    struct store *store = repair->store;
    uint64_t now_ns = clock_now_ns();
    bool room = index_has_room(store->index);
    if (room &&
        now_ns - repair->flushed_ns > FLUSH_MS * NS_PER_MS) { /* recovery has less to read */
        (void)store_check(store, index_flush(store->index, NULL));
        repair->flushed_ns = now_ns;
    }
    if (room && (now_ns - repair->expired_ns > EXPIRE_MS * NS_PER_MS || repair->expired_ns == 0)) {
        (void)store_check(store, index_expire(store->index, clock_wall_ms(), NULL));
        repair->expired_ns = now_ns;
    }
    if (atomic_load(&store->failed) && !repair->failure_told) {
        log_error("the disk under the chunks has failed: nothing more is written to it");
        repair->failure_told = true;
    }
}

/* Until the round's time is over, the map changes, somebody wakes it or it is to stop; returns
 * whether it goes on. */
static bool wait_for_round(struct repair *repair, uint64_t epoch) {
    struct meta_client *meta = atomic_load(&repair->store->meta);
    uint64_t deadline_ns = clock_deadline_ms(ROUND_MS);
    pthread_mutex_lock(&repair->lock);
    while (!atomic_load(&repair->stopping) && !repair->woken && clock_now_ns() < deadline_ns) {
        struct place_map *map = meta_map(meta);
        bool changed = map->epoch != epoch;
        place_map_unref(map);
        if (changed)
            break;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += POLL_MS * (long)NS_PER_MS;
        until.tv_sec += until.tv_nsec / (long)NS_PER_S;
        until.tv_nsec %= (long)NS_PER_S;
        pthread_cond_timedwait(&repair->changed, &repair->lock, &until);
    }
    repair->woken = false;
    bool go_on = !atomic_load(&repair->stopping);
    pthread_mutex_unlock(&repair->lock);
    return go_on;
}

static void *repair_run(void *context) {
    struct repair *repair = context;
    bool more = false;
    uint64_t epoch = 0;
    do {
        struct place_map *map = meta_map(atomic_load(&repair->store->meta));
        epoch = map->epoch;
        more = !atomic_load(&repair->store->failed) && repair_round(repair, map);
        place_map_unref(map);
        keep_house(repair);
    } while (more ? !atomic_load(&repair->stopping) : wait_for_round(repair, epoch));
    return NULL;
}

int repair_start(struct store *store, struct repair **ret_repair, struct err *err) {
    struct repair *repair = calloc(1, sizeof *repair);
    if (repair == NULL)
        return err_set(err, ERR_NOMEM, "repair");
    repair->store = repair->work.store = store;
    repair->work.stopping = &repair->stopping;
    repair->flushed_ns = clock_now_ns();
    pthread_mutex_init(&repair->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&repair->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int failed_errno = pthread_create(&repair->thread, NULL, repair_run, repair);
    if (failed_errno != 0) {
        free(repair);
        return err_errno(err, failed_errno, "the repair thread");
    }
    *ret_repair = repair;
    return 0;
}

struct repair *repair_stop(struct repair *repair) {
    if (repair == NULL)
        return NULL;
    pthread_mutex_lock(&repair->lock);
    atomic_store(&repair->stopping, true);
    pthread_cond_signal(&repair->changed);
    pthread_mutex_unlock(&repair->lock);
    pthread_join(repair->thread, NULL);
    pthread_cond_destroy(&repair->changed);
    pthread_mutex_destroy(&repair->lock);
    free(repair);
    return NULL;
}

void repair_wake(struct repair *repair) {
    if (repair == NULL)
        return;
    pthread_mutex_lock(&repair->lock);
    repair->woken = true;
    pthread_cond_signal(&repair->changed);
    pthread_mutex_unlock(&repair->lock);
}

void repair_counts(struct repair *repair, uint64_t *ret_missing, uint64_t *ret_repaired) {
    *ret_missing = repair != NULL ? atomic_load(&repair->missing_count) : 0;
    *ret_repaired = repair != NULL ? atomic_load(&repair->work.fetched_count) : 0;
}
