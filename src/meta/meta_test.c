/* The meta role whole: one node over a folder, and three in one process over loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/paxos.h"
#include "meta/client.h"
#include "meta/map.h"
#include "meta/meta.h"
#include "meta/replicas.h"
#include "os/clock.h"
#include "os/net.h"
#include "os/random.h"
#include "test/lib/temp_dir.h"

#define NODES_MAX 4
#define WAIT_MS 15000
#define MOVE_MS 60000
#define QUEUED 1100 /* garbage records: 50 MiB of log */
#define MISSED (3 * PAXOS_RING)

struct test_node {
    char dir[TEMP_DIR_SIZE + 16];
    char address[NET_ADDRESS_SIZE];
    struct rpc_identity identity;
    uint32_t boot;
    struct rpc_client *rpc;
    struct rpc_server *server;
    struct meta *meta;
    struct meta_client *client;
    struct map_cache maps;
};

struct cluster {
    char dir[TEMP_DIR_SIZE];
    uint32_t count;
    struct test_node nodes[NODES_MAX];
    struct place_map *genesis;
    uint64_t keep_bytes; /* of log; and its segments' size */
};

static struct cluster cluster;

static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    struct cluster *c = context;
    if (node_id == 0 || node_id > c->count)
        return ERR_NOT_FOUND;
    snprintf(ret_address, size, "%s", c->nodes[node_id - 1].address);
    return 0;
}

static void node_begin(struct cluster *c, uint32_t i) {
    struct test_node *node = &c->nodes[i];
    struct err err = {0};
    int fd;
    if (net_listen(node->address[0] != '\0' ? node->address : "127.0.0.1:0", &fd, node->address,
                   &err) != 0)
        fail_msg("%s", err.text);
    node->rpc = rpc_client_new(&node->identity, resolve, c);
    node->server = rpc_server_new(&node->identity);
    if (node->boot == 0 && replicas_found(node->dir, c->genesis, i + 1, &err) != 0)
        fail_msg("%s", err.text);
    map_cache_init(&node->maps, c->genesis);
    struct meta_options options = {.dir = node->dir,
                                   .identity = node->identity,
                                   .boot = ++node->boot,
                                   .genesis = c->genesis,
                                   .maps = &node->maps,
                                   .keep_bytes = c->keep_bytes,
                                   .segment_bytes = c->keep_bytes,
                                   .client = node->rpc,
                                   .server = node->server};
    if (meta_start(&options, &node->meta, &err) != 0)
        fail_msg("%s", err.text);
    node->client = meta_client_new(node->meta, node->rpc, &node->maps);
    if (rpc_server_start(node->server, fd, &err) != 0)
        fail_msg("%s", err.text);
}

static void node_end(struct cluster *c, uint32_t i) {
    struct test_node *node = &c->nodes[i];
    if (node->meta == NULL)
        return;
    rpc_server_stop(node->server);
    node->client = meta_client_free(node->client);
    node->meta = meta_stop(node->meta);
    node->server = rpc_server_free(node->server);
    node->rpc = rpc_client_free(node->rpc);
    map_cache_fini(&node->maps);
}

