/* What a bad disk costs a node: nothing where others have it, and alone a clear refusal. */
#include <fcntl.h>

#include "meta/cluster_harness.h"
#include "meta/engine.h"
#include "wal/block.h"

#define BOTH_WAIT_MS 5000 /* longer than one would, whom the others can spare */

static int log_open(const struct test_node *node) {
    char path[TEMP_DIR_SIZE + 64];
    snprintf(path, sizeof path, "%s/log/00000001.log", node->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void flip(int fd, uint32_t block) {
    char byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)block * WAL_BLOCK + 100), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)block * WAL_BLOCK + 100), 1);
}

/* Of the log's batches as they lie there: blocks of records, or of the index. Returns how many. */
static uint32_t flip_all(const struct test_node *node, bool records, bool index) {
    int fd = log_open(node);
    char block[WAL_BLOCK];
    uint32_t flipped = 0;
    for (uint32_t b = 1; pread(fd, block, sizeof block, (off_t)b * WAL_BLOCK) == WAL_BLOCK; b++) {
        struct wal_head head;
        if (!wal_block_valid(block, &head) || head.kind != WAL_DATA)
            continue;
        bool is_index = head.index < head.index_blocks;
        if (is_index ? !index : !records)
            continue;
        flip(fd, b);
        flipped++;
    }
    close(fd);
    assert_true(flipped > 0);
    return flipped;
}

static int try_begin(struct cluster *c, uint32_t i, struct err *err) {
    struct test_node *node = &c->nodes[i];
    struct rpc_client *rpc = rpc_client_new(&node->identity, resolve, c);
    map_cache_init(&node->maps, c->genesis);
    struct meta_options options = {.dir = node->dir,
                                   .identity = node->identity,
                                   .boot = ++node->boot,
                                   .genesis = c->genesis,
                                   .maps = &node->maps,
                                   .client = rpc};
    int r = meta_start(&options, &node->meta, err);
    assert_null(node->meta);
    map_cache_fini(&node->maps);
    rpc_client_free(rpc);
    return r;
}

static void test_alone_it_is_refused(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 1);
    must_create(&c->nodes[0], "first-bucket");
    node_end(c, 0);
    flip_all(&c->nodes[0], false, true); /* the records tell what the indices would */
    node_begin(c, 0);
    must_get(&c->nodes[0], "first-bucket");
    node_end(c, 0);
    struct err err = {0};
    flip_all(&c->nodes[0], true, false);
    assert_int_equal(try_begin(c, 0, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "the log has lost"));
}

/* Values are lost, and what they are is known: the others have them. */
static void test_lost_values_are_fetched(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    for (uint32_t i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "before-%u", i);
        must_create(&c->nodes[i], name);
    }
    node_end(c, 1);
    flip_all(&c->nodes[1], true, false);
    node_begin(c, 1);
    must_create(&c->nodes[1], "after");
    struct meta_group_status rows[3];
    meta_status(c->nodes[0].meta, rows, 3);
    for (uint32_t g = 0; g < 3; g++) {
        assert_true(rows[g].hosted);
        wait_group_applied(&c->nodes[1], g, rows[g].applied_upto);
    }
    node_end(c, 0);
    must_get(&c->nodes[1], "before-0");
    must_create(&c->nodes[1], "without-one");
    must_get(&c->nodes[2], "after");
}

/* Node 2, which is down, comes back with replicas that have everything, and are needed. */
static void assert_remade(struct cluster *c) {
    must_create(&c->nodes[0], "meanwhile");
    node_begin(c, 1);
    wait_placed(c, 7);
    node_end(c, 0);
    must_get(&c->nodes[1], "before");
    must_create(&c->nodes[1], "after");
    must_get(&c->nodes[2], "meanwhile");
}

/* Nothing is known of what was promised: the replicas are made anew. */
static void test_a_ruined_log_is_another_replica(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    must_create(&c->nodes[0], "before");
    node_end(c, 1);
    flip_all(&c->nodes[1], true, true);
    assert_remade(c);
    node_end(c, 1); /* the damage is still there, and not theirs */
    node_begin(c, 1);
    must_create(&c->nodes[2], "once-more");
}

static void mark_corrupt(const struct test_node *node) {
    char mark[TEMP_DIR_SIZE + 64];
    snprintf(mark, sizeof mark, "%s/state.corrupt", node->dir);
    int fd = open(mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* Found by a process before. */
static void test_a_corrupt_state_is_had_from_others(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster_begin(c, 3);
    must_create(&c->nodes[0], "before");
    node_end(c, 1);
    mark_corrupt(&c->nodes[1]);
    assert_remade(c);
}

static void note_trimmed(const struct test_node *node) {
    struct replicas replicas;
    const uint64_t upto[] = {1, 1, 1};
    assert_int_equal(replicas_open(&replicas, node->dir, node->boot, NULL), 0);
    assert_int_equal(replicas_set_trimmed(&replicas, upto, 3, NULL), 0);
    replicas_close(&replicas);
}

/* Not before the others are a quorum. */
static void test_a_start_waits_until_others_lead(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    struct err err = {0};
    cluster_begin(c, 3);
    must_create(&c->nodes[0], "before");
    node_end(c, 1);
    node_end(c, 2);
    mark_corrupt(&c->nodes[1]);
    note_trimmed(&c->nodes[1]);
    assert_int_equal(try_begin(c, 1, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "the other nodes do not lead all groups"));
    node_begin(c, 2);
    assert_remade(c);
}

/* Each could be spared if the other were whole: the process would end. */
static void test_two_damaged_nodes_wait_for_each_other(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    struct err why = {0};
    cluster_begin(c, 3);
    must_create(&c->nodes[0], "before");
    wait_placed(c, 7);
    err_set(&why, ERR_CORRUPT, "as a test says");
    damage_note(c->nodes[0].meta, &why);
    damage_note(c->nodes[1].meta, &why);
    for (uint64_t until_ns = clock_deadline_ms(BOTH_WAIT_MS); clock_now_ns() < until_ns;)
        usleep(10000);
    for (uint64_t until_ns = clock_deadline_ms(WAIT_MS); /* what is damaged does not lead */
         !meta_leads(c->nodes[2].client, META_ROOT) && clock_now_ns() < until_ns;)
        usleep(10000);
    assert_true(meta_leads(c->nodes[2].client, META_ROOT));
    must_create(&c->nodes[0], "after");
    must_get(&c->nodes[1], "after");
}

/* It has nobody to have it from. */
static void test_alone_it_goes_on(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    struct err why = {0};
    cluster_begin(c, 1);
    err_set(&why, ERR_CORRUPT, "as a test says");
    damage_note(c->nodes[0].meta, &why);
    assert_true(damage_is_known(c->nodes[0].meta));
    assert_false(damage_is_final(c->nodes[0].meta));
    must_create(&c->nodes[0], "after");
    must_get(&c->nodes[0], "after");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_alone_it_is_refused, teardown),
        cmocka_unit_test_teardown(test_lost_values_are_fetched, teardown),
        cmocka_unit_test_teardown(test_a_ruined_log_is_another_replica, teardown),
        cmocka_unit_test_teardown(test_a_corrupt_state_is_had_from_others, teardown),
        cmocka_unit_test_teardown(test_a_start_waits_until_others_lead, teardown),
        cmocka_unit_test_teardown(test_two_damaged_nodes_wait_for_each_other, teardown),
        cmocka_unit_test_teardown(test_alone_it_goes_on, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
