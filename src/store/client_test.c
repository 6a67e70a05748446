/* Three stores in one process over real rpc on loopback: copies, lost and stalled holders, damage,
 * and repair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/rng.h"
#include "meta/client.h"
#include "os/clock.h"
#include "os/net.h"
#include "store/client_internal.h"
#include "store/repair.h"

#define NODES 3u
#define LARGE ((uint64_t)9 << 20)

/* ---- a catalogue that only knows the map ---- */

struct meta_client {
    pthread_mutex_t lock;
    struct place_map *map;
    struct place_map *newer; /* what a refresh finds */
};

struct place_map *meta_map(struct meta_client *client) {
    pthread_mutex_lock(&client->lock);
    struct place_map *map = place_map_ref(client->map);
    pthread_mutex_unlock(&client->lock);
    return map;
}

struct place_map *meta_map_refresh(struct meta_client *client, uint64_t epoch,
                                   uint64_t deadline_ns) {
    pthread_mutex_lock(&client->lock);
    if (client->newer != NULL) {
        place_map_unref(client->map);
        client->map = client->newer;
        client->newer = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    return meta_map(client);
}

static void meta_set(struct meta_client *client, struct place_map *map) {
    pthread_mutex_lock(&client->lock);
    place_map_unref(client->map);
    client->map = map;
    pthread_mutex_unlock(&client->lock);
}

/* ---- the world ---- */

struct node {
    struct world *world;
    struct rpc_identity identity;
    char dir[96];
    struct meta_client meta;
    struct rpc_client *rpc;
    struct rpc_server *server;
    struct store *store;
    struct store_client *client;
};

struct world {
    char dir[64];
    pthread_mutex_t lock; /* of the addresses */
    char addresses[NODES + 1][NET_ADDRESS_SIZE];
    struct node nodes[NODES + 1]; /* by id; 0 is a node without the store role */
};

static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    struct world *world = context;
    if (node_id == 0 || node_id > NODES)
        return ERR_NOT_FOUND;
    pthread_mutex_lock(&world->lock);
    snprintf(ret_address, size, "%s", world->addresses[node_id]);
    pthread_mutex_unlock(&world->lock);
    return 0;
}

static struct place_map *make_map(uint64_t epoch, uint32_t replicas, uint32_t down_node) {
    struct place_map *map = place_map_new(NODES, 6, replicas);
    map->epoch = epoch;
    for (uint32_t i = 0; i < NODES; i++)
        map->nodes[i] = (struct place_node){
            .id = i + 1, .roles = ROLE_ALL, .weight = 1, .down = i + 1 == down_node};
    assert_int_equal(place_assign(map, NULL, NULL), 0);
    return map;
}

static uint64_t soon(void) {
    return clock_deadline_ms(20000);
}

/* The server, which may come back at another port. */
static void serve(struct node *node) {
    int fd = -1;
    char address[NET_ADDRESS_SIZE];
    assert_int_equal(net_listen("127.0.0.1:0", &fd, address, NULL), 0);
    pthread_mutex_lock(&node->world->lock);
    memcpy(node->world->addresses[node->identity.node_id], address, sizeof address);
    pthread_mutex_unlock(&node->world->lock);
    assert_int_equal(rpc_server_start(node->server, fd, NULL), 0);
}

static void start_node(struct node *node) {
    struct err err = {0};
    node->rpc = rpc_client_new(&node->identity, resolve, node->world);
    if (node->identity.node_id <= NODES) {
        node->server = rpc_server_new(&node->identity);
        struct store_options options = {.dir = node->dir,
                                        .identity = node->identity,
                                        .client = node->rpc,
                                        .server = node->server};
        if (store_start(&options, &node->store, &err) != 0)
            fail_msg("%s", err.text);
        serve(node);
    }
    node->client = store_client_new(node->store, node->identity.node_id, &node->meta, node->rpc);
}

static void stop_server(struct node *node) {
    node->server = rpc_server_free(node->server);
}

static void stop_node(struct node *node) {
    if (node->server != NULL)
        stop_server(node);
    node->client = store_client_free(node->client);
    node->store = store_stop(node->store);
    node->rpc = rpc_client_free(node->rpc);
}

