/* Records that are kept in memory: nothing that a command does may depend on it. */
#include "core/catalog_harness.h"

#include "base/rng.h"
#include "core/catalog_impl.h"

#define KEYS 40u
#define COMMANDS 4000u
#define GROUP 1

/* ---- a catalogue that keeps records beside one that is opened anew for each command ---- */

struct twins {
    struct world keeping;
    struct world forgetful;
    struct rng rng;
};

static Pb__Reply *apply_to_both(struct twins *twins, Pb__Command *command) {
    Pb__Reply *replies[2];
    struct world *worlds[] = {&twins->keeping, &twins->forgetful};
    struct buf packed[2] = {BUF_INIT, BUF_INIT};
    world_reopen(&twins->forgetful);
    for (unsigned i = 0; i < 2; i++) {
        command->request_id = make_id(worlds[i], ++worlds[i]->requests << 32);
        replies[i] = submit(worlds[i], command);
        pb_pack(&packed[i], &replies[i]->base);
    }
    assert_true(span_equal(buf_span(&packed[0]), buf_span(&packed[1])));
    buf_fini(&packed[0]);
    buf_fini(&packed[1]);
    return replies[0];
}

static void put_some(struct twins *twins, char *key, bool of_job) {
    struct world *world = &twins->keeping;
    Pb__Object object = PB__OBJECT__INIT;
    Pb__PutObject op = PB__PUT_OBJECT__INIT;
    Pb__Conditions conditions = PB__CONDITIONS__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    object.version = make_id(world, rng_next(&twins->rng));
    object.etag = arena_printf(&world->arena, "%u", (unsigned)rng_below(&twins->rng, 3));
    object.size = rng_below(&twins->rng, 4) * 500; /* the largest are not kept */
    object.inline_data = pb_bytes(arena_alloc(&world->arena, object.size + 1), object.size);
    if (of_job)
        object.job = make_id(world, rng_below(&twins->rng, 4));
    else if (rng_chance(&twins->rng, 500000))
        op.conditions = &conditions;
    conditions.if_none_match = rng_chance(&twins->rng, 500000) ? pb_text("*") : pb_text("");
    conditions.if_match = conditions.if_none_match[0] == '\0' ? pb_text("1") : pb_text("");
    op.bucket = pb_text("b");
    op.key = key;
    op.object = &object;
    command.op_case = PB__COMMAND__OP_PUT_OBJECT;
    command.put_object = &op;
    apply_to_both(twins, &command);
}

static void delete_some(struct twins *twins, char *key) {
    Pb__DeleteObject op = PB__DELETE_OBJECT__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    op.bucket = pb_text("b");
    op.key = key;
    command.op_case = PB__COMMAND__OP_DELETE_OBJECT;
    command.delete_object = &op;
    apply_to_both(twins, &command);
}

static void settle_some(struct twins *twins) {
    Pb__SettleJob op = PB__SETTLE_JOB__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    op.job = make_id(&twins->keeping, rng_below(&twins->rng, 4));
    op.committed = rng_chance(&twins->rng, 500000);
    command.op_case = PB__COMMAND__OP_SETTLE_JOB;
    command.settle_job = &op;
    apply_to_both(twins, &command);
}

static void turn_gate(struct twins *twins, uint64_t epoch, bool open) {
    Pb__SetGate op = PB__SET_GATE__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    op.bucket = pb_text("b");
    op.epoch = epoch;
    op.open = open;
    command.op_case = PB__COMMAND__OP_SET_GATE;
    command.set_gate = &op;
    apply_to_both(twins, &command);
}

static void do_something(struct twins *twins, uint64_t turn) {
    char key[16];
    snprintf(key, sizeof key, "k%u", (unsigned)rng_below(&twins->rng, KEYS));
    uint64_t draw = rng_below(&twins->rng, 100);
    if (draw < 50)
        put_some(twins, key, false);
    else if (draw < 70)
        put_some(twins, key, true);
    else if (draw < 96)
        delete_some(twins, key);
    else if (draw < 98)
        settle_some(twins);
    else
        turn_gate(twins, turn + 2, rng_chance(&twins->rng, 800000));
}

