/* Clients of the catalogue, without S3 in between: each is a thread that has one command or query
 * under way, sent by the nodes' own client (meta/client.h) from a process that is no node. Objects
 * of BYTES lie in their records. Prints the figures as JSON. Usage: bench_meta_load put|get
 * IDENTITY CLIENTS KEYS BYTES DURATION IDENTITY is the identity.json of any of the nodes, BUCKET
 * "bench" is there. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/rng.h"
#include "cli/load.h"
#include "cli/options.h"
#include "meta/client.h"
#include "meta/map.h"
#include "node/identity.h"
#include "os/clock.h"
#include "os/random.h"
#include "rpc/rpc.h"

#define CLIENTS_MAX 1024u
#define VALUE_BYTES_MAX 4096u
#define WAIT_MS 10000u
#define STACK_BYTES ((size_t)256 << 10)
#define BUCKET "bench"

static struct {
    bool is_put;
    uint64_t client_count, key_count, value_bytes, duration_ms;
    struct identity identity;
    struct map_cache maps;
    struct rpc_client *rpc;
    struct meta_client *meta;
    uint64_t deadline_ns;
    char value[VALUE_BYTES_MAX];
    pthread_mutex_t mutex; /* of the result */
    struct load_result result;
} load = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    (void)context;
    const struct place_node *node = place_node(load.identity.map, node_id);
    if (node == NULL)
        return ERR_NOT_FOUND;
    snprintf(ret_address, size, "%s", node->peer_address);
    return 0;
}

/* ---- requests ---- */

static int put(uint32_t group, char *key, struct arena *arena, struct err *err) {
    Pb__Object object = PB__OBJECT__INIT;
    Pb__PutObject put = PB__PUT_OBJECT__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    struct id128 version = random_id128();
    Pb__Reply *reply;
    object.version = pb_id(&version);
    object.size = load.value_bytes;
    object.etag = (char[]){"0123456789abcdef0123456789abcdef"};
    object.modified_ms = clock_wall_ms();
    object.inline_data = pb_bytes(load.value, load.value_bytes);
    put.bucket = (char[]){BUCKET};
    put.key = key;
    put.object = &object;
    command.op_case = PB__COMMAND__OP_PUT_OBJECT;
    command.put_object = &put;
    return meta_submit(load.meta, group, &command, clock_deadline_ms(WAIT_MS), arena, &reply, err);
}

static int get(uint32_t group, char *key, struct arena *arena, struct err *err) {
    Pb__GetObject get = PB__GET_OBJECT__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    get.bucket = (char[]){BUCKET};
    get.key = key;
    query.op_case = PB__QUERY__OP_GET_OBJECT;
    query.get_object = &get;
    int r = meta_query(load.meta, group, &query, clock_deadline_ms(WAIT_MS), arena, &reply, err);
    if (r == 0 && (reply->object == NULL || reply->object->size != load.value_bytes))
        return err_set(err, ERR_CORRUPT, "another object than was put");
    return r;
}

static void request(struct rng *rng, struct arena *arena) {
    char key[24];
    struct err err = {0};
    snprintf(key, sizeof key, "m-%" PRIu64, rng_below(rng, load.key_count));
    struct place_map *map = meta_map(load.meta);
    uint32_t group = place_shard_of(map, BUCKET, key);
    place_map_unref(map);
    uint64_t begun_ns = clock_now_ns();
    arena_reset(arena);
    if ((load.is_put ? put : get)(group, key, arena, &err) != 0)
        panic("%s: %s", key, err.text);
    uint64_t took_ns = clock_now_ns() - begun_ns;
    pthread_mutex_lock(&load.mutex);
    load_count_latency(&load.result, took_ns);
    load.result.requests++;
    pthread_mutex_unlock(&load.mutex);
}

static void *be_client(void *argument) {
    struct arena arena;
    struct rng rng;
    arena_init(&arena, 1 << 20);
    rng_init(&rng, (uintptr_t)argument);
    while (clock_now_ns() < load.deadline_ns)
        request(&rng, &arena);
    arena_fini(&arena);
    return NULL;
}

static void run(void) {
    pthread_t threads[CLIENTS_MAX];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (uint64_t i = 0; i < load.client_count; i++)
        if (pthread_create(&threads[i], &attributes, be_client, (void *)(uintptr_t)(i + 1)) != 0)
            panic("cannot start a client");
    for (uint64_t i = 0; i < load.client_count; i++)
        pthread_join(threads[i], NULL);
    pthread_attr_destroy(&attributes);
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

static void connect_to(const char *path) {
    struct err err = {0};
    if (identity_read(path, &load.identity, &err) != 0)
        panic("%s", err.text);
    /* A node id that nobody has. */
    struct rpc_identity self = {load.identity.map->cluster_id, random_id128(), UINT32_MAX};
    load.rpc = rpc_client_new(&self, resolve, NULL);
    map_cache_init(&load.maps, load.identity.map);
    load.meta = meta_client_new(NULL, load.rpc, &load.maps);
}

static void disconnect(void) {
    meta_client_free(load.meta);
    rpc_client_free(load.rpc);
    map_cache_fini(&load.maps);
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
    struct rng rng;
    rng_init(&rng, 1);
    for (uint64_t i = 0; i < load.value_bytes; i++)
        load.value[i] = (char)rng_next(&rng);
    connect_to(argv[2]);
    uint64_t begun_ns = clock_now_ns();
    load.deadline_ns = begun_ns + load.duration_ms * NS_PER_MS;
    run();
    print((double)(clock_now_ns() - begun_ns) / 1e9);
    disconnect();
    return 0;
}