static int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    pthread_mutex_init(&world->lock, NULL);
    snprintf(world->dir, sizeof world->dir, "/tmp/quern-stores-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    for (uint32_t i = 0; i <= NODES; i++) {
        struct node *node = &world->nodes[i];
        node->world = world;
        node->identity = (struct rpc_identity){
            .cluster_id = {{7}}, .incarnation = {{(uint8_t)i}}, .node_id = i > 0 ? i : NODES + 1};
        snprintf(node->dir, sizeof node->dir, "%s/%u", world->dir, i);
        pthread_mutex_init(&node->meta.lock, NULL);
        node->meta.map = make_map(1, NODES, 0);
        start_node(node);
    }
    *state = world;
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    for (uint32_t i = 0; i <= NODES; i++)
        stop_node(&world->nodes[i]);
    for (uint32_t i = 0; i <= NODES; i++) {
        place_map_unref(world->nodes[i].meta.map);
        place_map_unref(world->nodes[i].meta.newer);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static char *make_data(uint64_t seed, uint64_t length) {
    struct rng rng;
    rng_init(&rng, seed);
    char *data = malloc(length + 8);
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word = rng_next(&rng);
        memcpy(data + i, &word, sizeof word);
    }
    return data;
}

static int put(struct node *node, const char *data, uint64_t length, struct chunk_ref *ret_chunk) {
    struct store_write *write;
    struct err err = {0};
    int rc = store_write_begin(node->client, length, soon(), &write, &err);
    assert_int_equal(rc, 0);
    for (uint64_t at = 0; rc == 0 && at < length; at += 300000)
        rc = store_write_append(write, data + at, length - at < 300000 ? length - at : 300000,
                                soon(), &err);
    if (rc != 0) {
        store_write_abort(write);
        return rc;
    }
    rc = store_write_end(write, soon(), ret_chunk, &err);
    if (rc == 0) {
        assert_int_equal(ret_chunk->length, length);
        assert_int_equal(ret_chunk->crc32c, crc32c_update(0, data, length));
        assert_true(ret_chunk->ends_line == (length > 0 && data[length - 1] == '\n'));
    }
    return rc;
}

struct check {
    const char *expected;
    uint64_t left;
};

static int sink_check(void *context, const void *data, size_t size) {
    struct check *check = context;
    assert_true(size <= check->left);
    assert_memory_equal(check->expected, data, size);
    check->expected += size;
    check->left -= size;
    return 0;
}

static int get(struct node *node, const struct chunk_ref *chunk, const char *data) {
    struct check check = {data, chunk->length};
    int rc = store_read(node->client, chunk, 0, chunk->length, sink_check, &check, soon(), NULL);
    if (rc == 0)
        assert_int_equal(check.left, 0);
    return rc;
}

static uint64_t count_chunks(struct node *node) {
    struct store_status status;
    store_get_status(node->store, &status);
    return status.chunks;
}

/* Stragglers finish by themselves. */
static void wait_for_chunks(struct node *node, uint64_t count) {
    for (uint64_t deadline_ns = soon();
         count_chunks(node) != count && clock_now_ns() < deadline_ns;)
        clock_sleep_until(clock_deadline_ms(10));
    assert_int_equal(count_chunks(node), count);
}

static void damage(struct node *node, struct id128 id) {
    struct index_entry entry;
    assert_int_equal(index_get(node->store->index, id, &entry, NULL), 0);
    struct volume *volume;
    assert_int_equal(volumes_get(node->store->volumes, entry.volume, id, &volume, NULL), 0);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/volumes/%s", node->dir, volume->name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(
        pwrite(fd, "?", 1, (off_t)(entry.offset + entry.room_bytes + entry.length - 10)), 1);
    close(fd);
    volume_unref(volume);
}

/* ---- the tests ---- */

