/* Clients of the catalogue, without S3 in between, as bench/etcd_load.c has them: one thread, one
 * connection to each node, each client with one command or query under way, so that the nodes and
 * not their client is measured. It sends what the nodes' own client sends (meta/channel.c), to the
 * leader of the key's group. Objects of BYTES lie in their records. Prints the figures as JSON.
 * Usage: bench_meta_load put|get IDENTITY CLIENTS KEYS BYTES DURATION
 * IDENTITY is the identity.json of any of the nodes, BUCKET "bench" is there. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/rng.h"
#include "cli/load.h"
#include "cli/options.h"
#include "meta/row.h"
#include "node/identity.h"
#include "os/clock.h"
#include "os/random.h"
#include "rpc/rpc.h"
#include "wire/pb.h"

#define CLIENTS_MAX 1024u
#define NODES_MAX 16u
#define VALUE_BYTES_MAX 4096u
#define REPLY_BYTES_MAX ((size_t)1 << 20)
#define TRIES_MAX 5000u
#define PAUSE_MS 1
#define STALL_MS 60000
#define BUCKET "bench"

struct connection {
    struct rpc_conn *conn;
    struct buf sending; /* a row of calls */
};

struct client {
    uint64_t begun_ns;
    unsigned tries;
    uint32_t group;
    struct buf request; /* a packed Command or Query */
};

static struct {
    bool is_put;
    uint64_t client_count, key_count, value_bytes, duration_ms;
    struct identity identity;
    struct rpc_client *rpc;
    char value[VALUE_BYTES_MAX];
    struct rng rng;
    struct arena arena;   /* of one reply */
    uint64_t deadline_ns; /* no request begins later */
    uint64_t busy;        /* clients */
    struct load_result result;
    struct client clients[CLIENTS_MAX];
    uint32_t node_count;
    struct connection connections[NODES_MAX]; /* by place in the map */
    uint32_t leaders[PLACE_GROUPS_MAX];       /* places in it */
    uint64_t slots[PLACE_GROUPS_MAX];         /* the newest that a reply has shown as applied */
} load;

/* ---- requests ---- */

/* As random as the test needs, without asking the kernel. */
static struct id128 next_id(void) {
    uint64_t words[2] = {rng_next(&load.rng), rng_next(&load.rng)};
    struct id128 id;
    static_assert(sizeof words == sizeof id, "an id is 16 bytes");
    memcpy(&id, words, sizeof id);
    return id;
}

static void pack_put(struct client *client, char *key) {
    Pb__Object object = PB__OBJECT__INIT;
    Pb__PutObject put = PB__PUT_OBJECT__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    struct id128 version = next_id(), request_id = next_id();
    object.version = pb_id(&version);
    object.size = load.value_bytes;
    object.etag = (char[]){"0123456789abcdef0123456789abcdef"};
    object.modified_ms = clock_wall_ms();
    object.inline_data = pb_bytes(load.value, load.value_bytes);
    put.bucket = (char[]){BUCKET};
    put.key = key;
    put.object = &object;
    command.request_id = pb_id(&request_id);
    command.now_ms = object.modified_ms;
    command.since_slot = load.slots[client->group];
    command.op_case = PB__COMMAND__OP_PUT_OBJECT;
    command.put_object = &put;
    pb_pack(&client->request, &command.base);
}

static void pack_get(struct client *client, char *key) {
    Pb__GetObject get = PB__GET_OBJECT__INIT;
    Pb__Query query = PB__QUERY__INIT;
    get.bucket = (char[]){BUCKET};
    get.key = key;
    query.op_case = PB__QUERY__OP_GET_OBJECT;
    query.get_object = &get;
    pb_pack(&client->request, &query.base);
}

/* Sent with the next frame to the node. */
static void queue_request(struct client *client) {
    struct meta_call head = {.id = (uint64_t)(client - load.clients),
                             .group = client->group,
                             .size = (uint32_t)client->request.size,
                             .kind = load.is_put ? META_CALL_COMMAND : META_CALL_QUERY};
    row_add_call(&load.connections[load.leaders[client->group]].sending, &head,
                 buf_span(&client->request));
}

