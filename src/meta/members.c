/* Who is up: the root group's leader hears or asks every node, and has the root group note who went
 * or came back. Every node with the meta role keeps the map it knows as new as its replica of the
 * root group. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "meta/locks.h"
#include "os/clock.h"

#define LOOK_MS 50
#define HEARD_MS 300   /* a voter that was heard so recently is not asked */
#define ASK_MS 200     /* between questions to a node, and to wait for the answer */
#define SILENT_MS 1000 /* longer: down */
#define REFUSALS 2u    /* in a row: down at once */
#define SUBMIT_MS 1000
#define MAP_BYTES_MAX ((size_t)8 << 20)

struct watch {
    uint64_t alive_ns;
    uint64_t asked_ns;
    uint32_t refusals;
};

struct members {
    struct meta *meta;
    pthread_t thread;
    uint64_t applied;      /* of the root group when the map was last looked at */
    bool led;              /* at the last look */
    bool founded;          /* there is a map in the root group */
    struct watch *watches; /* by index in the map */
    struct leases *leases; /* of locks */
    pthread_mutex_t mutex; /* of stopping */
    pthread_cond_t stopped;
    bool stopping;
};

static int map_read(struct meta *meta, struct err *err) {
    _cleanup_(buf_finip) struct buf query = BUF_INIT, bytes = BUF_INIT;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, MAP_BYTES_MAX);
    map_query_pack(&query);
    int r = meta_local_stale_query(meta, META_ROOT, buf_span(&query), &bytes, err);
    Pb__Reply *reply;
    if (r == 0)
        r = pb_unpack(&pb__reply__descriptor, buf_span(&bytes), &arena, &reply, err);
    if (r == 0)
        r = reply->map == NULL ? ERR_NOT_FOUND : map_cache_offer(meta->maps, reply->map, err);
    return r;
}

static void map_refresh(struct members *members) {
    struct err err = {0};
    uint64_t applied = atomic_load(&members->meta->groups[META_ROOT].applied);
    if (!meta_hosts(members->meta, META_ROOT) || applied == members->applied)
        return;
    int r = map_read(members->meta, &err);
    if (r != 0 && r != ERR_NOT_FOUND)
        log_error("the cluster map: %s", err.text);
    members->founded = r == 0;
    members->applied = applied;
}

static void root_submit(struct meta *meta, Pb__Command *command) {
    meta_local_command(meta, META_ROOT, command, clock_deadline_ms(SUBMIT_MS));
}

static void found_cluster(struct members *members) {
    struct meta *meta = members->meta;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, MAP_BYTES_MAX);
    struct place_map *genesis = map_cache_get(meta->maps);
    Pb__InitCluster init = PB__INIT_CLUSTER__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    init.map = map_to_pb(genesis, &arena);
    command.op_case = PB__COMMAND__OP_INIT_CLUSTER;
    command.init_cluster = &init;
    if (init.map != NULL)
        root_submit(meta, &command);
    place_map_unref(genesis);
}

static void set_down(struct meta *meta, const struct place_node *node, bool down) {
    Pb__SetNodeDown set = PB__SET_NODE_DOWN__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    set.node = node->id;
    set.down = down;
    command.op_case = PB__COMMAND__OP_SET_NODE_DOWN;
    command.set_node_down = &set;
    log_info("node %u (%s) is %s", node->id, node->name, down ? "down" : "up");
    root_submit(meta, &command);
}

