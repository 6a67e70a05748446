/* The identity file of a node, as JSON. */
#include "node/identity.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/kept.h"
#include "os/random.h"

#define SHARDS 8u
#define SLICE_BITS 12u
#define REPLICAS_MAX 3u
#define VOTERS 3u

void identity_fini(struct identity *identity) {
    if (identity->map != NULL)
        identity->map = place_map_unref(identity->map);
}

struct place_node *identity_self(const struct identity *identity) {
    for (uint32_t i = 0; i < identity->map->node_count; i++)
        if (identity->map->nodes[i].id == identity->node_id)
            return &identity->map->nodes[i];
    return NULL;
}

/* Every node does everything, but only the voters can have replicas of the catalogue. */
static void assign_roles(struct place_map *map) {
    for (uint32_t i = 0; i < map->node_count; i++) {
        struct place_node *node = &map->nodes[i];
        node->roles = ROLE_ALL & ~(uint32_t)ROLE_META;
        for (uint32_t v = 0; v < map->voter_count; v++)
            if (map->voters[v] == node->id)
                node->roles = ROLE_ALL;
    }
}

int identity_form_cluster(const struct place_node *nodes, unsigned count, unsigned voters,
                          struct place_map **ret_map, struct err *err) {
    ASSERT(count > 0 && count <= PLACE_NODES_MAX && voters <= PLACE_VOTERS_MAX && voters <= count);
    struct place_map *map =
        place_map_new(count, SLICE_BITS, count < REPLICAS_MAX ? count : REPLICAS_MAX);
    if (map == NULL)
        return ERR_NOMEM;
    map->epoch = 1;
    map->cluster_id = random_id128();
    map->shards = SHARDS;
    map->voter_count = voters > 0 ? voters : count < VOTERS ? count : VOTERS;
    for (uint32_t i = 0; i < count; i++) {
        map->nodes[i] = nodes[i];
        map->nodes[i].id = i + 1;
        map->nodes[i].incarnation = random_id128();
        map->nodes[i].weight = 1;
        if (i < map->voter_count)
            map->voters[i] = i + 1;
    }
    map->last_node = count;
    assign_roles(map);
    place_groups(map);
    int status = place_assign(map, NULL, err);
    if (status != 0)
        place_map_unref(map);
    else
        *ret_map = map;
    return status;
}

/* ---- writing ---- */

static json_t *print_node(const struct place_node *node) {
    char incarnation[ID128_HEX_SIZE];
    return json_pack("{si ss ss ss ss ss}", "id", (int)node->id, "incarnation",
                     id128_print(node->incarnation, incarnation), "name", node->name, "zone",
                     node->zone, "peer", node->peer_address, "http", node->http_address);
}

static json_t *print_identity(const struct identity *identity) {
    const struct place_map *map = identity->map;
    json_t *voters = json_array(), *members = json_array();
    for (uint32_t i = 0; i < map->voter_count; i++)
        json_array_append_new(voters, json_integer(map->voters[i]));
    for (uint32_t i = 0; i < map->node_count; i++)
        json_array_append_new(members, print_node(&map->nodes[i]));
    char cluster[ID128_HEX_SIZE];
    return json_pack("{si sb ss si si si si so so}", "format", IDENTITY_FORMAT, "joined",
                     identity->joined, "cluster", id128_print(map->cluster_id, cluster), "node",
                     (int)identity->node_id, "shards", (int)map->shards, "replicas",
                     (int)map->replicas, "slice_bits", (int)map->slice_bits, "voters", voters,
                     "members", members);
}

int identity_write(const char *path, const struct identity *identity, struct err *err) {
    _cleanup_(json_decrefp) json_t *json = print_identity(identity);
    _cleanup_(freep) char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;
    if (text == NULL)
        return ERR_NOMEM;
    return kept_write(path, 0600, span_of(text), err);
}

/* ---- reading ---- */

static bool copy_text(char *to, size_t size, const char *from) {
    return (size_t)snprintf(to, size, "%s", from) < size;
}

static bool read_node(json_t *json, struct place_node *node) {
    int id;
    const char *incarnation, *name, *zone, *peer, *http;
    if (json_unpack(json, "{si ss ss ss ss ss}", "id", &id, "incarnation", &incarnation, "name",
                    &name, "zone", &zone, "peer", &peer, "http", &http) != 0)
        return false;
    *node = (struct place_node){.id = (uint32_t)id, .weight = 1};
    return id > 0 && id <= UINT16_MAX && id128_parse(span_of(incarnation), &node->incarnation) &&
           copy_text(node->name, sizeof node->name, name) &&
           copy_text(node->zone, sizeof node->zone, zone) &&
           copy_text(node->peer_address, sizeof node->peer_address, peer) &&
           copy_text(node->http_address, sizeof node->http_address, http);
}

