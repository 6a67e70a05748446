/* The meta role whole: one node over a folder, and three in one process over loopback. */
#include "core/paxos.h"
#include "meta/cluster_harness.h"
#include "os/space.h"
#include "test/lib/fake_space.h"

#define QUEUED 1100 /* garbage records: 50 MiB of log */
#define MISSED (3 * PAXOS_RING)

static void test_one_node_keeps_what_it_acknowledged(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 1);
    struct test_node *node = &c->nodes[0];
    must_create(node, "first-bucket");
    must_get(node, "first-bucket");
    struct err err = {0};
    assert_int_equal(create_bucket(node, "first-bucket", &err), ERR_BUCKET_EXISTS);
    assert_int_equal(get_bucket(node, "other-bucket", &err), ERR_NO_SUCH_BUCKET);
    for (int round = 0; round < 3; round++) {
        char name[32];
        node_end(c, 0);
        node_begin(c, 0);
        snprintf(name, sizeof name, "bucket-%d", round);
        must_get(node, "first-bucket");
        must_create(node, name);
    }
    must_get(node, "bucket-1");
    struct meta_group_status groups[8];
    assert_int_equal(meta_status(node->meta, groups, 8), 3);
    assert_true(groups[0].leads);
    assert_true(groups[0].chosen_upto >= groups[0].applied_upto);
}

/* The first leader writes the map it was started with into the catalogue. */
static void wait_founded(struct cluster *c) {
    Pb__GetClusterMap get = PB__GET_CLUSTER_MAP__INIT;
    Pb__Query query = PB__QUERY__INIT;
    query.op_case = PB__QUERY__OP_GET_CLUSTER_MAP;
    query.get_cluster_map = &get;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    Pb__Reply *reply;
    int r = ERR_NOT_FOUND;
    for (uint64_t deadline_ns = clock_deadline_ms(WAIT_MS);
         r == ERR_NOT_FOUND && clock_now_ns() < deadline_ns; usleep(1000))
        r = meta_query(c->nodes[0].client, META_ROOT, &query, deadline_ns, &arena, &reply, NULL);
    assert_int_equal(r, 0);
    assert_true(id128_equal(pb_id128(reply->map->cluster_id), c->genesis->cluster_id));
    arena_fini(&arena);
}

static void test_cluster_map_is_founded(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 1);
    struct place_map *map = meta_map_refresh(c->nodes[0].client, 0, clock_deadline_ms(WAIT_MS));
    assert_true(id128_equal(map->cluster_id, c->genesis->cluster_id));
    place_map_unref(map);
    wait_founded(c);
}

/* ---- three nodes ---- */

static void wait_node_down(struct cluster *c, uint32_t at, uint32_t node_id, bool down) {
    for (uint64_t deadline_ns = clock_deadline_ms(WAIT_MS); clock_now_ns() < deadline_ns;
         usleep(2000)) {
        struct place_map *map = meta_map(c->nodes[at].client);
        bool is_down = place_node(map, node_id)->down;
        place_map_unref(map);
        if (is_down == down)
            return;
    }
    fail_msg("node %u never was %s in the map", node_id, down ? "down" : "up");
}

static void wait_applied(struct test_node *node, uint64_t slot) {
    wait_group_applied(node, 0, slot);
}

static void test_three_nodes_survive_their_leader(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    for (uint32_t i = 0; i < 3; i++) { /* through any of them */
        char name[32];
        snprintf(name, sizeof name, "before-%u", i);
        must_create(&c->nodes[i], name);
        must_get(&c->nodes[(i + 1) % 3], name);
    }
    uint32_t leader = wait_leader(c), other = (leader + 1) % 3;
    node_end(c, leader);
    for (uint32_t i = 0; i < MISSED; i++) { /* it will find them in the others' logs only */
        char name[32];
        snprintf(name, sizeof name, "without-%u", i);
        must_create(&c->nodes[other], name);
    }
    wait_node_down(c, other, leader + 1, true);
    node_begin(c, leader);
    must_get(&c->nodes[leader], "without-49");
    struct meta_group_status status;
    meta_status(c->nodes[other].meta, &status, 1);
    wait_applied(&c->nodes[leader], status.applied_upto);
    wait_node_down(c, leader, leader + 1, false);

    struct meta_group_status rows[8];
    unsigned count = 0;
    assert_int_equal(meta_remote_status(c->nodes[other].rpc, leader + 1, clock_deadline_ms(WAIT_MS),
                                        rows, 8, &count, NULL),
                     0);
    assert_int_equal(count, 3);
}

/* ---- full disks ---- */

static int delete_bucket(struct test_node *node, const char *name) {
    struct arena arena;
    arena_init(&arena, 1 << 20);
    Pb__BeginDeleteBucket begin = PB__BEGIN_DELETE_BUCKET__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    begin.name = (char *)(uintptr_t)name;
    command.op_case = PB__COMMAND__OP_BEGIN_DELETE_BUCKET;
    command.begin_delete_bucket = &begin;
    int r = meta_submit(node->client, META_ROOT, &command, clock_deadline_ms(WAIT_MS), &arena,
                        &reply, NULL);
    arena_fini(&arena);
    return r;
}