static void begin_request(struct client *client) {
    char key[24];
    snprintf(key, sizeof key, "m-%" PRIu64, rng_below(&load.rng, load.key_count));
    client->group = place_shard_of(load.identity.map, BUCKET, key);
    client->begun_ns = clock_now_ns();
    client->tries = 0;
    buf_clear(&client->request);
    (load.is_put ? pack_put : pack_get)(client, key);
    queue_request(client);
    load.busy++;
}

/* ---- answers ---- */

static uint32_t place_of(uint32_t node_id) {
    for (uint32_t i = 0; i < load.node_count; i++)
        if (load.identity.map->nodes[i].id == node_id)
            return i;
    panic("node %u is not in the map", node_id);
}

/* Of another node, unless another client's answer has told who leads. */
static void try_again(struct client *client, uint32_t asked, uint32_t leader) {
    if (++client->tries == TRIES_MAX)
        panic("group %u has no leader", client->group);
    uint32_t *known = &load.leaders[client->group];
    if (leader != 0)
        *known = place_of(leader);
    else if (*known == asked)
        *known = (asked + 1) % load.node_count;
    if (*known == asked)
        clock_sleep_until(clock_deadline_ms(PAUSE_MS));
    queue_request(client);
}

static void check_reply(const struct client *client, struct span bytes) {
    Pb__Reply *reply;
    struct err err = {0};
    arena_reset(&load.arena);
    if (pb_unpack(&pb__reply__descriptor, bytes, &load.arena, &reply, &err) != 0)
        panic("%s", err.text);
    if (reply->code != 0)
        panic("refused: %s", reply->message);
    if (reply->object == NULL || reply->object->size != load.value_bytes ||
        (!load.is_put && reply->object->inline_data.len != load.value_bytes))
        panic("another object than was put");
    if (reply->slot > load.slots[client->group])
        load.slots[client->group] = reply->slot;
}

static void take_answer(uint32_t asked, const struct meta_call_answer *head, struct span bytes) {
    ASSERT(head->id < load.client_count);
    struct client *client = &load.clients[head->id];
    if (head->code != 0 && err_is_transient(head->code)) {
        try_again(client, asked, head->leader);
        return;
    }
    if (head->code != 0)
        panic("%.*s", SPAN_ARGS(bytes));
    check_reply(client, bytes);
    load_count_latency(&load.result, clock_now_ns() - client->begun_ns);
    load.result.requests++;
    load.busy--;
    if (clock_now_ns() < load.deadline_ns)
        begin_request(client);
}

/* ---- connections ---- */

static void send_some(void) {
    struct err err = {0};
    for (uint32_t i = 0; i < load.node_count; i++) {
        struct buf *sending = &load.connections[i].sending;
        struct iovec iov = {sending->data, sending->size};
        ASSERT(!sending->failed);
        if (sending->size > 0 && rpc_send(load.connections[i].conn, RPC_META_CALLS, &iov, 1,
                                          clock_deadline_ms(STALL_MS), &err) != 0)
            panic("%s", err.text);
        buf_clear(sending);
    }
}

/* A frame, and those that came along with it. */
static void receive_some(uint32_t place) {
    static struct buf body = {.limit = RPC_BODY_MAX};
    struct rpc_conn *conn = load.connections[place].conn;
    struct meta_call_answer head;
    struct span bytes;
    struct err err = {0};
    do {
        uint16_t type;
        if (rpc_receive(conn, &type, &body, clock_deadline_ms(STALL_MS), &err) != 0)
            panic("%s", err.text);
        if (type != RPC_META_ANSWERS)
            panic("not an answer");
        struct span rest = buf_span(&body);
        while (row_next_answer(&rest, &head, &bytes) == 0)
            take_answer(place, &head, bytes);
    } while (rpc_wait(conn, clock_now_ns(), NULL) == 0);
}