static void test_copies_everywhere(void **state) {
    struct world *world = *state;
    static const uint64_t lengths[] = {0, 1, 70000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, LARGE};
    uint64_t count = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (uint32_t n = 0; n <= NODES; n += 3) { /* by a node without a store, and by one with */
            char *data = make_data(i, lengths[i]);
            if (i % 2 == 1)
                data[lengths[i] - 1] = '\n';
            struct chunk_ref chunk;
            assert_int_equal(put(&world->nodes[n], data, lengths[i], &chunk), 0);
            count++;
            for (uint32_t reader = 0; reader <= NODES; reader++)
                assert_int_equal(get(&world->nodes[reader], &chunk, data), 0);
            if (lengths[i] > 1000) {
                struct check check = {data + 500, 123};
                assert_int_equal(store_read(world->nodes[0].client, &chunk, 500, 123, sink_check,
                                            &check, soon(), NULL),
                                 0);
                assert_int_equal(store_read(world->nodes[0].client, &chunk, 500, chunk.length,
                                            sink_check, &check, soon(), NULL),
                                 ERR_INVALID);
            }
            free(data);
        }
    }
    for (uint32_t n = 1; n <= NODES; n++)
        wait_for_chunks(&world->nodes[n], count);
    struct store_status status;
    assert_int_equal(store_remote_status(world->nodes[0].rpc, 2, soon(), &status, NULL), 0);
    assert_int_equal(status.chunks, count);
    assert_true(status.disk_total_bytes > status.disk_free_bytes && !status.failed);
}

static void test_abort_leaves_nothing(void **state) {
    struct world *world = *state;
    char *data = make_data(1, LARGE);
    struct store_write *write;
    assert_int_equal(store_write_begin(world->nodes[1].client, LARGE, soon(), &write, NULL), 0);
    assert_int_equal(store_write_append(write, data, LARGE - 1, soon(), NULL), 0);
    assert_int_equal(store_write_append(write, data, 2, soon(), NULL), ERR_LIMIT);
    store_write_abort(write);
    store_write_abort(NULL);
    struct chunk_ref chunk;
    assert_int_equal(put(&world->nodes[1], data, 100, &chunk), 0);
    for (uint32_t n = 1; n <= NODES; n++)
        wait_for_chunks(&world->nodes[n], 1);
    free(data);
}

static void test_lost_holders(void **state) {
    struct world *world = *state;
    char *data = make_data(2, LARGE);
    struct chunk_ref before, during, after;
    assert_int_equal(put(&world->nodes[1], data, LARGE, &before), 0);
    /* a holder goes in the middle of a write */
    struct store_write *write;
    assert_int_equal(store_write_begin(world->nodes[1].client, LARGE, soon(), &write, NULL), 0);
    assert_int_equal(store_write_append(write, data, LARGE / 2, soon(), NULL), 0);
    stop_server(&world->nodes[3]);
    assert_int_equal(store_write_append(write, data + LARGE / 2, LARGE / 2, soon(), NULL), 0);
    assert_int_equal(store_write_end(write, soon(), &during, NULL), 0);
    /* and was gone before, known to the map or not; of its own chunks it is the best reader */
    assert_int_equal(put(&world->nodes[1], data, 5000, &after), 0);
    meta_set(&world->nodes[1].meta, make_map(2, NODES, 3));
    assert_int_equal(put(&world->nodes[1], data, LARGE, &after), 0);
    for (uint32_t n = 0; n <= 2; n++) {
        assert_int_equal(get(&world->nodes[n], &before, data), 0);
        assert_int_equal(get(&world->nodes[n], &during, data), 0);
        assert_int_equal(get(&world->nodes[n], &after, data), 0);
    }
    /* a second one: what is begun fails, nothing can be written, all can be read */
    assert_int_equal(store_write_begin(world->nodes[1].client, LARGE, soon(), &write, NULL), 0);
    assert_int_equal(store_write_append(write, data, LARGE / 2, soon(), NULL), 0);
    stop_server(&world->nodes[2]);
    int rc = store_write_append(write, data + LARGE / 2, LARGE / 2, soon(), NULL);
    assert_true(rc != 0 || store_write_end(write, soon(), &during, NULL) != 0);
    if (rc != 0)
        store_write_abort(write);
    assert_true(put(&world->nodes[1], data, 5000, &during) != 0);
    assert_int_equal(get(&world->nodes[0], &before, data), 0);
    free(data);
}

static void test_reader_falls_over_in_mid_stream(void **state) {
    struct world *world = *state;
    char *data = make_data(3, LARGE);
    struct chunk_ref chunk;
    assert_int_equal(put(&world->nodes[1], data, LARGE, &chunk), 0);
    for (uint32_t n = 1; n <= NODES; n++)
        wait_for_chunks(&world->nodes[n], 1);
    damage(&world->nodes[1], chunk.id); /* near its end */
    struct store_client *client = world->nodes[0].client;
    client->reads[2] = client->reads[3] = 5; /* so that the first is asked */
    assert_int_equal(get(&world->nodes[0], &chunk, data), 0);
    wait_for_chunks(&world->nodes[1], 0);
    free(data);
}

