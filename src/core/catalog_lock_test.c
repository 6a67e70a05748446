/* Locks: one holder at a time, fences that only grow, and leases that end only if nobody renewed.
 */
#include "core/catalog_harness.h"
#include "core/catalog_lock.h"

static Pb__Reply *acquire(struct world *world, const char *name, uint64_t holder) {
    Pb__AcquireLock op = PB__ACQUIRE_LOCK__INIT;
    op.name = pb_text(name);
    op.holder = make_id(world, holder);
    op.ttl_ms = 5000;
    return submit_op(world, acquire_lock, ACQUIRE_LOCK, &op);
}

static Pb__Reply *renew(struct world *world, const char *name, uint64_t fence) {
    Pb__RenewLock op = PB__RENEW_LOCK__INIT;
    op.name = pb_text(name);
    op.fence = fence;
    return submit_op(world, renew_lock, RENEW_LOCK, &op);
}

static Pb__Reply *end(struct world *world, const char *name, uint64_t fence, uint64_t renewals) {
    Pb__EndLock op = PB__END_LOCK__INIT;
    op.name = pb_text(name);
    op.fence = fence;
    op.renewals = renewals;
    return submit_op(world, end_lock, END_LOCK, &op);
}

static Pb__Reply *list(struct world *world, const char *name) {
    Pb__ListLocks op = PB__LIST_LOCKS__INIT;
    op.name = pb_text(name);
    return query_op(world, list_locks, LIST_LOCKS, &op);
}

static void test_one_holder_and_growing_fences(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    assert_int_equal(acquire(&world, "a", 1)->lock->fence, 1);
    assert_int_equal(acquire(&world, "a", 2)->code, ERR_LOCKED);
    assert_int_equal(acquire(&world, "a", 1)->lock->fence, 1); /* asked again */
    assert_int_equal(acquire(&world, "b", 2)->lock->fence, 2);
    assert_int_equal(list(&world, "")->n_locks, 2);
    assert_int_equal(list(&world, "b")->n_locks, 1);
    assert_int_equal(end(&world, "a", 9, 0)->code, ERR_LOCK_LOST);
    assert_int_equal(end(&world, "a", 1, 0)->code, 0);
    assert_int_equal(renew(&world, "a", 1)->code, ERR_LOCK_LOST);
    assert_int_equal(acquire(&world, "a", 2)->lock->fence, 3);
    assert_int_equal(end(&world, "a", 1, 0)->code, ERR_LOCK_LOST); /* a late one */
    assert_int_equal(renew(&world, "a", 3)->code, 0);
    world_close(&world);
}

static void test_a_renewed_lease_does_not_end(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    uint64_t seen = acquire(&world, "a", 1)->lock->renewals;
    assert_true(renew(&world, "a", 1)->lock->renewals > seen);
    assert_int_equal(end(&world, "a", 1, seen)->code, ERR_CONFLICT);
    assert_int_equal(list(&world, "a")->n_locks, 1);
    assert_int_equal(end(&world, "a", 1, seen + 1)->code, 0);
    assert_int_equal(list(&world, "a")->n_locks, 0);
    world_close(&world);
}

static void test_bad_locks_are_refused(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    char name[300] = {0};
    memset(name, 'x', CATALOG_LOCK_NAME_MAX);
    assert_int_equal(acquire(&world, name, 1)->code, 0);
    memset(name, 'x', CATALOG_LOCK_NAME_MAX + 1);
    assert_int_equal(acquire(&world, name, 1)->code, ERR_INVALID);
    assert_int_equal(acquire(&world, "", 1)->code, ERR_INVALID);
    assert_int_equal(acquire(&world, "a/b", 1)->code, ERR_INVALID);
    assert_int_equal(acquire(&world, "a b", 1)->code, ERR_INVALID);
    assert_int_equal(renew(&world, "", 1)->code, ERR_LOCK_LOST);
    Pb__AcquireLock op = PB__ACQUIRE_LOCK__INIT;
    op.name = pb_text("t");
    op.holder = make_id(&world, 1);
    op.ttl_ms = 999;
    assert_int_equal(submit_op(&world, acquire_lock, ACQUIRE_LOCK, &op)->code, ERR_INVALID);
    op.ttl_ms = CATALOG_LOCK_TTL_MS_MAX + 1;
    assert_int_equal(submit_op(&world, acquire_lock, ACQUIRE_LOCK, &op)->code, ERR_INVALID);
    for (uint32_t i = 0; i + 1 < CATALOG_LOCKS_MAX; i++) {
        snprintf(name, sizeof name, "many-%u", i);
        assert_int_equal(acquire(&world, name, 1)->code, 0);
    }
    assert_int_equal(acquire(&world, "one-more", 1)->code, ERR_LIMIT);
    assert_int_equal(acquire(&world, "many-7", 1)->code, 0); /* which is held */
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_holder_and_growing_fences),
        cmocka_unit_test(test_a_renewed_lease_does_not_end),
        cmocka_unit_test(test_bad_locks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
