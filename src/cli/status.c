/* quern status: nodes, leaders, and whether all copies are there. */
#include <stdio.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/progress.h"

struct values {
    bool json;
};

static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "as JSON"},
    {0},
};

static const struct usage usage = {
    .name = "status",
    .operands = "",
    .about =
        "Shows the nodes and what they do, which of them leads each Paxos group, and how many\n"
        "copies of chunks are still to be fetched by nodes that were down.",
    .example = "quern status",
    .options = rows,
};

#define ROLE_COUNT 4u /* there are */

/* "all", or as in "gateway,meta,store,worker" into text; returns it. */
static const char *print_roles(const json_t *roles, char *text, size_t size) {
    size_t used = 0, index;
    json_t *role;
    text[0] = '\0';
    if (json_array_size(roles) == ROLE_COUNT)
        return "all";
    json_array_foreach(roles, index, role) {
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", index > 0 ? "," : "",
                                     json_string_value(role));
    }
    return text;
}

static const char *state_of(const json_t *node) {
    const json_t *store = json_object_get(node, "store");
    return !admin_flag(node, "up")       ? "down"
           : admin_flag(store, "failed") ? "BROKEN"
           : admin_flag(store, "full")   ? "FULL"
                                         : "up";
}

static void print_node(const json_t *node) {
    char roles[64], stored[PROGRESS_SIZE], left[PROGRESS_SIZE];
    const json_t *store = json_object_get(node, "store");
    printf("%-9s %-6s %-20s ", admin_text(node, "name"), state_of(node),
           admin_text(node, "http_address"));
    if (!json_is_object(store))
        printf("%7s %9s %9s %7s", "-", "-", "-", "-");
    else
        printf("%7lld %9s %9s %7lld", admin_number(store, "chunks"),
               progress_print_bytes((uint64_t)admin_number(store, "bytes"), stored),
               progress_print_bytes((uint64_t)admin_number(store, "disk_free_bytes"), left),
               admin_number(store, "missing_chunks"));
    printf("  %s\n", print_roles(json_object_get(node, "roles"), roles, sizeof roles));
}

static void print_groups(const json_t *status) {
    size_t index;
    json_t *group;
    char text[32];
    json_array_foreach(json_object_get(status, "groups"), index, group) {
        long long number = admin_number(group, "group"), leader = admin_number(group, "leader");
        printf("%-6s %-2lld  %-10s  ballot %lld, %lld chosen, %lld applied\n",
               admin_text(group, "kind"), number,
               leader != 0 ? admin_node_name(status, leader, text) : "no leader",
               admin_number(group, "ballot"), admin_number(group, "chosen_upto"),
               admin_number(group, "applied_upto"));
    }
}

static void print_health(const json_t *status) {
    long long down = 0, missing = 0, weak = 0, damaged = 0;
    size_t index;
    json_t *node, *group;
    json_array_foreach(json_object_get(status, "groups"), index, group) {
        weak += admin_number(group, "voting") <
                (long long)json_array_size(json_object_get(group, "placed"));
        damaged += admin_number(group, "damaged") > 0;
    }
    json_array_foreach(json_object_get(status, "nodes"), index, node) {
        down += !admin_flag(node, "up");
        missing += admin_number(json_object_get(node, "store"), "missing_chunks");
    }
    if (weak > 0)
        printf("%lld of %zu Paxos groups wait for a replica: it is down, or being made\n", weak,
               json_array_size(json_object_get(status, "groups")));
    if (damaged > 0)
        printf("%lld of %zu Paxos groups have a replica on a damaged disk\n", damaged,
               json_array_size(json_object_get(status, "groups")));
    if (down == 0 && missing == 0)
        printf("every node is up, every copy is in its place\n");
    else
        printf("%lld of %zu nodes down, %lld copies still to be fetched\n", down,
               json_array_size(json_object_get(status, "nodes")), missing);
}

static void print_status(const json_t *status) {
    size_t index;
    json_t *node;
    printf("cluster %s  %lld copies  epoch %lld  quern %s\n\n", admin_text(status, "cluster"),
           admin_number(status, "replicas"), admin_number(status, "epoch"),
           admin_text(status, "version"));
    printf("%-9s %-6s %-20s %7s %9s %9s %7s  %s\n", "NODE", "STATE", "S3", "CHUNKS", "STORED",
           "FREE", "MISSING", "ROLES");
    json_array_foreach(json_object_get(status, "nodes"), index, node) {
        print_node(node);
    }
    printf("\nPaxos groups, as %s sees them\n",
           admin_node_name(status, admin_number(status, "node"), (char[32]){0}));
    print_groups(status);
    putchar('\n');
    print_health(status);
}

static int show(struct client *client, bool as_json, struct err *err) {
    json_t *status;
    int code = admin_get(client, "/-/api/v1/status", NULL, 0, &status, err);
    if (code != 0)
        return code;
    if (as_json)
        code = admin_print(status, err);
    else
        print_status(status);
    json_decref(status);
    return code;
}

int cli_status(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status == 0) {
        status = show(client, values.json, &err);
        client_close(client);
    }
    return status == 0 ? CLI_OK : options_fail(&usage, &err, status);
}