/* Of count nodes, the first of which hold the catalogue. */
static void cluster_of(struct cluster *c, uint32_t count, uint32_t voters) {
    *c = (struct cluster){.count = count, .keep_bytes = c->keep_bytes};
    assert_int_equal(temp_dir_make(c->dir), 0);
    c->genesis = place_map_new(count, 4, count);
    c->genesis->epoch = 1;
    c->genesis->cluster_id = random_id128();
    c->genesis->shards = 2;
    c->genesis->voter_count = voters;
    for (uint32_t i = 0; i < count; i++) {
        c->genesis->nodes[i] =
            (struct place_node){.id = i + 1,
                                .incarnation = random_id128(),
                                .roles = i < voters ? ROLE_ALL : ROLE_ALL & ~ROLE_META,
                                .weight = 1,
                                .name = "n"};
        c->nodes[i].identity =
            (struct rpc_identity){.cluster_id = c->genesis->cluster_id,
                                  .incarnation = c->genesis->nodes[i].incarnation,
                                  .node_id = i + 1};
        snprintf(c->nodes[i].dir, sizeof c->nodes[i].dir, "%s/%u", c->dir, i + 1);
    }
    for (uint32_t v = 0; v < voters; v++)
        c->genesis->voters[v] = v + 1;
    place_groups(c->genesis);
    assert_int_equal(place_assign(c->genesis, NULL, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        node_begin(c, i);
}

static void cluster_begin(struct cluster *c, uint32_t count) {
    cluster_of(c, count, count);
}

static int teardown(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    for (uint32_t i = 0; i < c->count; i++)
        node_end(c, i);
    c->genesis = place_map_unref(c->genesis);
    c->keep_bytes = 0;
    return temp_dir_remove(c->dir);
}

/* ---- words of the catalogue ---- */

static int create_bucket(struct test_node *node, const char *name, struct err *err) {
    struct arena arena;
    arena_init(&arena, 1 << 20);
    Pb__CreateBucket create = PB__CREATE_BUCKET__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    create.name = (char *)(uintptr_t)name;
    create.created_ms = 1;
    command.op_case = PB__COMMAND__OP_CREATE_BUCKET;
    command.create_bucket = &create;
    Pb__Reply *reply;
    int r = meta_submit(node->client, META_ROOT, &command, clock_deadline_ms(WAIT_MS), &arena,
                        &reply, err);
    arena_fini(&arena);
    return r;
}

static int get_bucket(struct test_node *node, const char *name, struct err *err) {
    struct arena arena;
    arena_init(&arena, 1 << 20);
    Pb__GetBucket get = PB__GET_BUCKET__INIT;
    Pb__Query query = PB__QUERY__INIT;
    get.name = (char *)(uintptr_t)name;
    query.op_case = PB__QUERY__OP_GET_BUCKET;
    query.get_bucket = &get;
    Pb__Reply *reply;
    int r = meta_query(node->client, META_ROOT, &query, clock_deadline_ms(WAIT_MS), &arena, &reply,
                       err);
    if (r == 0)
        assert_string_equal(reply->bucket->name, name);
    arena_fini(&arena);
    return r;
}

static void must_create(struct test_node *node, const char *name) {
    struct err err = {0};
    if (create_bucket(node, name, &err) != 0)
        fail_msg("create %s: %s", name, err.text);
}

static void must_get(struct test_node *node, const char *name) {
    struct err err = {0};
    if (get_bucket(node, name, &err) != 0)
        fail_msg("get %s: %s", name, err.text);
}

static uint32_t wait_leader(struct cluster *c) {
    for (uint64_t deadline_ns = clock_deadline_ms(WAIT_MS); clock_now_ns() < deadline_ns;
         usleep(1000))
        for (uint32_t i = 0; i < c->count; i++)
            if (c->nodes[i].meta != NULL && meta_leads(c->nodes[i].client, META_ROOT))
                return i;
    fail_msg("no leader");
    return 0;
}

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

static void test_cluster_map_is_founded(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 1);
    struct place_map *map = meta_map_refresh(c->nodes[0].client, 0, clock_deadline_ms(WAIT_MS));
    assert_true(id128_equal(map->cluster_id, c->genesis->cluster_id));
    place_map_unref(map);
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

static void test_corrupt_log_is_refused(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 1);
    must_create(&c->nodes[0], "first-bucket");
    node_end(c, 0);
    char path[TEMP_DIR_SIZE + 64], byte;
    snprintf(path, sizeof path, "%s/log/00000001.log", c->nodes[0].dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, 4096 + 100), 1); /* in the first batch */
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 4096 + 100), 1);
    close(fd);
    struct test_node *node = &c->nodes[0];
    struct meta_options options = {.dir = node->dir,
                                   .identity = node->identity,
                                   .boot = 2,
                                   .genesis = c->genesis,
                                   .maps = NULL};
    struct err err = {0};
    assert_int_equal(meta_start(&options, &node->meta, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "the log is corrupt at 00000001.log block 1"));
    assert_null(node->meta);
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

static void wait_group_applied(struct test_node *node, uint32_t group, uint64_t slot) {
    struct meta_group_status rows[8] = {0};
    for (uint64_t deadline_ns = clock_deadline_ms(WAIT_MS); clock_now_ns() < deadline_ns;
         usleep(2000)) {
        meta_status(node->meta, rows, 8);
        if (rows[group].applied_upto >= slot)
            return;
    }
    fail_msg("it stays at slot %llu of %llu", (unsigned long long)rows[group].applied_upto,
             (unsigned long long)slot);
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

static bool is_placed(struct meta *meta, uint32_t group, uint32_t self, uint32_t nodes) {
    struct meta_group_status rows[8];
    assert_true(meta_status(meta, rows, 8) > group);
    uint32_t voters = 0;
    for (uint32_t i = 0; i < rows[group].voter_count; i++)
        voters |= 1u << (rows[group].voters[i] - 1);
    bool wanted = nodes >> (self - 1) & 1;
    return wanted ? rows[group].votes && voters == nodes : !rows[group].hosted;
}

/* All groups' voters are the nodes of the set, by bits from node 1 on, and nobody else has a
 * replica. */
static void wait_placed(struct cluster *c, uint32_t nodes) {
    uint64_t deadline_ns = clock_deadline_ms(MOVE_MS);
    for (uint32_t g = 0; g <= c->genesis->shards; g++)
        for (uint32_t i = 0; i < c->count; i++)
            while (c->nodes[i].meta != NULL && !is_placed(c->nodes[i].meta, g, i + 1, nodes)) {
                if (clock_now_ns() > deadline_ns)
                    fail_msg("group %u on node %u is not placed on %x", g, i + 1, nodes);
                usleep(2000);
            }
}

static void test_groups_move_with_the_voters(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_of(c, 4, 1);
    must_create(&c->nodes[0], "alone");
    wait_placed(c, 1);
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
        cmocka_unit_test_teardown(test_corrupt_log_is_refused, teardown),
        cmocka_unit_test_teardown(test_three_nodes_survive_their_leader, teardown),
        cmocka_unit_test_teardown(test_client_without_a_replica, teardown),
        cmocka_unit_test_teardown(test_groups_move_with_the_voters, teardown),
        cmocka_unit_test_teardown(test_a_laggard_fetches_the_state, teardown),
        cmocka_unit_test_teardown(test_a_lost_disk_is_another_replica, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
