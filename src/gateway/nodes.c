/* Nodes join, and take or give up a part in keeping the catalogue. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "gateway/api.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/request.h"

#define BODY_BYTES_MAX ((size_t)64 << 10)
#define PATH "/-/api/v1/nodes/"

/* ---- what a node that joins must know: node/identity.h ---- */

static json_t *member_json(const Pb__Node *node) {
    char incarnation[ID128_HEX_SIZE];
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s}", "id", (int)node->id, "incarnation",
                     id128_print(pb_id128(node->incarnation), incarnation), "name", node->name,
                     "zone", node->zone, "peer", node->peer_address, "http", node->http_address);
}

/* Its voters are those who can be asked for more: the nodes of the root group. */
static json_t *identity_json(const Pb__ClusterMap *map, uint32_t self) {
    char cluster[ID128_HEX_SIZE];
    json_t *members = json_array(), *voters = json_array();
    const Pb__GroupNodes *root = map->n_groups > 0 ? map->groups[META_ROOT] : NULL;
    for (size_t i = 0; i < map->n_nodes; i++)
        json_array_append_new(members, member_json(map->nodes[i]));
    for (size_t i = 0; root != NULL && i < root->n_nodes; i++)
        json_array_append_new(voters, json_integer(root->nodes[i]));
    return json_pack("{s:i, s:b, s:s, s:i, s:i, s:i, s:i, s:o, s:o}", "format", 2, "joined", true,
                     "cluster", id128_print(pb_id128(map->cluster_id), cluster), "node", (int)self,
                     "shards", (int)map->shards, "replicas", (int)map->replicas, "slice_bits",
                     (int)map->slice_bits, "voters", voters, "members", members);
}

/* ---- joining ---- */

static int read_node(struct request *request, json_t *json, Pb__Node *node) {
    const char *name, *zone, *peer, *http, *incarnation;
    struct id128 *id = arena_new(&request->arena, struct id128);
    json_error_t why;
    if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s, s:s, s:s, s:s, s:s}", "name", &name, "zone",
                       &zone, "peer", &peer, "http", &http, "incarnation", &incarnation) != 0)
        return err_set(&request->err, ERR_INVALID, "not a node: %s", why.text);
    if (id == NULL || !id128_parse(span_of(incarnation), id))
        return err_set(&request->err, ERR_INVALID, "an incarnation is 32 hex digits");
    node->name = arena_strdup(&request->arena, name);
    node->zone = arena_strdup(&request->arena, zone);
    node->peer_address = arena_strdup(&request->arena, peer);
    node->http_address = arena_strdup(&request->arena, http);
    node->incarnation = pb_id(id);
    node->roles = ROLE_ALL;
    node->weight = 1;
    return request_memory(request);
}

static uint32_t id_of(const Pb__ClusterMap *map, const Pb__Node *node) {
    for (size_t i = 0; i < map->n_nodes; i++)
        if (id128_equal(pb_id128(map->nodes[i]->incarnation), pb_id128(node->incarnation)))
            return map->nodes[i]->id;
    return 0;
}

int api_node_join(struct request *request) {
    Pb__Node node = PB__NODE__INIT;
    Pb__AddNode add = PB__ADD_NODE__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    json_t *body;
    int rc = api_read_body(request, BODY_BYTES_MAX, &body);
    if (rc != 0)
        return rc;
    rc = read_node(request, body, &node);
    json_decref(body);
    add.node = &node;
    command.op_case = PB__COMMAND__OP_ADD_NODE;
    command.add_node = &add;
    if (rc == 0)
        rc = catalogue_submit(request, META_ROOT, &command, &reply);
    if (rc == 0 && reply->map == NULL)
        rc = err_set(&request->err, ERR_PROTOCOL, "a node was added without a reply");
    if (rc != 0)
        return rc;
    return api_reply(request, 201, identity_json(reply->map, id_of(reply->map, &node)));
}

/* ---- who keeps the catalogue ---- */

/* By name, or by id. 0 = there is none. */
static uint32_t find_node(const struct place_map *map, const char *name) {
    char id[16];
    for (uint32_t i = 0; i < map->node_count; i++) {
        snprintf(id, sizeof id, "%u", map->nodes[i].id);
        if (strcmp(map->nodes[i].name, name) == 0 || strcmp(id, name) == 0)
            return map->nodes[i].id;
    }
    return 0;
}

static int set_voter(struct request *request, uint32_t node, bool voter) {
    Pb__SetVoter set = PB__SET_VOTER__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    set.node = node;
    set.voter = voter;
    command.op_case = PB__COMMAND__OP_SET_VOTER;
    command.set_voter = &set;
    int rc = catalogue_submit(request, META_ROOT, &command, &reply);
    if (rc == 0 && reply->map == NULL)
        rc = err_set(&request->err, ERR_PROTOCOL, "a node was set without a reply");
    if (rc != 0)
        return rc;
    return api_reply(request, 200,
                     json_pack("{s:i, s:b, s:I}", "id", (int)node, "meta", voter, "epoch",
                               (json_int_t)reply->map->epoch));
}

int api_node_set(struct request *request) {
    const char *name = request_string(request, request->uri.path) + strlen(PATH);
    json_t *body;
    int rc = api_read_body(request, BODY_BYTES_MAX, &body);
    if (rc != 0)
        return rc;
    json_t *meta = json_object_get(body, "meta");
    bool is_bool = json_is_boolean(meta), voter = json_is_true(meta);
    json_decref(body);
    if (!is_bool)
        return err_set(&request->err, ERR_INVALID, "say {\"meta\": true} or false");
    struct place_map *map = meta_map(request->gateway->options.meta);
    uint32_t node = find_node(map, name);
    place_map_unref(map);
    if (node == 0)
        return err_set(&request->err, ERR_NOT_FOUND, "there is no node %s", name);
    return set_voter(request, node, voter);
}
