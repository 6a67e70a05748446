/* The roles of a node, wired together: started in order, stopped in reverse. */
#include "node/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "meta/client.h"
#include "meta/map.h"
#include "meta/meta.h"
#include "node/dir.h"
#include "os/file.h"
#include "os/net.h"
#include "os/space.h"
#include "rpc/rpc.h"
#include "sched/sched.h"
#include "store/client.h"
#include "store/store.h"
#include "worker/worker.h"

#define REPLY_BYTES_MAX ((size_t)16 << 20)

/* In the order of their start. */
struct node {
    struct node_dir dir;
    struct launcher *launcher;
    int http_fd;
    int peer_fd;
    char url[NET_ADDRESS_SIZE + 8];
    char credentials_path[PATH_MAX];
    struct rpc_identity identity;
    struct map_cache maps; /* the newest cluster map known */
    struct rpc_client *rpc;
    struct rpc_server *server;
    struct store *store;
    struct meta *meta;
    struct meta_client *meta_client;
    struct store_client *store_client;
    struct sched *sched;
    struct worker *worker;
    struct gateway *gateway;
};

const char *node_name(const struct node *node) {
    return identity_self(&node->dir.identity)->name;
}

const char *node_url(const struct node *node) {
    return node->url;
}

const char *node_credentials_path(const struct node *node) {
    return node->credentials_path;
}

/* The directory knows best where the nodes are that it names: quern dev may have moved them since
 * the catalogue's map was made. */
static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    struct node *node = context;
    struct place_map *map = map_cache_get(&node->maps);
    const struct place_node *peer = place_node(node->dir.identity.map, node_id);
    if (peer == NULL)
        peer = place_node(map, node_id);
    int status = ERR_NOT_FOUND;
    if (peer != NULL)
        status =
            (size_t)snprintf(ret_address, size, "%s", peer->peer_address) < size ? 0 : ERR_LIMIT;
    place_map_unref(map);
    return status;
}

static int start_launcher(struct node *node, struct err *err) {
    char path[PATH_MAX];
    int status = file_make_directories(node_dir_path(&node->dir, "scratch", path), err);
    return status != 0 ? status : launcher_start(path, &node->launcher, err);
}

static int start_listening(struct node *node, struct err *err) {
    const struct place_node *self = identity_self(&node->dir.identity);
    char address[NET_ADDRESS_SIZE];
    int status = net_listen(self->http_address, &node->http_fd, address, err);
    if (status != 0)
        return status;
    snprintf(node->url, sizeof node->url, "http://%s", address);
    return net_listen(self->peer_address, &node->peer_fd, NULL, err);
}

static int start_rpc(struct node *node, struct err *err) {
    const struct place_node *self = identity_self(&node->dir.identity);
    struct place_map *map = node->dir.identity.map;
    node->identity = (struct rpc_identity){
        .cluster_id = map->cluster_id, .incarnation = self->incarnation, .node_id = self->id};
    map_cache_init(&node->maps, map);
    node->rpc = rpc_client_new(&node->identity, resolve, node);
    node->server = rpc_server_new(&node->identity);
    return node->rpc != NULL && node->server != NULL ? 0 : err_set(err, ERR_NOMEM, "out of memory");
}

static int start_store(struct node *node, struct err *err) {
    char path[PATH_MAX], ballast[PATH_MAX];
    struct store_options options = {
        .dir = node_dir_path(&node->dir, "chunks", path),
        .ballast = node_dir_path(&node->dir, "meta/ballast", ballast),
        .identity = node->identity,
        .client = node->rpc,
        .server = node->server,
    };
    return store_start(&options, &node->store, err);
}

static int start_meta(struct node *node, struct err *err) {
    char path[PATH_MAX];
    struct meta_options options = {
        .dir = node_dir_path(&node->dir, "meta", path),
        .identity = node->identity,
        .boot = node->dir.boot,
        .genesis = node->dir.identity.map,
        .maps = &node->maps,
        .client = node->rpc,
        .server = node->server,
    };
    return meta_start(&options, &node->meta, err);
}

