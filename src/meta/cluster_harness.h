/* Clusters of the meta role in one process over loopback, each node over a folder. */
#ifndef QUERN_META_CLUSTER_HARNESS_H
#define QUERN_META_CLUSTER_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

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

static inline int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    struct cluster *c = context;
    if (node_id == 0 || node_id > c->count)
        return ERR_NOT_FOUND;
    snprintf(ret_address, size, "%s", c->nodes[node_id - 1].address);
    return 0;
}

static inline void node_begin(struct cluster *c, uint32_t i) {
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

static inline void node_end(struct cluster *c, uint32_t i) {
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
static inline void cluster_of(struct cluster *c, uint32_t count, uint32_t voters) {
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

static inline void cluster_begin(struct cluster *c, uint32_t count) {
    cluster_of(c, count, count);
}

static inline int teardown(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    for (uint32_t i = 0; i < c->count; i++)
        node_end(c, i);
    c->genesis = place_map_unref(c->genesis);
    c->keep_bytes = 0;
    return temp_dir_remove(c->dir);
}

/* ---- words of the catalogue ---- */

static inline int create_bucket(struct test_node *node, const char *name, struct err *err) {
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

static inline int get_bucket(struct test_node *node, const char *name, struct err *err) {
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

static inline void must_create(struct test_node *node, const char *name) {
    struct err err = {0};
    if (create_bucket(node, name, &err) != 0)
        fail_msg("create %s: %s", name, err.text);
}

static inline void must_get(struct test_node *node, const char *name) {
    struct err err = {0};
    if (get_bucket(node, name, &err) != 0)
        fail_msg("get %s: %s", name, err.text);
}

static inline uint32_t wait_leader(struct cluster *c) {
    for (uint64_t deadline_ns = clock_deadline_ms(WAIT_MS); clock_now_ns() < deadline_ns;
         usleep(1000))
        for (uint32_t i = 0; i < c->count; i++)
            if (c->nodes[i].meta != NULL && meta_leads(c->nodes[i].client, META_ROOT))
                return i;
    fail_msg("no leader");
    return 0;
}

static inline bool is_placed(struct meta *meta, uint32_t group, uint32_t self, uint32_t nodes) {
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
static inline void wait_placed(struct cluster *c, uint32_t nodes) {
    uint64_t deadline_ns = clock_deadline_ms(MOVE_MS);
    for (uint32_t g = 0; g <= c->genesis->shards; g++)
        for (uint32_t i = 0; i < c->count; i++)
            while (c->nodes[i].meta != NULL && !is_placed(c->nodes[i].meta, g, i + 1, nodes)) {
                if (clock_now_ns() > deadline_ns)
                    fail_msg("group %u on node %u is not placed on %x", g, i + 1, nodes);
                usleep(2000);
            }
}

static inline void wait_group_applied(struct test_node *node, uint32_t group, uint64_t slot) {
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

#endif
