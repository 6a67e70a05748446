/* Objects, lists, garbage, gates and settling of one shard, and what no command may do to the
 * catalogue. */
#include "core/catalog_harness.h"

#include "base/rng.h"

static Pb__Object object_of(struct world *world, uint64_t version, size_t chunks) {
    Pb__Object object = PB__OBJECT__INIT;
    object.version = make_id(world, version);
    object.etag = arena_printf(&world->arena, "etag%u", (unsigned)version);
    object.chunks = make_chunks(world, version * 1000, chunks, 10);
    object.n_chunks = chunks;
    object.size = 10 * chunks;
    return object;
}

static Pb__Reply *put(struct world *world, const char *key, Pb__Object *object,
                      Pb__Conditions *conditions) {
    Pb__PutObject op = PB__PUT_OBJECT__INIT;
    op.bucket = pb_text("b");
    op.key = pb_text(key);
    op.object = object;
    op.conditions = conditions;
    return submit_op(world, put_object, PUT_OBJECT, &op);
}

static Pb__Reply *delete (struct world *world, const char *key, Pb__Conditions *conditions) {
    Pb__DeleteObject op = PB__DELETE_OBJECT__INIT;
    op.bucket = pb_text("b");
    op.key = pb_text(key);
    op.conditions = conditions;
    return submit_op(world, delete_object, DELETE_OBJECT, &op);
}

static Pb__Reply *get(struct world *world, const char *key) {
    Pb__GetObject op = PB__GET_OBJECT__INIT;
    op.bucket = pb_text("b");
    op.key = pb_text(key);
    op.with_provisional = true;
    return query_op(world, get_object, GET_OBJECT, &op);
}

static Pb__Reply *list(struct world *world, const char *prefix, const char *delimiter,
                       const char *after, uint32_t limit) {
    Pb__ListObjects op = PB__LIST_OBJECTS__INIT;
    op.bucket = pb_text("b");
    op.prefix = pb_text(prefix);
    op.delimiter = pb_text(delimiter);
    op.start_after = pb_text(after);
    op.limit = limit;
    return query_op(world, list_objects, LIST_OBJECTS, &op);
}

static Pb__Reply *settle(struct world *world, uint64_t job, bool committed) {
    Pb__SettleJob op = PB__SETTLE_JOB__INIT;
    op.job = make_id(world, job);
    op.committed = committed;
    return submit_op(world, settle_job, SETTLE_JOB, &op);
}

static void open_shard(struct world *world) {
    world_open(world, 3);
    assert_int_equal(set_gate(world, "b", 1, true, false)->code, 0);
}

/* ---- gates ---- */

static void test_gate(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 3);
    Pb__Object object = object_of(&world, 1, 1);
    assert_int_equal(put(&world, "k", &object, NULL)->code, ERR_NO_SUCH_BUCKET);
    assert_int_equal(get(&world, "k")->code, ERR_NO_SUCH_BUCKET);
    assert_int_equal(list(&world, "", "", "", 0)->code, ERR_NO_SUCH_BUCKET);
    assert_int_equal(set_gate(&world, "b", 5, true, false)->code, 0);
    assert_int_equal(set_gate(&world, "b", 5, true, false)->code, 0); /* again */
    assert_int_equal(set_gate(&world, "b", 5, false, false)->code, ERR_CONFLICT);
    assert_int_equal(set_gate(&world, "b", 4, false, false)->code, ERR_CONFLICT);
    assert_int_equal(get(&world, "k")->code, ERR_NO_SUCH_KEY);
    assert_int_equal(put(&world, "k", &object, NULL)->code, 0);
    assert_int_equal(set_gate(&world, "b", 6, false, true)->code, ERR_BUCKET_NOT_EMPTY);
    assert_true(delete (&world, "k", NULL)->existed);
    object.job = make_id(&world, 77);
    assert_int_equal(put(&world, "k", &object, NULL)->code, 0);
    assert_int_equal(set_gate(&world, "b", 6, false, true)->code,
                     ERR_BUCKET_NOT_EMPTY); /* provisional */
    assert_int_equal(settle(&world, 77, false)->code, 0);
    assert_int_equal(set_gate(&world, "b", 6, false, true)->code, 0);
    assert_int_equal(set_gate(&world, "b", 5, true, false)->code,
                     ERR_CONFLICT); /* the tombstone holds */
    assert_int_equal(put(&world, "k", &object, NULL)->code, ERR_NO_SUCH_BUCKET);
    assert_int_equal(delete (&world, "k", NULL)->code, ERR_NO_SUCH_BUCKET);
    world_close(&world);
}

