/* The admin API: health, the cluster's status, and where an object's chunks are. JSON by jansson.
 */
#include "gateway/api.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/request.h"
#include "os/clock.h"
#include "os/space.h"

#define GROUPS_MAX PLACE_GROUPS_MAX
#define NODE_MS_MAX 1000 /* a node that does not answer by then is shown as such */

int api_reply(struct request *request, int status, json_t *json) {
    _cleanup_(freep) char *text =
        json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(json);
    if (text == NULL)
        return err_set(&request->err, ERR_NOMEM, "a reply in JSON");
    return reply_json(request, status, span_of(text));
}

int api_read_body(struct request *request, size_t bytes_max, json_t **ret_json) {
    _cleanup_(buf_finip) struct buf text = BUF_INIT;
    int rc = body_read_whole(request, bytes_max, &text);
    if (rc != 0)
        return rc;
    json_error_t why;
    *ret_json = json_loadb(text.data != NULL ? text.data : "", text.size, 0, &why);
    if (json_is_object(*ret_json))
        return 0;
    json_decref(*ret_json);
    return err_set(&request->err, ERR_INVALID, "the body is not a JSON object: %s", why.text);
}

const char *api_path_item(struct request *request, const char *prefix, const char **ret_action) {
    size_t skip = strlen(prefix);
    struct span rest = {request->uri.path.data + skip, request->uri.path.size - skip};
    const char *slash = memchr(rest.data, '/', rest.size);
    size_t size = slash != NULL ? (size_t)(slash - rest.data) : rest.size;
    *ret_action = slash == NULL
                      ? ""
                      : request_string(request, (struct span){slash + 1, rest.size - size - 1});
    return request_string(request, (struct span){rest.data, size});
}

int api_healthz(struct request *request) {
    return api_reply(request, 200, json_pack("{s:s}", "status", "ok"));
}

/* Ready: the root group answers. */
int api_readyz(struct request *request) {
    Pb__GetClusterMap get = PB__GET_CLUSTER_MAP__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    query.op_case = PB__QUERY__OP_GET_CLUSTER_MAP;
    query.get_cluster_map = &get;
    request->deadline_ns = clock_deadline_ms(NODE_MS_MAX);
    int rc = catalogue_query(request, META_ROOT, &query, &reply);
    return rc != 0 ? rc : api_reply(request, 200, json_pack("{s:s}", "status", "ready"));
}

/* ---- status ---- */

static json_t *roles_json(uint32_t roles) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{ROLE_GATEWAY, "gateway"},
                 {ROLE_META, "meta"},
                 {ROLE_STORE, "store"},
                 {ROLE_WORKER, "worker"}};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (roles & names[i].bit)
            json_array_append_new(list, json_string(names[i].name));
    return list;
}

static json_t *store_json(const struct store_status *status) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "chunks", (json_int_t)status->chunks, "bytes",
        (json_int_t)status->bytes, "disk_free_bytes", (json_int_t)status->disk_free_bytes,
        "disk_total_bytes", (json_int_t)status->disk_total_bytes, "missing_chunks",
        (json_int_t)status->missing_chunks, "repaired_chunks", (json_int_t)status->repaired_chunks,
        "failed", status->failed, "full", status->disk_free_bytes < SPACE_LOW_BYTES);
}

/* null when the node has no store or does not answer. */
static json_t *node_store_json(struct gateway *gateway, const struct place_node *node,
                               bool *ret_answers) {
    const struct gateway_options *options = &gateway->options;
    struct store_status status;
    *ret_answers = true;
    if (node->id == options->self && options->local_store != NULL) {
        store_get_status(options->local_store, &status);
        return store_json(&status);
    }
    if (!(node->roles & ROLE_STORE))
        return json_null();
    *ret_answers = store_remote_status(options->rpc, node->id, clock_deadline_ms(NODE_MS_MAX),
                                       &status, NULL) == 0;
    return *ret_answers ? store_json(&status) : json_null();
}

/* How many slices of the ring it holds copies of. */
static json_t *slices_json(const struct place_map *map, uint32_t node) {
    json_int_t count = 0;
    for (size_t i = 0; i < (size_t)place_slice_count(map) * map->replicas; i++)
        count += map->owners[i] == node;
    return json_integer(count);
}

static json_t *node_json(struct gateway *gateway, const struct place_map *map,
                         const struct place_node *node) {
    char incarnation[ID128_HEX_SIZE];
    bool answers;
    json_t *store = node_store_json(gateway, node, &answers);
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:o}", "id", (int)node->id,
                     "name", node->name, "peer_address", node->peer_address, "http_address",
                     node->http_address, "zone", node->zone, "incarnation",
                     id128_print(node->incarnation, incarnation), "roles", roles_json(node->roles),
                     "slices", slices_json(map, node->id), "up", !node->down && answers, "store",
                     store);
}

struct group_view {
    struct meta_group_status status;
    uint32_t voting;  /* nodes whose replica has caught up and votes */
    uint32_t damaged; /* of which the state store is damaged */
};

static json_t *ids_json(const uint32_t *ids, uint32_t count) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

/* voters: who they are; placed: who they shall be; voting: how many of them do; damaged: how many
 * by their logs alone. */
