/* quern ring: where the chunks of an object lie, or how the ring is shared out. */
#include <stdio.h>

#include "base/cleanup.h"
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
    .name = "ring",
    .operands = "[PLACE]",
    .operands_max = 1,
    .about =
        "Shows which nodes hold each chunk of an object, the primary first; without PLACE, how\n"
        "many slices of the hash ring each node owns.",
    .example = "quern ring logs/2026/07/01.gz",
    .options = rows,
};

/* The holders by name; the primary is marked. */
static void print_holders(const json_t *status, const json_t *chunk) {
    size_t index;
    json_t *holder;
    json_array_foreach(json_object_get(chunk, "nodes"), index, holder) {
        char text[32];
        long long id = json_integer_value(holder);
        printf("  %s%s", admin_node_name(status, id, text),
               id == admin_number(chunk, "primary") ? "*" : "");
    }
    putchar('\n');
}

static void print_object(const json_t *status, const json_t *object) {
    char size[PROGRESS_SIZE];
    const json_t *chunks = json_object_get(object, "chunks");
    printf("%s/%s  %s  etag %s  catalogue shard %lld\n", admin_text(object, "bucket"),
           admin_text(object, "key"),
           progress_print_bytes((uint64_t)admin_number(object, "size"), size),
           admin_text(object, "etag"), admin_number(object, "shard"));
    if (json_array_size(chunks) == 0)
        printf("%s\n", admin_flag(object, "inline")
                           ? "it is small and lies in the catalogue, on every node that keeps it"
                           : "it is empty");
    else
        printf("%-32s %12s %10s %6s  %s\n", "CHUNK", "OFFSET", "LENGTH", "SLICE",
               "NODES (* primary)");
    size_t index;
    json_t *chunk;
    json_array_foreach(chunks, index, chunk) {
        printf("%-32s %12lld %10lld %6lld", admin_text(chunk, "id"), admin_number(chunk, "offset"),
               admin_number(chunk, "length"), admin_number(chunk, "slice"));
        print_holders(status, chunk);
    }
}

static void print_shares(const json_t *status) {
    size_t index;
    json_t *node;
    long long slices = admin_number(status, "slices"), replicas = admin_number(status, "replicas");
    printf("%lld slices, %lld copies of each\n%-10s %8s %8s\n", slices, replicas, "NODE", "SLICES",
           "SHARE");
    json_array_foreach(json_object_get(status, "nodes"), index, node) {
        long long owned = admin_number(node, "slices");
        printf("%-10s %8lld %7.1f%%\n", admin_text(node, "name"), owned,
               100.0 * (double)owned / (double)(slices * replicas));
    }
}

static int show_object(struct client *client, const json_t *status, const char *text, bool as_json,
                       struct err *err) {
    struct place place;
    int code = client_parse_place(text, &place, err);
    if (code == 0 && place.key[0] == '\0')
        code = err_set(err, ERR_INVALID, "'%s' is a bucket: the ring holds objects", text);
    if (code != 0)
        return code;
    struct uri_param params[] = {{SPAN_LITERAL("bucket"), span_of(place.bucket)},
                                 {SPAN_LITERAL("key"), span_of(place.key)}};
    json_t *object;
    code = admin_get(client, "/-/api/v1/ring", params, 2, &object, err);
    if (code != 0)
        return code;
    if (as_json)
        code = admin_print(object, err);
    else
        print_object(status, object);
    json_decref(object);
    return code;
}

static int show(struct client *client, const struct operands *operands, bool as_json,
                struct err *err) {
    json_t *status;
    int code = admin_get(client, "/-/api/v1/status", NULL, 0, &status, err);
    if (code != 0)
        return code;
    if (operands->count > 0)
        code = show_object(client, status, operands->words[0], as_json, err);
    else if (as_json)
        code = admin_print(json_object_get(status, "nodes"), err);
    else
        print_shares(status);
    json_decref(status);
    return code;
}

int cli_ring(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status == 0) {
        status = show(client, &operands, values.json, &err);
        client_close(client);
    }
    return status == 0 ? CLI_OK : options_fail(&usage, &err, status);
}
