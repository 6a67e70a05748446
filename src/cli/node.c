/* quern node: the nodes of the cluster, and which of them keep the catalogue. */
#include <stdio.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/options.h"
#include "os/clock.h"

#define LOOK_MS 200u

struct values {
    bool json;
    uint64_t wait_ms;
};

static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "list: as JSON"},
    {"wait", 0, OPTION_DURATION, offsetof(struct values, wait_ms), "TIME",
     "add, remove: until all groups have moved (10m)"},
    {0},
};

static const struct usage usage = {
    .name = "node",
    .operands = "list | add NODE | remove NODE",
    .operands_min = 1,
    .operands_max = 2,
    .about = "Lists the nodes. 'add' lets a node that has joined (quern serve --join) keep the\n"
             "catalogue with the others; 'remove' moves what it keeps of it to others, after\n"
             "which the catalogue needs it no more; its chunks stay. Both return once every\n"
             "Paxos group is where it should be. NODE is a name or a number.",
    .example = "quern node list\n"
               "quern node add node4",
    .options = rows,
};

static bool has(const json_t *list, long long id) {
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item) {
        if (json_integer_value(item) == id)
            return true;
    }
    return false;
}

static long long groups_of(const json_t *status, long long id) {
    size_t index;
    json_t *group;
    long long count = 0;
    json_array_foreach(json_object_get(status, "groups"), index, group) {
        count += has(json_object_get(group, "voters"), id);
    }
    return count;
}

static long long groups_led_by(const json_t *status, long long id) {
    size_t index;
    json_t *group;
    long long count = 0;
    json_array_foreach(json_object_get(status, "groups"), index, group) {
        count += admin_number(group, "leader") == id;
    }
    return count;
}

static int list(struct client *client, const struct values *values, struct err *err) {
    json_t *status, *node;
    size_t index;
    int code = admin_get(client, "/-/api/v1/status", NULL, 0, &status, err);
    if (code != 0)
        return code;
    if (values->json) {
        code = admin_print(json_object_get(status, "nodes"), err);
        json_decref(status);
        return code;
    }
    printf("%4s %-12s %-5s %-21s %-21s %6s %5s\n", "ID", "NODE", "STATE", "S3", "PEERS", "GROUPS",
           "LEADS");
    json_array_foreach(json_object_get(status, "nodes"), index, node) {
        long long id = admin_number(node, "id");
        printf("%4lld %-12s %-5s %-21s %-21s %6lld %5lld\n", id, admin_text(node, "name"),
               admin_flag(node, "up") ? "up" : "down", admin_text(node, "http_address"),
               admin_text(node, "peer_address"), groups_of(status, id), groups_led_by(status, id));
    }
    json_decref(status);
    return 0;
}

/* ---- moving ---- */

static bool is_placed(const json_t *group) {
    const json_t *voters = json_object_get(group, "voters");
    const json_t *placed = json_object_get(group, "placed");
    size_t index;
    json_t *item;
    json_array_foreach(placed, index, item) {
        if (!has(voters, json_integer_value(item)))
            return false;
    }
    return json_array_size(voters) == json_array_size(placed);
}

/* Of a node that knows the map of this epoch; until then all seem to be on their way. */
static int count_moving(struct client *client, long long epoch, size_t *ret_moving,
                        struct err *err) {
    json_t *status, *group;
    size_t index;
    int code = admin_get(client, "/-/api/v1/status", NULL, 0, &status, err);
    if (code != 0)
        return code;
    bool knows = admin_number(status, "epoch") >= epoch;
    *ret_moving = 0;
    json_array_foreach(json_object_get(status, "groups"), index, group) {
        *ret_moving += !knows || !is_placed(group);
    }
    json_decref(status);
    return 0;
}

static int wait_placed(struct client *client, long long epoch, uint64_t wait_ms, struct err *err) {
    uint64_t deadline_ns = clock_deadline_ms(wait_ms);
    size_t moving;
    for (;;) {
        int code = count_moving(client, epoch, &moving, err);
        if (code != 0 || moving == 0)
            return code;
        if (clock_now_ns() > deadline_ns)
            return err_set(err, ERR_TIMEOUT,
                           "%zu Paxos groups are still on their way; they go on moving", moving);
        clock_sleep_until(clock_deadline_ms(LOOK_MS));
    }
}

static int move(struct client *client, const char *node, bool meta, const struct values *values,
                struct err *err) {
    char path[128];
    json_t *reply;
    snprintf(path, sizeof path, "/-/api/v1/nodes/%.64s", node);
    int code = admin_request(client, "POST", path, json_pack("{s:b}", "meta", meta), &reply, err);
    if (code != 0)
        return code;
    long long epoch = admin_number(reply, "epoch");
    json_decref(reply);
    return wait_placed(client, epoch, values->wait_ms, err);
}

static int act(struct client *client, const struct operands *operands, const struct values *values,
               struct err *err) {
    if (operands->count == 1)
        return list(client, values, err);
    bool add = strcmp(operands->words[0], "add") == 0;
    return move(client, operands->words[1], add, values, err);
}

static int check_operands(const struct operands *operands) {
    const char *word = operands->words[0];
    bool lists = strcmp(word, "list") == 0;
    if (!lists && strcmp(word, "add") != 0 && strcmp(word, "remove") != 0)
        return options_misuse(&usage, "there is no 'quern node %s'", word);
    if (operands->count != (lists ? 1 : 2))
        return options_misuse(&usage, lists ? "list takes no NODE" : "%s which NODE?", word);
    return OPTIONS_GO;
}

int cli_node(int argc, char **argv) {
    struct values values = {.wait_ms = 600000};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status == OPTIONS_GO)
        status = check_operands(&operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status == 0) {
        status = act(client, &operands, &values, &err);
        client_close(client);
    }
    return status == 0 ? CLI_OK : options_fail(&usage, &err, status);
}