static int sink_full(void *context, const void *data, size_t size) {
    return ERR_CLOSED;
}

static void test_damage_is_served_by_another(void **state) {
    struct world *world = *state;
    struct chunk_ref small, large, unknown = {.id = {{9}}, .length = 10};
    char *data = make_data(4, LARGE);
    assert_int_equal(put(&world->nodes[1], data, 90000, &small), 0);
    assert_int_equal(put(&world->nodes[1], data, LARGE, &large), 0);
    for (uint32_t n = 1; n <= NODES; n++)
        wait_for_chunks(&world->nodes[n], 2);
    damage(&world->nodes[1], small.id);
    damage(&world->nodes[1], large.id);
    assert_int_equal(
        store_read(world->nodes[1].client, &large, 0, 10, sink_full, NULL, soon(), NULL),
        ERR_CLOSED);
    for (uint32_t n = 0; n <= 1; n++) {
        assert_int_equal(get(&world->nodes[n], &small, data), 0);
        assert_int_equal(get(&world->nodes[n], &large, data), 0);
        assert_int_equal(get(&world->nodes[n], &unknown, data), ERR_NOT_FOUND);
    }
    wait_for_chunks(&world->nodes[1], 0);
    for (uint32_t n = 2; n <= NODES; n++)
        damage(&world->nodes[n], small.id);
    assert_int_equal(get(&world->nodes[1], &small, data), ERR_CORRUPT);
    /* repair brings back what others have sound */
    assert_int_equal(store_start_repair(world->nodes[1].store, &world->nodes[1].meta, NULL), 0);
    wait_for_chunks(&world->nodes[1], 1);
    int fd = -1;
    assert_int_equal(store_open_local(world->nodes[1].client, large.id, &fd, NULL), 0);
    close(fd);
    assert_int_equal(store_open_local(world->nodes[0].client, large.id, &fd, NULL), ERR_NOT_FOUND);
    free(data);
}

static void test_stale_writer_learns(void **state) {
    struct world *world = *state;
    struct chunk_ref chunk;
    char data[100] = "x";
    struct place_map *old = make_map(1, 2, 0);
    for (uint32_t slice = 0; slice < place_slice_count(old);
         slice++) { /* other owners than today */
        old->owners[2 * slice] = 1;
        old->owners[2 * slice + 1] = 2;
    }
    meta_set(&world->nodes[0].meta, old);
    world->nodes[0].meta.newer = make_map(2, NODES, 0);
    for (uint32_t n = 1; n <= NODES; n++) {
        meta_set(&world->nodes[n].meta, make_map(2, NODES, 0));
        assert_int_equal(store_start_repair(world->nodes[n].store, &world->nodes[n].meta, NULL), 0);
    }
    assert_int_equal(put(&world->nodes[0], data, sizeof data, &chunk), 0);
    assert_null(world->nodes[0].meta.newer);
    for (uint32_t n = 1; n <= NODES; n++)
        wait_for_chunks(&world->nodes[n], 1);
}