static json_t *group_json(const struct place_map *map, unsigned number,
                          const struct group_view *view) {
    const struct place_group *placed = &map->groups[number];
    const struct meta_group_status *group = &view->status;
    return json_pack("{s:i, s:s, s:i, s:o, s:o, s:i, s:i, s:I, s:I, s:I}", "group", (int)number,
                     "kind", number == META_ROOT ? "root" : "shard", "leader", (int)group->leader,
                     "voters", ids_json(group->voters, group->voter_count), "placed",
                     ids_json(placed->nodes, placed->count), "voting", (int)view->voting, "damaged",
                     (int)view->damaged, "ballot", (json_int_t)group->ballot_round, "chosen_upto",
                     (json_int_t)group->chosen_upto, "applied_upto",
                     (json_int_t)group->applied_upto);
}

/* What this node has replicas of, as it sees them; the others as a node does that has one. Asks
 * all that are up. */
static unsigned groups_ask(struct gateway *gateway, const struct place_map *map,
                           struct group_view *views) {
    const struct gateway_options *options = &gateway->options;
    unsigned count = 0;
    for (uint32_t n = 0; n < map->node_count; n++) {
        struct meta_group_status rows[GROUPS_MAX];
        const struct place_node *node = &map->nodes[n];
        bool self = node->id == options->self;
        unsigned known = 0;
        if (self && options->local_meta != NULL)
            known = meta_status(options->local_meta, rows, GROUPS_MAX);
        else if (!self && !node->down)
            meta_remote_status(options->rpc, node->id, clock_deadline_ms(NODE_MS_MAX), rows,
                               GROUPS_MAX, &known, NULL);
        for (unsigned i = 0; i < known; i++) {
            views[i].voting += rows[i].votes;
            views[i].damaged += rows[i].damaged;
            if (rows[i].hosted && (self || !views[i].status.hosted))
                views[i].status = rows[i];
        }
        count = known > count ? known : count;
    }
    return count;
}

static json_t *groups_json(struct gateway *gateway, const struct place_map *map) {
    struct group_view views[GROUPS_MAX] = {0};
    json_t *list = json_array();
    unsigned count = groups_ask(gateway, map, views);
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, group_json(map, i, &views[i]));
    return list;
}

int api_status(struct request *request) {
    struct gateway *gateway = request->gateway;
    struct place_map *map = meta_map(gateway->options.meta);
    char cluster[ID128_HEX_SIZE];
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < map->node_count; i++)
        json_array_append_new(nodes, node_json(gateway, map, &map->nodes[i]));
    json_t *status =
        json_pack("{s:s, s:s, s:i, s:I, s:i, s:i, s:I, s:o, s:o, s:{s:i, s:s}}", "version",
                  QUERN_VERSION, "cluster", id128_print(map->cluster_id, cluster), "node",
                  (int)gateway->options.self, "epoch", (json_int_t)map->epoch, "replicas",
                  (int)map->replicas, "slices", (int)place_slice_count(map), "uptime_ms",
                  (json_int_t)(clock_wall_ms() - gateway->started_ms), "nodes", nodes, "groups",
                  groups_json(gateway, map), "sandbox", "level", gateway->options.sandbox_level,
                  "reason", gateway->options.sandbox_reason);
    place_map_unref(map);
    return api_reply(request, 200, status);
}

/* ---- where an object is ---- */

static json_t *chunk_json(const struct place_map *map, const Pb__ChunkRef *chunk, uint64_t offset) {
    uint32_t nodes[PLACE_REPLICAS_MAX];
    char id[ID128_HEX_SIZE];
    struct id128 chunk_id = pb_id128(chunk->id);
    uint32_t slice = place_slice_of(map, chunk_id);
    unsigned count = place_owners(map, slice, nodes);
    json_t *holders = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(holders, json_integer((json_int_t)nodes[i]));
    return json_pack("{s:s, s:I, s:I, s:b, s:i, s:i, s:o}", "id", id128_print(chunk_id, id),
                     "offset", (json_int_t)offset, "length", (json_int_t)chunk->length, "ends_line",
                     chunk->ends_line, "slice", (int)slice, "primary",
                     (int)place_primary(map, slice), "nodes", holders);
}

int api_ring(struct request *request) {
    const char *bucket = request_string(request, uri_param(&request->uri, "bucket"));
    const char *key = request_string(request, uri_param(&request->uri, "key"));
    Pb__Object *object;
    if (bucket[0] == '\0' || key[0] == '\0')
        return err_set(&request->err, ERR_INVALID, "name an object by bucket and key");
    int rc = catalogue_object(request, bucket, key, &object);
    if (rc != 0)
        return rc;
    struct place_map *map = meta_map(request->gateway->options.meta);
    json_t *chunks = json_array();
    uint64_t offset = 0;
    for (size_t i = 0; i < object->n_chunks; i++) {
        json_array_append_new(chunks, chunk_json(map, object->chunks[i], offset));
        offset += object->chunks[i]->length;
    }
    json_t *ring = json_pack("{s:s, s:s, s:I, s:s, s:i, s:I, s:b, s:o}", "bucket", bucket, "key",
                             key, "size", (json_int_t)object->size, "etag", object->etag, "shard",
                             (int)place_shard_of(map, bucket, key), "epoch", (json_int_t)map->epoch,
                             "inline", object->n_chunks == 0 && object->size > 0, "chunks", chunks);
    place_map_unref(map);
    return api_reply(request, 200, ring);
}