static int end_full(void **state) {
    for (unsigned i = 0; i < FAKE_SPACES; i++)
        fake_space_set(i, NULL, 0);
    return teardown(state);
}

/* Until a new bucket is refused, or taken. */
static void wait_create(struct test_node *node, int wanted, const char *name) {
    int r = 1;
    for (uint64_t deadline_ns = clock_deadline_ms(WAIT_MS);
         r != wanted && clock_now_ns() < deadline_ns; usleep(10000)) {
        static unsigned number;
        char each[64];
        snprintf(each, sizeof each, "%s-%u", name, number++);
        r = create_bucket(node, each, NULL);
    }
    assert_int_equal(r, wanted);
}

static void test_a_majority_without_room_takes_only_deletions(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    must_create(&c->nodes[0], "before");
    for (unsigned i = 0; i < 2; i++)
        fake_space_set(i, c->nodes[i].dir, SPACE_LOW_BYTES - 4096);
    wait_create(&c->nodes[2], ERR_NOSPACE, "refused");
    struct err err = {0};
    uint64_t begun_ns = clock_now_ns();
    assert_int_equal(create_bucket(&c->nodes[2], "refused", &err), ERR_NOSPACE);
    assert_true(clock_now_ns() - begun_ns < (uint64_t)WAIT_MS / 2 * NS_PER_MS); /* not at the end */
    assert_non_null(strstr(err.text, "full"));
    assert_int_equal(get_bucket(&c->nodes[2], "refused", NULL), ERR_NO_SUCH_BUCKET);
    must_get(&c->nodes[2], "before");
    assert_int_equal(delete_bucket(&c->nodes[2], "before"), 0);
    fake_space_set(0, NULL, 0);
    wait_create(&c->nodes[2], 0, "after");
}

static void test_a_node_without_room_does_not_lead(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    uint32_t full = wait_leader(c), other = (full + 1) % 3;
    must_create(&c->nodes[full], "before");
    fake_space_set(0, c->nodes[full].dir, 0);
    for (uint64_t deadline_ns = clock_deadline_ms(WAIT_MS);
         meta_leads(c->nodes[full].client, META_ROOT); usleep(1000))
        assert_true(clock_now_ns() < deadline_ns);
    for (int i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "without-%d", i);
        must_create(&c->nodes[i % 3], name);
    }
    fake_space_set(0, NULL, 0);
    struct meta_group_status status;
    meta_status(c->nodes[other].meta, &status, 1);
    wait_applied(&c->nodes[full], status.applied_upto);
    must_get(&c->nodes[full], "without-299");
}

static void test_client_without_a_replica(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    struct rpc_identity identity = {.cluster_id = c->genesis->cluster_id, .node_id = 9};
    struct test_node far = {.rpc = rpc_client_new(&identity, resolve, c)};
    map_cache_init(&far.maps, c->genesis);
    far.client = meta_client_new(NULL, far.rpc, &far.maps);
    must_create(&far, "from-afar");
    must_get(&far, "from-afar");
    node_end(c, wait_leader(c));
    must_create(&far, "from-afar-again");
    must_get(&far, "from-afar");
    meta_client_free(far.client);
    rpc_client_free(far.rpc);
    map_cache_fini(&far.maps);
}

/* ---- groups move ---- */

static void set_voter(struct test_node *node, uint32_t id, bool voter) {
    struct arena arena;
    arena_init(&arena, 1 << 20);
    Pb__SetVoter set = PB__SET_VOTER__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    struct err err = {0};
    Pb__Reply *reply;
    set.node = id;
    set.voter = voter;
    command.op_case = PB__COMMAND__OP_SET_VOTER;
    command.set_voter = &set;
    if (meta_submit(node->client, META_ROOT, &command, clock_deadline_ms(WAIT_MS), &arena, &reply,
                    &err) != 0)
        fail_msg("%s", err.text);
    arena_fini(&arena);
}

static void test_groups_move_with_the_voters(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_of(c, 4, 1);
    must_create(&c->nodes[0], "alone");
    wait_placed(c, 1);
    wait_founded(c);
    set_voter(&c->nodes[3], 2, true);
    set_voter(&c->nodes[3], 3, true);
    wait_placed(c, 7);
    must_create(&c->nodes[3], "with-three");
    node_end(c, 0); /* the founder is not needed any more */
    must_get(&c->nodes[3], "alone");
    must_get(&c->nodes[1], "with-three");
    set_voter(&c->nodes[1], 4, true);
    set_voter(&c->nodes[1], 1, false);
    wait_placed(c, 14);
    node_begin(c, 0); /* it has replicas that nobody wants */
    wait_placed(c, 14);
    must_get(&c->nodes[0], "with-three");
    for (uint32_t i = 1; i < 4; i++) { /* what was moved outlives a start */
        node_end(c, i);
        node_begin(c, i);
    }
    must_create(&c->nodes[2], "after-all");
    must_get(&c->nodes[3], "alone");
}