/* ---- objects ---- */

static void test_put_get_delete(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    Pb__Object first = object_of(&world, 1, 2), second = object_of(&world, 2, 3);
    assert_string_equal(put(&world, "k", &first, NULL)->object->etag, "etag1");
    assert_int_equal(get(&world, "k")->object->n_chunks, 2);
    assert_int_equal(put(&world, "k", &first, NULL)->code, 0); /* the same version: no effect */
    assert_int_equal(garbage_count(&world), 0);
    assert_int_equal(put(&world, "k", &second, NULL)->code, 0);
    assert_int_equal(garbage_count(&world), 2);
    /* Chunks that the new record names too stay. */
    Pb__Object third = object_of(&world, 3, 0);
    third.chunks = second.chunks;
    third.n_chunks = 2;
    third.size = 20;
    assert_int_equal(put(&world, "k", &third, NULL)->code, 0);
    assert_int_equal(garbage_count(&world), 3);
    assert_true(delete (&world, "k", NULL)->existed);
    assert_false(delete (&world, "k", NULL)->existed);
    assert_int_equal(garbage_count(&world), 5);
    assert_int_equal(get(&world, "k")->code, ERR_NO_SUCH_KEY);
    world_close(&world);
}

static void test_conditions(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    static const struct {
        const char *if_match, *if_none_match;
        bool exists; /* with etag1 */
        int code;
    } rows[] = {
        {"*", "", false, ERR_NO_SUCH_KEY},
        {"etag1", "", false, ERR_NO_SUCH_KEY},
        {"*", "", true, 0},
        {"etag1", "", true, 0},
        {"etag9", "", true, ERR_PRECONDITION_FAILED},
        {"", "*", false, 0},
        {"", "*", true, ERR_PRECONDITION_FAILED},
        {"", "etag1", true, ERR_PRECONDITION_FAILED},
        {"", "etag9", true, 0},
        {"etag1", "etag9", true, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Pb__Object first = object_of(&world, 1, 0), second = object_of(&world, 2, 0);
        Pb__Conditions conditions = PB__CONDITIONS__INIT;
        conditions.if_match = pb_text(rows[i].if_match);
        conditions.if_none_match = pb_text(rows[i].if_none_match);
        delete (&world, "k", NULL);
        if (rows[i].exists)
            assert_int_equal(put(&world, "k", &first, NULL)->code, 0);
        assert_int_equal(put(&world, "k", &second, &conditions)->code, rows[i].code);
        const Pb__Reply *reply = get(&world, "k");
        const char *expected = rows[i].code == 0 ? "etag2" : "etag1";
        if (rows[i].code == 0 || rows[i].exists)
            assert_string_equal(reply->object->etag, expected);
        else
            assert_int_equal(reply->code, ERR_NO_SUCH_KEY);
        delete (&world, "k", NULL);
        if (rows[i].exists)
            put(&world, "k", &first, NULL);
        assert_int_equal(delete (&world, "k", &conditions)->code, rows[i].code);
    }
    world_close(&world);
}

static void test_garbage(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    Pb__QueueGarbage queue = PB__QUEUE_GARBAGE__INIT;
    ProtobufCBinaryData ids[2500];
    for (size_t i = 0; i < 2500; i++)
        ids[i] = make_id(&world, i);
    queue.chunks = ids;
    queue.n_chunks = 2500;
    assert_int_equal(submit_op(&world, queue_garbage, QUEUE_GARBAGE, &queue)->code, 0);
    world.now_ms = 2000;
    queue.n_chunks = 1;
    submit_op(&world, queue_garbage, QUEUE_GARBAGE, &queue);
    Pb__ListGarbage op = PB__LIST_GARBAGE__INIT;
    op.queued_before_ms = 2000;
    const Pb__Reply *reply = query_op(&world, list_garbage, LIST_GARBAGE, &op);
    assert_int_equal(reply->n_garbage, 3); /* of 1024 chunks each */
    assert_false(reply->truncated);
    op.limit = 2;
    assert_true(query_op(&world, list_garbage, LIST_GARBAGE, &op)->truncated);
    Pb__DropGarbage drop = PB__DROP_GARBAGE__INIT;
    uint64_t sequence[] = {reply->garbage[0]->sequence, reply->garbage[2]->sequence, 999};
    drop.sequence = sequence;
    drop.n_sequence = 3;
    assert_int_equal(submit_op(&world, drop_garbage, DROP_GARBAGE, &drop)->code, 0);
    assert_int_equal(garbage_count(&world), 1024 + 1);
    world_close(&world);
}

/* ---- provisional objects ---- */

static void test_settle(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    Pb__Object old = object_of(&world, 1, 1), mine = object_of(&world, 2, 2),
               other = object_of(&world, 3, 4);
    put(&world, "k", &old, NULL);
    mine.job = make_id(&world, 70);
    other.job = make_id(&world, 71);
    assert_int_equal(put(&world, "k", &mine, NULL)->code, 0);
    assert_int_equal(put(&world, "k", &other, NULL)->code, 0);
    const Pb__Reply *reply = get(&world, "k");
    assert_string_equal(reply->object->etag, "etag1"); /* the visible one is left alone */
    assert_int_equal(reply->n_objects, 2);
    assert_string_equal(reply->provisional->etag, "etag2");
    assert_int_equal(list(&world, "", "", "", 0)->n_objects, 3);
    assert_int_equal(settle(&world, 70, true)->code, 0);
    assert_string_equal(get(&world, "k")->object->etag, "etag2");
    assert_int_equal(get(&world, "k")->object->job.len, 0);
    assert_int_equal(garbage_count(&world), 1);
    assert_int_equal(settle(&world, 71, false)->code, 0);
    assert_int_equal(garbage_count(&world), 5);
    assert_null(get(&world, "k")->provisional);
    assert_int_equal(settle(&world, 70, true)->code, 0); /* again */
    assert_int_equal(settle(&world, 70, false)->code, ERR_CONFLICT);
    assert_int_equal(put(&world, "late", &mine, NULL)->code, ERR_CONFLICT);
    assert_string_equal(get(&world, "k")->object->etag, "etag2");
    world_close(&world);
}

static void test_settle_in_steps(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    for (uint64_t i = 0; i < 600; i++) {
        Pb__Object object = object_of(&world, 100 + i, 1);
        object.job = make_id(&world, 7);
        put(&world, arena_printf(&world.arena, "k%03u", (unsigned)i), &object, NULL);
    }
    assert_true(settle(&world, 7, true)->truncated);
    assert_true(settle(&world, 7, true)->truncated);
    assert_false(settle(&world, 7, true)->truncated);
    const Pb__Reply *reply = list(&world, "", "", "", 1000);
    assert_int_equal(reply->n_objects, 600);
    for (size_t i = 0; i < 600; i++)
        assert_int_equal(reply->objects[i]->object->job.len, 0);
    world_close(&world);
}

/* ---- lists ---- */

static void put_keys(struct world *world, const char *const *keys) {
    for (uint64_t i = 0; keys[i] != NULL; i++) {
        Pb__Object object = object_of(world, 10 + i, 0);
        assert_int_equal(put(world, keys[i], &object, NULL)->code, 0);
    }
}

/* "key key [prefix] ... + next" */
static const char *print_list(struct world *world, const Pb__Reply *reply) {
    struct buf text = BUF_INIT;
    for (size_t o = 0, p = 0; o < reply->n_objects || p < reply->n_prefixes;) {
        bool object =
            p == reply->n_prefixes ||
            (o < reply->n_objects && strcmp(reply->objects[o]->key, reply->prefixes[p]) < 0);
        if (object) {
            buf_printf(&text, "%s%s ", reply->objects[o]->key,
                       reply->objects[o]->object->job.len > 0 ? "?" : "");
            o++;
        } else {
            buf_printf(&text, "[%s] ", reply->prefixes[p++]);
        }
    }
    if (reply->truncated)
        buf_printf(&text, "+ %s", reply->next);
    char *copy = arena_strndup(&world->arena, text.data != NULL ? text.data : "", text.size);
    buf_fini(&text);
    return copy;
}

static void test_list(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    put_keys(&world,
             (const char *const[]){"a", "a/1", "a/2", "a/b/3", "a0", "b//x", "c", "ca", NULL});
    static const struct {
        const char *prefix, *delimiter, *after;
        uint32_t limit;
        const char *expected;
    } rows[] = {
        {"", "", "", 0, "a a/1 a/2 a/b/3 a0 b//x c ca "},
        {"", "/", "", 0, "a [a/] a0 [b/] c ca "},
        {"a/", "/", "", 0, "a/1 a/2 [a/b/] "},
        {"a", "", "a/1", 2, "a/2 a/b/3 + a/b/3"},
        {"", "/", "", 2, "a [a/] + a/"},
        {"", "/", "a/", 2, "a0 [b/] + b/"},
        {"", "/", "b/", 2, "c ca "},
        {"", "/", "a/1", 0, "a0 [b/] c ca "}, /* the prefix is not behind start_after */
        {"", "//", "", 0, "a a/1 a/2 a/b/3 a0 [b//] c ca "},
        {"", "a", "", 0, "[a] b//x c [ca] "},
        {"zz", "/", "", 0, ""},
        {"c", "", "ca", 0, ""},
        {"b", "", "a", 0, "b//x "},
        {"", "", "c", 1, "ca "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(print_list(&world, list(&world, rows[i].prefix, rows[i].delimiter,
                                                    rows[i].after, rows[i].limit)),
                            rows[i].expected);
    world_close(&world);
}

static void test_list_provisional(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    put_keys(&world, (const char *const[]){"a/2", "c", NULL});
    static const char *const keys[] = {"a/1", "b/1", "b/2", "c", "c\x01"};
    for (size_t i = 0; i < 5; i++) {
        Pb__Object object = object_of(&world, 50 + i, 0);
        object.job = make_id(&world, 9);
        put(&world, keys[i], &object, NULL);
    }
    assert_string_equal(print_list(&world, list(&world, "", "", "", 0)),
                        "a/1? a/2 b/1? b/2? c c? c\x01? ");
    assert_string_equal(print_list(&world, list(&world, "", "/", "", 0)),
                        "[a/] b/1? b/2? c c? c\x01? ");
    assert_string_equal(print_list(&world, list(&world, "", "/", "", 2)), "[a/] b/1? + b/1");
    assert_string_equal(print_list(&world, list(&world, "", "/", "b/1", 2)), "b/2? c c? + c");
    assert_string_equal(print_list(&world, list(&world, "", "/", "c", 2)), "c\x01? ");
    world_close(&world);
}

/* ---- a random history against a naive model ---- */

#define MODEL_KEYS 64

struct model {
    char keys[MODEL_KEYS][8];
    bool present[MODEL_KEYS];
};

static int compare_text(const void *a, const void *b) {
    return strcmp(a, b);
}

static void make_keys(struct rng *rng, struct model *model) {
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        unsigned size = 1 + (unsigned)rng_below(rng, 6);
        for (unsigned j = 0; j < size; j++)
            model->keys[i][j] = "ab/"[rng_below(rng, 3)];
    }
    qsort(model->keys, MODEL_KEYS, sizeof *model->keys, compare_text);
    for (unsigned i = MODEL_KEYS - 1; i > 0; i--) { /* equal ones become unlike any other */
        if (strcmp(model->keys[i], model->keys[i - 1]) == 0)
            snprintf(model->keys[i], sizeof model->keys[i], "z%02u", i);
    }
    qsort(model->keys, MODEL_KEYS, sizeof *model->keys, compare_text);
}

static const char *model_list(struct world *world, const struct model *model, const char *prefix,
                              const char *delimiter, const char *after, uint32_t limit) {
    struct buf text = BUF_INIT;
    const char *next = "", *common = NULL;
    uint32_t items = 0;
    bool truncated = false;
    for (unsigned i = 0; i < MODEL_KEYS && !truncated; i++) {
        const char *key = model->keys[i];
        if (!model->present[i] || strncmp(key, prefix, strlen(prefix)) != 0)
            continue;
        const char *found = delimiter[0] != '\0' ? strstr(key + strlen(prefix), delimiter) : NULL;
        size_t size = found != NULL ? (size_t)(found - key) + strlen(delimiter) : strlen(key);
        const char *item = arena_strndup(&world->arena, key, size);
        if (strcmp(item, after) <= 0 ||
            (found != NULL && common != NULL && strcmp(item, common) == 0))
            continue;
        truncated = items == limit;
        if (truncated)
            break;
        buf_printf(&text, found != NULL ? "[%s] " : "%s ", item);
        common = found != NULL ? item : common;
        next = item;
        items++;
    }
    if (truncated)
        buf_printf(&text, "+ %s", next);
    char *copy = arena_strndup(&world->arena, text.data != NULL ? text.data : "", text.size);
    buf_fini(&text);
    return copy;
}

static void play_history(uint64_t seed) {
    struct world world;
    struct rng rng;
    struct model model = {0};
    rng_init(&rng, seed);
    open_shard(&world);
    make_keys(&rng, &model);
    for (unsigned step = 0; step < 400; step++) {
        unsigned i = (unsigned)rng_below(&rng, MODEL_KEYS);
        if (rng_chance(&rng, 600000)) {
            Pb__Object object = object_of(&world, 1000 + step, 1);
            assert_int_equal(put(&world, model.keys[i], &object, NULL)->code, 0);
            model.present[i] = true;
        } else {
            assert_int_equal(delete (&world, model.keys[i], NULL)->existed, model.present[i]);
            model.present[i] = false;
        }
        const char *after = rng_chance(&rng, 500000) ? model.keys[rng_below(&rng, MODEL_KEYS)] : "";
        const char *prefix = (const char *const[]){"", "a", "a/", "b"}[rng_below(&rng, 4)];
        const char *delimiter = (const char *const[]){"", "/", "b/"}[rng_below(&rng, 3)];
        uint32_t limit = 1 + (uint32_t)rng_below(&rng, 20);
        assert_string_equal(print_list(&world, list(&world, prefix, delimiter, after, limit)),
                            model_list(&world, &model, prefix, delimiter, after, limit));
        assert_int_equal(get(&world, model.keys[i])->code, model.present[i] ? 0 : ERR_NO_SUCH_KEY);
    }
    world_close(&world);
}

static void test_random_history(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        play_history(seed);
}

/* ---- at most once ---- */

static Pb__Command put_command(struct world *world, Pb__PutObject *op, Pb__Object *object) {
    Pb__Command command = PB__COMMAND__INIT;
    op->bucket = pb_text("b");
    op->key = pb_text("k");
    op->object = object;
    command.op_case = PB__COMMAND__OP_PUT_OBJECT;
    command.put_object = op;
    command.request_id = make_id(world, 4711);
    return command;
}

static void test_at_most_once(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    Pb__Object object = object_of(&world, 1, 1), newer = object_of(&world, 2, 1);
    Pb__PutObject op = PB__PUT_OBJECT__INIT;
    Pb__Command command = put_command(&world, &op, &object);
    assert_int_equal(submit(&world, &command)->code, 0);
    assert_int_equal(put(&world, "k", &newer, NULL)->code, 0);
    const Pb__Reply *again = submit(&world, &command);
    assert_int_equal(again->code, 0);
    assert_string_equal(again->object->etag, "etag1"); /* what it was told the first time */
    assert_string_equal(get(&world, "k")->object->etag, "etag2");
    world_reopen(&world);
    assert_string_equal(submit(&world, &command)->object->etag, "etag1");
    assert_string_equal(get(&world, "k")->object->etag, "etag2");
    world_close(&world);
}

/* Twice in one slot, and a refusal is remembered too. */
static void test_at_most_once_in_a_slot(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    Pb__DeleteObject op = PB__DELETE_OBJECT__INIT;
    op.bucket = pb_text("absent");
    op.key = pb_text("k");
    Pb__Command command = PB__COMMAND__INIT;
    command.op_case = PB__COMMAND__OP_DELETE_OBJECT;
    command.delete_object = &op;
    command.request_id = make_id(&world, 99);
    struct buf packed = BUF_INIT, replies[2] = {BUF_INIT, BUF_INIT};
    pb_pack(&packed, &command.base);
    const struct span commands[] = {buf_span(&packed), buf_span(&packed)};
    size_t before = catalog_memory_count(world.memory);
    assert_int_equal(
        catalog_apply(world.catalog, &world.kv, ++world.slot, commands, 2, replies, NULL), 0);
    assert_true(span_equal(buf_span(&replies[0]), buf_span(&replies[1])));
    assert_int_equal(catalog_memory_count(world.memory), before + 1); /* the slot's record */
    assert_int_equal(set_gate(&world, "absent", 1, true, false)->code, 0);
    assert_int_equal(submit(&world, &command)->code, ERR_NO_SUCH_BUCKET);
    buf_fini(&packed);
    buf_fini(&replies[0]);
    buf_fini(&replies[1]);
    world_close(&world);
}

#define BATCH 4096u
#define SLOTS (CATALOG_WINDOW / BATCH) /* of so many commands that are remembered */

/* A slot of commands that change nothing. */
static void apply_batch(struct world *world) {
    struct buf packed[BATCH] = {BUF_INIT}, replies[BATCH] = {BUF_INIT};
    struct span commands[BATCH];
    for (uint64_t i = 0; i < BATCH; i++) {
        Pb__Command command = PB__COMMAND__INIT;
        command.request_id = make_id(world, (world->slot + 1) << 32 | (i + 1));
        command.since_slot = world->slot;
        pb_pack(&packed[i], &command.base);
        commands[i] = buf_span(&packed[i]);
    }
    assert_int_equal(
        catalog_apply(world->catalog, &world->kv, ++world->slot, commands, BATCH, replies, NULL),
        0);
    for (unsigned i = 0; i < BATCH; i++) {
        buf_fini(&packed[i]);
        buf_fini(&replies[i]);
    }
    arena_reset(&world->arena);
}

/* Two replicas, one of which is reopened now and then, stay the same when the window runs over. */
static void test_window_runs_over(void **state) {
    (void)state;
    struct world a, b;
    world_open(&a, 1);
    world_open(&b, 1);
    while (a.slot < SLOTS + 2) {
        apply_batch(&a);
        apply_batch(&b);
        if (b.slot % 16 == 0)
            world_reopen(&b);
    }
    assert_int_equal(catalog_memory_count(a.memory), SLOTS + 1); /* and what was forgotten */
    assert_true(catalog_memory_equal(a.memory, b.memory));
    world_close(&a);
    world_close(&b);
}

/* What may have been carried out and forgotten is never carried out again. */
static void test_forgotten_commands(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    Pb__Object object = object_of(&world, 1, 1), newer = object_of(&world, 2, 1);
    Pb__PutObject op = PB__PUT_OBJECT__INIT;
    Pb__Command command = put_command(&world, &op, &object), late;
    assert_int_equal(submit(&world, &command)->code, 0);
    uint64_t put_slot = world.slot;
    assert_int_equal(put(&world, "k", &newer, NULL)->code, 0);
    apply_batch(&world);
    object = object_of(&world, 1, 1); /* its memory went with the batch's */
    command = put_command(&world, &op, &object);
    assert_int_equal(submit(&world, &command)->slot, put_slot); /* still remembered */
    while (world.slot < put_slot + SLOTS + 2)
        apply_batch(&world);
    object = object_of(&world, 1, 1);
    command = late = put_command(&world, &op, &object);
    late.request_id = make_id(&world, 4712); /* first sent before the other, and lost until now */
    command.since_slot = late.since_slot = put_slot - 1;
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(submit(&world, &command)->code, ERR_FORGOTTEN);
        assert_int_equal(submit(&world, &late)->code, ERR_FORGOTTEN);
        assert_string_equal(get(&world, "k")->object->etag, "etag2");
        world_reopen(&world);
    }
    late.since_slot = submit(&world, &late)->slot; /* the refusal itself is not remembered */
    assert_int_equal(submit(&world, &late)->code, 0);
    assert_string_equal(get(&world, "k")->object->etag, "etag1");
    world_close(&world);
}

/* ---- hostile commands ---- */

/* Every command with nothing in it: refused or harmless, in a shard and in the root group. */
static void test_empty_commands(void **state) {
    (void)state;
    for (uint32_t group = 0; group < 2; group++) {
        struct world world;
        world_open(&world, group);
        for (unsigned field = 1; field < 70; field++) {
            char bytes[3] = {(char)((field << 3 | 2) & 0x7f), (char)(field >> 4), 0};
            if (field >= 16)
                bytes[0] = (char)(bytes[0] | 0x80);
            struct span command = {bytes, field >= 16 ? 3 : 2};
            if (field < 16)
                bytes[1] = 0;
            const Pb__Reply *reply = submit_bytes(&world, command);
            bool harmless =
                group == 1 ? field == 18 || field == 19 : field == 51 || field == 52 || field == 53;
            assert_int_equal(reply->code == 0, harmless);
            struct buf answer = BUF_INIT;
            assert_int_equal(catalog_query(group, &world.kv, command, &answer, NULL), 0);
            buf_fini(&answer);
        }
        world_close(&world);
    }
}

static bool does_grow(const Pb__Command *command) {
    uint8_t bytes[256];
    size_t size = pb__command__get_packed_size(command);
    assert_in_range(size, 0, sizeof bytes);
    pb__command__pack(command, bytes);
    return catalog_grows((struct span){(const char *)bytes, size});
}

static void test_growth(void **state) {
    (void)state;
    Pb__CreateBucket create = PB__CREATE_BUCKET__INIT;
    Pb__DeleteObject delete = PB__DELETE_OBJECT__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    assert_false(does_grow(&command));
    command.op_case = PB__COMMAND__OP_CREATE_BUCKET;
    command.create_bucket = &create;
    assert_true(does_grow(&command));
    command.op_case = PB__COMMAND__OP_DELETE_OBJECT;
    command.delete_object = &delete;
    assert_false(does_grow(&command));
    assert_false(catalog_grows(SPAN_LITERAL("\xff\xff\xff")));
}

static void test_hostile_puts(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    char long_name[2000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    Pb__Object fine = object_of(&world, 1, 1), bad[6];
    for (size_t i = 0; i < 6; i++)
        bad[i] = object_of(&world, 2 + i, 1);
    bad[0].version.len = 15;
    bad[1].chunks[0]->id.len = 3;
    bad[2].size = 11;
    bad[3].inline_data = pb_bytes("x", 1);
    bad[4].job = pb_bytes("short", 5);
    bad[5].chunks[0]->length = 0;
    bad[5].size = 0;
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(put(&world, "k", &bad[i], NULL)->code, ERR_INVALID);
    assert_int_equal(put(&world, "", &fine, NULL)->code, ERR_INVALID_KEY);
    assert_int_equal(put(&world, long_name, &fine, NULL)->code, ERR_KEY_TOO_LONG);
    assert_int_equal(put(&world, "k", NULL, NULL)->code, ERR_PROTOCOL);
    long_name[1024] = '\0';
    assert_int_equal(put(&world, long_name, &fine, NULL)->code, 0);
    assert_int_equal(set_gate(&world, long_name, 9, true, false)->code, ERR_INVALID_BUCKET_NAME);
    assert_int_equal(list(&world, long_name, "/", long_name, 9)->code, 0);
    assert_int_equal(submit_bytes(&world, SPAN_LITERAL("\xff\xff\xff"))->code, ERR_PROTOCOL);
    assert_int_equal(submit_bytes(&world, (struct span){NULL, 0})->code, ERR_PROTOCOL);
    world_close(&world);
}

/* A failing read stops the replica: it never becomes a command's result. */
static void test_failing_reads(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    Pb__Object object = object_of(&world, 1, 1);
    Pb__PutObject op = PB__PUT_OBJECT__INIT;
    Pb__Command command = put_command(&world, &op, &object);
    struct buf packed = BUF_INIT;
    pb_pack(&packed, &command.base);
    const struct span bytes = buf_span(&packed);
    unsigned n = 0;
    int rc;
    do {
        struct catalog_memory *copy = catalog_memory_copy(world.memory);
        struct catalog_kv kv = catalog_memory_kv(copy);
        struct catalog *catalog;
        struct buf reply = BUF_INIT;
        struct err err = {0};
        assert_int_equal(catalog_open(3, &kv, &catalog, &err), 0);
        catalog_memory_fail_read(copy, ++n);
        rc = catalog_apply(catalog, &kv, 100, &bytes, 1, &reply, &err);
        assert_true(rc == 0 || rc == ERR_IO);
        buf_fini(&reply);
        catalog_close(catalog);
        catalog_memory_free(copy);
    } while (rc != 0);
    assert_int_equal(n, 3); /* two reads: the gate and the object */
    buf_fini(&packed);
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),           cmocka_unit_test(test_gate),
        cmocka_unit_test(test_put_get_delete),   cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_garbage),          cmocka_unit_test(test_settle),
        cmocka_unit_test(test_settle_in_steps),  cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_provisional), cmocka_unit_test(test_random_history),
        cmocka_unit_test(test_at_most_once),     cmocka_unit_test(test_at_most_once_in_a_slot),
        cmocka_unit_test(test_window_runs_over), cmocka_unit_test(test_forgotten_commands),
        cmocka_unit_test(test_empty_commands),   cmocka_unit_test(test_hostile_puts),
        cmocka_unit_test(test_failing_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