static void assert_same_state(struct twins *twins) {
    const struct catalog_kv *a = &twins->keeping.kv, *b = &twins->forgetful.kv;
    void *one = a->iter_new(a->context), *other = b->iter_new(b->context);
    a->iter_seek(one, (struct span){0});
    b->iter_seek(other, (struct span){0});
    for (; a->iter_valid(one) && b->iter_valid(other); a->iter_next(one), b->iter_next(other)) {
        assert_true(span_equal(a->iter_key(one), b->iter_key(other)));
        assert_true(span_equal(a->iter_value(one), b->iter_value(other)));
    }
    assert_false(a->iter_valid(one) || b->iter_valid(other));
    a->iter_free(one);
    b->iter_free(other);
}

static void test_what_is_kept_changes_nothing(void **state) {
    (void)state;
    struct twins twins;
    rng_init(&twins.rng, 7);
    world_open(&twins.keeping, GROUP);
    world_open(&twins.forgetful, GROUP);
    turn_gate(&twins, 1, true);
    for (uint64_t turn = 0; turn < COMMANDS; turn++)
        do_something(&twins, turn);
    assert_same_state(&twins);
    world_close(&twins.keeping);
    world_close(&twins.forgetful);
}

/* ---- the cache ---- */

static struct catalog_cache cache;

/* What it says of a key: -1 when that is not kept. */
static int kept(const char *key, const char *value) {
    struct buf got = BUF_INIT;
    int code = -1;
    if (catalog_cache_get(&cache, span_of(key), &got, &code) && code == 0)
        assert_true(span_is(buf_span(&got), value));
    buf_fini(&got);
    return code;
}

static void test_only_what_was_asked_for_is_kept(void **state) {
    (void)state;
    struct span first = span_of("first"), second = span_of("the second");
    assert_int_equal(kept("key", ""), -1);
    catalog_cache_change(&cache, span_of("key"), &first);
    assert_int_equal(kept("key", ""), -1);
    catalog_cache_keep(&cache, span_of("key"), NULL);
    assert_int_equal(kept("key", ""), ERR_NOT_FOUND);
    catalog_cache_change(&cache, span_of("key"), &second);
    assert_int_equal(kept("key", "the second"), 0);
    catalog_cache_change(&cache, span_of("key"), &first);
    assert_int_equal(kept("key", "first"), 0);
    catalog_cache_change(&cache, span_of("key"), NULL);
    assert_int_equal(kept("key", ""), ERR_NOT_FOUND);
    catalog_cache_close(&cache);
    cache = (struct catalog_cache){0};
}

static void test_a_large_record_is_not_kept(void **state) {
    (void)state;
    static char bytes[1025];
    struct span large = {bytes, sizeof bytes}, small = span_of("small");
    catalog_cache_keep(&cache, span_of("key"), &small);
    catalog_cache_change(&cache, span_of("key"), &large);
    assert_int_equal(kept("key", ""), -1);
    catalog_cache_close(&cache);
    cache = (struct catalog_cache){0};
}

static void test_a_place_is_for_one_key(void **state) {
    (void)state;
    char key[16];
    struct span value = span_of("value");
    unsigned found = 0;
    for (unsigned i = 0; i < 2 * CATALOG_RECORDS_KEPT; i++) {
        snprintf(key, sizeof key, "%u", i);
        catalog_cache_keep(&cache, span_of(key), &value);
        assert_int_equal(kept(key, "value"), 0);
    }
    for (unsigned i = 0; i < 2 * CATALOG_RECORDS_KEPT; i++) {
        snprintf(key, sizeof key, "%u", i);
        found += kept(key, "value") == 0;
    }
    assert_in_range(found, 1, CATALOG_RECORDS_KEPT);
    catalog_cache_close(&cache);
    cache = (struct catalog_cache){0};
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_kept_changes_nothing),
        cmocka_unit_test(test_only_what_was_asked_for_is_kept),
        cmocka_unit_test(test_a_large_record_is_not_kept),
        cmocka_unit_test(test_a_place_is_for_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