/* A node that was down finds what was written, and loses what was deleted. */
static void test_repair_after_absence(void **state) {
    struct world *world = *state;
    enum { COUNT = 40 };
    struct chunk_ref chunks[COUNT];
    char *data = make_data(5, LARGE);
    for (unsigned i = 0; i < COUNT; i++) {
        if (i == COUNT / 2) {
            for (uint32_t n = 1; n <= NODES; n++)
                wait_for_chunks(&world->nodes[n], i);
            stop_node(&world->nodes[3]);
            meta_set(&world->nodes[1].meta, make_map(2, NODES, 3));
        }
        assert_int_equal(
            put(&world->nodes[1], data + i, i % 10 == 9 ? LARGE - i : 1000 * i, &chunks[i]), 0);
    }
    struct id128 dead[COUNT / 4];
    for (unsigned i = 0; i < COUNT / 4; i++)
        dead[i] = chunks[i].id;
    assert_int_equal(store_delete(world->nodes[1].client, dead, COUNT / 4, soon(), NULL), 0);
    wait_for_chunks(&world->nodes[1], COUNT - COUNT / 4);
    wait_for_chunks(&world->nodes[2], COUNT - COUNT / 4);

    start_node(&world->nodes[3]);
    assert_int_equal(count_chunks(&world->nodes[3]), COUNT / 2);
    clock_sleep_until(clock_deadline_ms(2100)); /* younger ones do not count */
    for (uint32_t n = 1; n <= NODES; n++) {
        meta_set(&world->nodes[n].meta, make_map(3, NODES, 0));
        assert_int_equal(store_start_repair(world->nodes[n].store, &world->nodes[n].meta, NULL), 0);
    }
    wait_for_chunks(&world->nodes[3], COUNT - COUNT / 4);
    struct store_status status = {0};
    for (uint64_t end_ns = soon(); status.repaired_chunks < COUNT / 2 && clock_now_ns() < end_ns;)
        store_get_status(world->nodes[3].store, &status);
    assert_int_equal(status.repaired_chunks, COUNT / 2);
    stop_server(&world->nodes[1]);
    stop_server(&world->nodes[2]);
    for (unsigned i = COUNT / 4; i < COUNT; i++)
        assert_int_equal(get(&world->nodes[3], &chunks[i], data + i), 0);
    wait_for_chunks(&world->nodes[1], COUNT - COUNT / 4); /* the dead did not come back */
    wait_for_chunks(&world->nodes[2], COUNT - COUNT / 4);
    free(data);
}

/* ---- a holder that takes no bytes ---- */

static atomic_bool let_go;

static int handle_stalled(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    while (!atomic_load(&let_go))
        clock_sleep_until(clock_deadline_ms(10));
    return ERR_CLOSED;
}

static void test_stalled_holder(void **state) {
    struct world *world = *state;
    struct node *node = &world->nodes[3];
    stop_server(node);
    atomic_store(&let_go, false);
    node->server = rpc_server_new(&node->identity);
    rpc_server_handle(node->server, RPC_CHUNK_WRITE, handle_stalled, NULL);
    serve(node);
    struct chunk_ref chunk;
    uint64_t length = 30 << 20;
    char *data = make_data(6, length);
    uint64_t start_ns = clock_now_ns();
    assert_int_equal(put(&world->nodes[1], data, 1000, &chunk),
                     0); /* a straggler at the end is not waited for */
    assert_true(clock_now_ns() - start_ns < 2 * NS_PER_S);
    assert_int_equal(put(&world->nodes[1], data, length, &chunk),
                     0); /* one in the middle is dropped */
    assert_true(clock_now_ns() - start_ns < 15 * NS_PER_S);
    assert_int_equal(get(&world->nodes[0], &chunk, data), 0);
    atomic_store(&let_go, true);
    free(data);
}

/* ---- many at once ---- */

struct uploader {
    struct node *node;
    uint64_t seed;
    pthread_t thread;
};

static void *uploader_run(void *context) {
    struct uploader *uploader = context;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t length = i == 3 ? LARGE : 1 + 40000 * i;
        char *data = make_data(uploader->seed + i, length);
        struct chunk_ref chunk;
        assert_int_equal(put(uploader->node, data, length, &chunk), 0);
        assert_int_equal(get(uploader->node, &chunk, data), 0);
        free(data);
    }
    return NULL;
}

static void test_many_uploads(void **state) {
    struct world *world = *state;
    enum { COUNT = 12 };
    struct uploader uploaders[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        uploaders[i] = (struct uploader){.node = &world->nodes[i % (NODES + 1)], .seed = 100 * i};
        assert_int_equal(pthread_create(&uploaders[i].thread, NULL, uploader_run, &uploaders[i]),
                         0);
    }
    for (unsigned i = 0; i < COUNT; i++)
        pthread_join(uploaders[i].thread, NULL);
    for (uint32_t n = 1; n <= NODES; n++)
        wait_for_chunks(&world->nodes[n], 4 * COUNT);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_copies_everywhere),
        TEST(test_abort_leaves_nothing),
        TEST(test_lost_holders),
        TEST(test_reader_falls_over_in_mid_stream),
        TEST(test_damage_is_served_by_another),
        TEST(test_stale_writer_learns),
        TEST(test_repair_after_absence),
        TEST(test_stalled_holder),
        TEST(test_many_uploads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