/* Has there been a sign of life? Asks when there was none of late. */
static void watch_node(struct meta *meta, const struct place_node *node, struct watch *watch,
                       uint64_t now_ns) {
    const struct peer *peer = peers_find(meta, node->id);
    bool refuses = peer != NULL && peer_refusals(peer) > 0;
    uint64_t heard_ns = peer != NULL ? peer_heard_ns(peer) : 0;
    if (!refuses && heard_ns + HEARD_MS * NS_PER_MS > now_ns) {
        watch->alive_ns = heard_ns;
        watch->refusals = 0;
        return;
    }
    bool asked = watch->asked_ns + ASK_MS * NS_PER_MS > now_ns;
    if (asked && watch->refusals == 0 && !refuses)
        return;
    _cleanup_(buf_finip) struct buf reply = BUF_INIT;
    watch->asked_ns = now_ns;
    int r = rpc_call(meta->client, node->id, RPC_PING, (struct span){0}, true,
                     now_ns + ASK_MS * NS_PER_MS, &reply, NULL);
    watch->refusals = r == ERR_REFUSED ? watch->refusals + 1 : 0;
    if (r == 0)
        watch->alive_ns = clock_now_ns();
}

static void watch_nodes(struct members *members) {
    struct meta *meta = members->meta;
    struct place_map *map = map_cache_get(meta->maps);
    for (uint32_t i = 0; i < map->node_count && i < PLACE_NODES_MAX; i++) {
        const struct place_node *node = &map->nodes[i];
        struct watch *watch = &members->watches[i];
        if (node->id == meta->identity.node_id) {
            if (node->down)
                set_down(meta, node, false);
            continue;
        }
        watch_node(meta, node, watch, clock_now_ns());
        uint64_t now_ns = clock_now_ns();
        bool down = watch->refusals >= REFUSALS || watch->alive_ns + SILENT_MS * NS_PER_MS < now_ns;
        bool up = watch->refusals == 0 && watch->alive_ns + HEARD_MS * NS_PER_MS > now_ns;
        if (node->down ? up : down)
            set_down(meta, node, !node->down);
    }
    place_map_unref(map);
}

static void look(struct members *members) {
    struct meta *meta = members->meta;
    map_refresh(members);
    bool leads = meta_local_leads(meta, META_ROOT);
    if (leads && !members->led)
        for (uint32_t i = 0; i < PLACE_NODES_MAX; i++) /* a new leader has heard nobody yet */
            members->watches[i] = (struct watch){.alive_ns = clock_now_ns()};
    if (leads && !members->led)
        leases_forget(members->leases);
    if (leads)
        leases_look(meta, members->leases, clock_now_ns());
    members->led = leads;
    if (leads && !members->founded)
        found_cluster(members);
    else if (leads)
        watch_nodes(members);
}

static void *watch_members(void *argument) {
    struct members *members = argument;
    pthread_setname_np(pthread_self(), "members");
    pthread_mutex_lock(&members->mutex);
    while (!members->stopping) {
        if (clock_cond_wait(&members->stopped, &members->mutex, clock_deadline_ms(LOOK_MS)))
            continue;
        pthread_mutex_unlock(&members->mutex);
        look(members);
        pthread_mutex_lock(&members->mutex);
    }
    pthread_mutex_unlock(&members->mutex);
    return NULL;
}

void members_start(struct meta *meta) {
    struct members *members = calloc(1, sizeof *members);
    if (members == NULL ||
        (members->watches = calloc(PLACE_NODES_MAX, sizeof *members->watches)) == NULL ||
        (members->leases = calloc(1, sizeof *members->leases)) == NULL)
        panic("out of memory for the members");
    members->meta = meta;
    members->applied = UINT64_MAX;
    pthread_mutex_init(&members->mutex, NULL);
    clock_cond_init(&members->stopped);
    meta->members = members;
    if (pthread_create(&members->thread, NULL, watch_members, members) != 0)
        panic("cannot start the thread that watches members");
}

void members_stop(struct meta *meta) {
    struct members *members = meta->members;
    if (members == NULL)
        return;
    pthread_mutex_lock(&members->mutex);
    members->stopping = true;
    pthread_cond_signal(&members->stopped);
    pthread_mutex_unlock(&members->mutex);
    pthread_join(members->thread, NULL);
    free(members->watches);
    free(members->leases);
    free(members);
    meta->members = NULL;
}