static int start_clients(struct node *node, struct err *err) {
    node->meta_client = meta_client_new(node->meta, node->rpc, &node->maps);
    if (node->meta_client == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    node->store_client =
        store_client_new(node->store, node->identity.node_id, node->meta_client, node->rpc);
    return node->store_client != NULL ? 0 : err_set(err, ERR_NOMEM, "out of memory");
}

static int start_sched(struct node *node, struct err *err) {
    return sched_start(node->meta_client, node->store_client, node->server, &node->sched, err);
}

/* From here on other nodes are answered: all handlers have been added. */
static int start_serving_peers(struct node *node, struct err *err) {
    int status = rpc_server_start(node->server, TAKE_FD(node->peer_fd), err);
    return status != 0 ? status : store_start_repair(node->store, node->meta_client, err);
}

static int start_worker(struct node *node, struct err *err) {
    char path[PATH_MAX];
    struct worker_options options = {
        .launcher = node->launcher,
        .self = node->identity.node_id,
        .dir = node_dir_path(&node->dir, "scratch", path),
    };
    return worker_start(&options, node->meta_client, node->store_client, node->rpc, &node->worker,
                        err);
}

static int start_gateway(struct node *node, struct err *err) {
    struct gateway_options options = {
        .listen_fd = TAKE_FD(node->http_fd),
        .access_key = node->dir.credentials.access_key,
        .secret_key = node->dir.credentials.secret_key,
        .self = node->identity.node_id,
        .meta = node->meta_client,
        .store_client = node->store_client,
        .rpc = node->rpc,
        .local_meta = node->meta,
        .local_store = node->store,
    };
    options.sandbox_level = launcher_sandbox_level(node->launcher, &options.sandbox_reason);
    return gateway_start(&options, &node->gateway, err);
}

static int start_all(struct node *node, const struct node_options *options, struct err *err) {
    static int (*const steps[])(struct node *, struct err *) = {
        start_launcher, start_listening, start_rpc,           start_store,  start_meta,
        start_clients,  start_sched,     start_serving_peers, start_worker, start_gateway,
    };
    int status = node_dir_open(options, &node->dir, err);
    if (status == 0) {
        log_set_name(node_name(node));
        space_explain_abort();
    }
    for (size_t i = 0; i < sizeof steps / sizeof *steps && status == 0; i++)
        status = steps[i](node, err);
    return status;
}

int node_start(const struct node_options *options, struct node **ret_node, struct err *err) {
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return ERR_NOMEM;
    node->dir = NODE_DIR_INIT;
    node->http_fd = node->peer_fd = -1;
    int status = start_all(node, options, err);
    if (status != 0) {
        node_stop(node);
        return status;
    }
    node_dir_path(&node->dir, "credentials", node->credentials_path);
    *ret_node = node;
    return 0;
}

struct node *node_stop(struct node *node) {
    if (node == NULL)
        return NULL;
    node->gateway = gateway_stop(node->gateway);
    node->worker = worker_stop(node->worker);
    if (node->server != NULL)
        rpc_server_stop(node->server);
    node->sched = sched_stop(node->sched);
    node->store = store_stop(node->store);
    node->store_client = store_client_free(node->store_client);
    node->meta_client = meta_client_free(node->meta_client);
    node->meta = meta_stop(node->meta);
    node->server = rpc_server_free(node->server);
    node->rpc = rpc_client_free(node->rpc);
    if (node->maps.map != NULL)
        map_cache_fini(&node->maps);
    fd_closep(&node->peer_fd);
    fd_closep(&node->http_fd);
    node->launcher = launcher_stop(node->launcher);
    node_dir_fini(&node->dir);
    free(node);
    return NULL;
}

/* ---- readiness ---- */

/* A node that joined must find the cluster again though all it knew at first may be gone. */
static int keep_map(struct node *node, struct err *err) {
    char path[PATH_MAX];
    struct place_map *map = map_cache_get(&node->maps);
    int status = identity_renew(node_dir_path(&node->dir, "identity.json", path),
                                &node->dir.identity, map, err);
    place_map_unref(map);
    return status;
}

int node_check_ready(struct node *node, uint64_t deadline_ns, struct err *err) {
    Pb__GetClusterMap get = PB__GET_CLUSTER_MAP__INIT;
    Pb__Query query = PB__QUERY__INIT;
    query.op_case = PB__QUERY__OP_GET_CLUSTER_MAP;
    query.get_cluster_map = &get;
    struct arena arena;
    arena_init(&arena, REPLY_BYTES_MAX);
    Pb__Reply *reply = NULL;
    int status = meta_query(node->meta_client, META_ROOT, &query, deadline_ns, &arena, &reply, err);
    if (status == ERR_NOT_FOUND || (status == 0 && reply->map == NULL))
        status = err_set(err, ERR_NO_LEADER, "the cluster is being formed");
    if (status == 0 && !id128_equal(pb_id128(reply->map->cluster_id), node->identity.cluster_id))
        status = err_set(err, ERR_WRONG_CLUSTER, "%s/meta is of another cluster than identity.json",
                         node->dir.path);
    if (status == 0)
        status = map_cache_offer(&node->maps, reply->map, err);
    arena_fini(&arena);
    return status != 0 ? status : keep_map(node, err);
}