static void run(void) {
    struct pollfd fds[NODES_MAX];
    for (uint32_t i = 0; i < load.node_count; i++)
        fds[i] = (struct pollfd){.fd = rpc_conn_fd(load.connections[i].conn), .events = POLLIN};
    for (uint64_t i = 0; i < load.client_count; i++)
        begin_request(&load.clients[i]);
    while (load.busy > 0) {
        send_some();
        int count = poll(fds, load.node_count, STALL_MS);
        if (count == 0 || (count < 0 && errno != EINTR))
            panic("nothing moved for %d s", STALL_MS / 1000);
        for (uint32_t i = 0; count > 0 && i < load.node_count; i++)
            if (fds[i].revents != 0)
                receive_some(i);
    }
}

/* ---- the command ---- */
static bool take_arguments(int argc, char **argv) {
    if (argc != 7 || (strcmp(argv[1], "put") != 0 && strcmp(argv[1], "get") != 0))
        return false;
    load.is_put = strcmp(argv[1], "put") == 0;
    return options_parse_number(OPTION_NUMBER, argv[3], &load.client_count) &&
           load.client_count >= 1 && load.client_count <= CLIENTS_MAX &&
           options_parse_number(OPTION_NUMBER, argv[4], &load.key_count) && load.key_count >= 1 &&
           options_parse_number(OPTION_BYTES, argv[5], &load.value_bytes) &&
           load.value_bytes <= VALUE_BYTES_MAX &&
           options_parse_number(OPTION_DURATION, argv[6], &load.duration_ms);
}

static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    (void)context;
    const struct place_node *node = place_node(load.identity.map, node_id);
    if (node == NULL)
        return ERR_NOT_FOUND;
    snprintf(ret_address, size, "%s", node->peer_address);
    return 0;
}

static void connect_to(const char *path) {
    struct err err = {0};
    if (identity_read(path, &load.identity, &err) != 0)
        panic("%s", err.text);
    const struct place_map *map = load.identity.map;
    if (map->node_count > NODES_MAX)
        panic("more than %u nodes", NODES_MAX);
    /* A node id that nobody has. */
    struct rpc_identity self = {map->cluster_id, random_id128(), UINT32_MAX};
    load.rpc = rpc_client_new(&self, resolve, NULL);
    load.node_count = map->node_count;
    for (uint32_t i = 0; i < load.node_count; i++) {
        load.connections[i].sending.limit = RPC_BODY_MAX;
        if (rpc_open(load.rpc, map->nodes[i].id, clock_deadline_ms(STALL_MS),
                     &load.connections[i].conn, &err) != 0)
            panic("%s", err.text);
    }
}

static void disconnect(void) {
    for (uint32_t i = 0; i < load.node_count; i++) {
        rpc_release(load.rpc, load.connections[i].conn, false);
        buf_fini(&load.connections[i].sending);
    }
    for (uint64_t i = 0; i < load.client_count; i++)
        buf_fini(&load.clients[i].request);
    rpc_client_free(load.rpc);
    identity_fini(&load.identity);
}

static void print(double seconds) {
    printf("{\"requests\": %" PRIu64 ", \"requests_per_second\": %.1f, \"p50_ms\": %.6f, "
           "\"p99_ms\": %.6f, \"client_cores\": %.3f}\n",
           load.result.requests, (double)load.result.requests / seconds,
           (double)load_percentile_ns(&load.result, 500) / 1e6,
           (double)load_percentile_ns(&load.result, 990) / 1e6,
           (double)clock_cpu_ns() / 1e9 / seconds);
}

int main(int argc, char **argv) {
    if (!take_arguments(argc, argv)) {
        fprintf(stderr, "usage: bench_meta_load put|get IDENTITY CLIENTS KEYS BYTES DURATION\n");
        return 2;
    }
    struct id128 id = random_id128(); /* commands must not have the ids of the run before */
    uint64_t seed;
    memcpy(&seed, id.bytes, sizeof seed);
    rng_init(&load.rng, seed);
    for (uint64_t i = 0; i < load.value_bytes; i++)
        load.value[i] = (char)rng_next(&load.rng);
    arena_init(&load.arena, REPLY_BYTES_MAX);
    connect_to(argv[2]);
    uint64_t begun_ns = clock_now_ns();
    load.deadline_ns = begun_ns + load.duration_ms * NS_PER_MS;
    run();
    print((double)(clock_now_ns() - begun_ns) / 1e9);
    disconnect();
    arena_fini(&load.arena);
    return 0;
}