static void test_a_lost_disk_is_another_replica(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    must_create(&c->nodes[0], "before");
    node_end(c, 1);
    assert_int_equal(temp_dir_remove(c->nodes[1].dir), 0);
    must_create(&c->nodes[0], "meanwhile");
    node_begin(c, 1); /* it has promised and voted for what it does not know any more */
    wait_placed(c, 7);
    node_end(c, 0);
    must_get(&c->nodes[1], "before");
    must_create(&c->nodes[1], "after");
    must_get(&c->nodes[2], "meanwhile");
}

/* ---- the state instead of the log ---- */

static void queue_garbage(struct test_node *node, uint32_t ids) {
    struct arena arena;
    arena_init(&arena, 8 << 20);
    Pb__QueueGarbage queue = PB__QUEUE_GARBAGE__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    struct err err = {0};
    Pb__Reply *reply;
    queue.n_chunks = ids;
    queue.chunks = arena_array(&arena, ProtobufCBinaryData, ids);
    struct id128 *id = arena_array(&arena, struct id128, ids);
    for (uint32_t i = 0; i < ids; i++) {
        id[i] = random_id128();
        queue.chunks[i] = pb_id(&id[i]);
    }
    command.op_case = PB__COMMAND__OP_QUEUE_GARBAGE;
    command.queue_garbage = &queue;
    if (meta_submit(node->client, 1, &command, clock_deadline_ms(WAIT_MS), &arena, &reply, &err) !=
        0)
        fail_msg("%s", err.text);
    arena_fini(&arena);
}

static size_t count_garbage(struct test_node *node) {
    struct arena arena;
    arena_init(&arena, 64 << 20);
    Pb__ListGarbage list = PB__LIST_GARBAGE__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    struct err err = {0};
    list.queued_before_ms = UINT64_MAX;
    list.limit = 1000;
    query.op_case = PB__QUERY__OP_LIST_GARBAGE;
    query.list_garbage = &list;
    if (meta_query(node->client, 1, &query, clock_deadline_ms(WAIT_MS), &arena, &reply, &err) != 0)
        fail_msg("%s", err.text);
    size_t count = reply->n_garbage;
    arena_fini(&arena);
    return count;
}

/* One of three is away while the others' logs are trimmed past what it has. */
static void test_a_laggard_fetches_the_state(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    c->keep_bytes = 8 << 20;
    cluster_begin(c, 3);
    must_create(&c->nodes[0], "before");
    uint32_t leader = wait_leader(c), away = (leader + 1) % 3, other = (leader + 2) % 3;
    node_end(c, away);
    for (uint32_t i = 0; i < QUEUED; i++)
        queue_garbage(&c->nodes[leader], 3000);
    for (uint64_t from; (from = meta_log_first(c->nodes[leader].meta)) <= 1;)
        usleep(10000);
    for (uint64_t from; (from = meta_log_first(c->nodes[other].meta)) <= 1;)
        usleep(10000);
    size_t garbage = count_garbage(&c->nodes[other]);
    node_begin(c, away);
    must_create(&c->nodes[away], "after");
    struct meta_group_status rows[3];
    meta_status(c->nodes[leader].meta, rows, 3);
    for (uint32_t g = 0; g < 3; g++)
        wait_group_applied(&c->nodes[away], g, rows[g].applied_upto);
    node_end(c, leader);
    must_get(&c->nodes[away], "before");
    must_get(&c->nodes[away], "after");
    assert_int_equal(count_garbage(&c->nodes[away]), garbage);
    node_end(c, away); /* what was installed outlives a start */
    node_begin(c, away);
    queue_garbage(&c->nodes[away], 1);
    assert_int_equal(count_garbage(&c->nodes[away]), garbage);
    must_get(&c->nodes[away], "after");

    node_begin(c, leader);
    must_get(&c->nodes[leader], "after");
    node_end(c, away); /* without a state store it is another replica */
    char path[TEMP_DIR_SIZE + 32];
    snprintf(path, sizeof path, "%s/state", c->nodes[away].dir);
    assert_int_equal(temp_dir_remove(path), 0);
    node_begin(c, away);
    wait_placed(c, 7);
    node_end(c, other);
    must_get(&c->nodes[away], "before");
    assert_int_equal(count_garbage(&c->nodes[away]), garbage);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_one_node_keeps_what_it_acknowledged, teardown),
        cmocka_unit_test_teardown(test_cluster_map_is_founded, teardown),
        cmocka_unit_test_teardown(test_three_nodes_survive_their_leader, teardown),
        cmocka_unit_test_teardown(test_a_majority_without_room_takes_only_deletions, end_full),
        cmocka_unit_test_teardown(test_a_node_without_room_does_not_lead, end_full),
        cmocka_unit_test_teardown(test_client_without_a_replica, teardown),
        cmocka_unit_test_teardown(test_groups_move_with_the_voters, teardown),
        cmocka_unit_test_teardown(test_a_laggard_fetches_the_state, teardown),
        cmocka_unit_test_teardown(test_a_lost_disk_is_another_replica, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