static bool read_voters(json_t *voters, struct place_map *map) {
    size_t count = json_array_size(voters);
    if (count == 0 || count > PLACE_VOTERS_MAX)
        return false;
    map->voter_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        map->voters[i] = (uint32_t)json_integer_value(json_array_get(voters, i));
        if (place_node(map, map->voters[i]) == NULL)
            return false;
    }
    return true;
}

static bool read_map(json_t *json, struct identity *identity) {
    int node, shards, replicas, slice_bits, joined = 0;
    const char *cluster;
    json_t *voters, *members;
    if (json_unpack(json, "{ss si si si si so so s?b}", "cluster", &cluster, "node", &node,
                    "shards", &shards, "replicas", &replicas, "slice_bits", &slice_bits, "voters",
                    &voters, "members", &members, "joined", &joined) != 0)
        return false;
    size_t count = json_array_size(members);
    if (count == 0 || count > PLACE_NODES_MAX || shards < 1 || shards >= PLACE_GROUPS_MAX ||
        replicas < 1 || replicas > PLACE_REPLICAS_MAX || slice_bits < 1 ||
        slice_bits > PLACE_SLICE_BITS_MAX)
        return false;
    struct place_map *map =
        place_map_new((uint32_t)count, (uint32_t)slice_bits, (uint32_t)replicas);
    identity->map = map;
    identity->node_id = (uint32_t)node;
    identity->joined = joined != 0;
    if (map == NULL || !id128_parse(span_of(cluster), &map->cluster_id))
        return false;
    map->epoch = joined ? 0 : 1;
    map->shards = (uint32_t)shards;
    for (size_t i = 0; i < count; i++)
        if (!read_node(json_array_get(members, i), &map->nodes[i]))
            return false;
    if (!read_voters(voters, map) || identity_self(identity) == NULL)
        return false;
    assign_roles(map);
    place_groups(map);
    return joined || place_assign(map, NULL, NULL) == 0;
}

static int parse(void *ret_identity, const char *path, struct span text, struct err *err) {
    json_error_t where;
    _cleanup_(json_decrefp) json_t *json =
        json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &where);
    if (json == NULL)
        return err_set(err, ERR_CORRUPT, "%s: line %d: %s", path, where.line, where.text);
    json_int_t format = json_integer_value(json_object_get(json, "format"));
    if (format > IDENTITY_FORMAT || format == 1)
        return err_set(err, ERR_VERSION,
                       "%s was written by %s quern (format %lld; this one knows %d)", path,
                       format == 1 ? "an older" : "a newer", (long long)format, IDENTITY_FORMAT);
    struct identity identity = {0};
    if (format < 1 || !read_map(json, &identity)) {
        identity_fini(&identity);
        return err_set(err, ERR_CORRUPT, "%s is damaged", path);
    }
    *(struct identity *)ret_identity = identity;
    return 0;
}

int identity_read(const char *path, struct identity *ret_identity, struct err *err) {
    return kept_read(path, IDENTITY_BYTES_MAX, parse, ret_identity, err);
}

int identity_accept(const char *path, struct span text, struct err *err) {
    struct identity identity;
    int status = parse(&identity, "what the cluster answered", text, err);
    if (status != 0)
        return err_set(err, ERR_PROTOCOL, "%s", err_message(err, status));
    status = identity_write(path, &identity, err);
    identity_fini(&identity);
    return status;
}

static bool same_group(const struct place_group *a, const struct place_group *b) {
    for (uint32_t i = 0; i < a->count; i++)
        if (!place_group_has(b, a->nodes[i]))
            return false;
    return a->count == b->count;
}

int identity_renew(const char *path, struct identity *identity, struct place_map *newest,
                   struct err *err) {
    const struct place_group *root = &newest->groups[0];
    const struct place_map *known = identity->map;
    if (!identity->joined ||
        (known->node_count == newest->node_count && same_group(&known->groups[0], root)))
        return 0;
    struct place_map *map = place_map_new(newest->node_count, newest->slice_bits, newest->replicas);
    if (map == NULL)
        return err_set(err, ERR_NOMEM, "an identity");
    memcpy(map->nodes, newest->nodes, newest->node_count * sizeof *map->nodes);
    map->cluster_id = newest->cluster_id;
    map->shards = newest->shards;
    map->voter_count = root->count;
    memcpy(map->voters, root->nodes, root->count * sizeof *root->nodes);
    struct identity renewed = {identity->node_id, true, map};
    int status = identity_self(&renewed) != NULL ? identity_write(path, &renewed, err) : 0;
    place_map_unref(map);
    return status;
}
