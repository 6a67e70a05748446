/* quern ls: buckets, or the objects under a place. */
#include <jansson.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/objects.h"
#include "cli/options.h"
#include "cli/progress.h"

struct values {
    bool json;
    bool recursive;
};

static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "one JSON object a line"},
    {"recursive", 'r', OPTION_FLAG, offsetof(struct values, recursive), NULL, "do not stop at '/'"},
    {0},
};

static const struct usage usage = {
    .name = "ls",
    .operands = "[PLACE]",
    .operands_max = 1,
    .about = "Lists buckets, or the objects of a bucket whose keys begin as PLACE says. What "
             "follows the next '/' is shown\n"
             "as one line, unless -r is given.",
    .example = "quern ls\n"
               "quern ls logs/2026/",
    .options = rows,
};

static int print_json(const struct listed *listed, bool is_bucket) {
    json_t *json =
        is_bucket ? json_pack("{ss ss}", "bucket", listed->name, "created", listed->modified)
        : listed->is_prefix
            ? json_pack("{ss}", "prefix", listed->name)
            : json_pack("{ss sI ss ss}", "key", listed->name, "size", (json_int_t)listed->size,
                        "modified", listed->modified, "etag", listed->etag);
    int status = json == NULL ? ERR_NOMEM : json_dumpf(json, stdout, 0) != 0 ? ERR_IO : 0;
    json_decref(json);
    putchar('\n');
    return status;
}

static int visit_json_object(void *context, const struct listed *listed, struct err *err) {
    return print_json(listed, false);
}

static int visit_json_bucket(void *context, const struct listed *listed, struct err *err) {
    return print_json(listed, true);
}

static int visit_object(void *context, const struct listed *listed, struct err *err) {
    char size[PROGRESS_SIZE];
    if (listed->is_prefix)
        printf("%-19s  %10s  %s\n", "", "-", listed->name);
    else
        printf("%.10s %.8s  %10s  %s\n", listed->modified, listed->modified + 11,
               progress_print_bytes(listed->size, size), listed->name);
    return 0;
}

static int visit_bucket(void *context, const struct listed *listed, struct err *err) {
    printf("%.10s %.8s  %s\n", listed->modified, listed->modified + 11, listed->name);
    return 0;
}

static int list(struct client *client, const struct values *values, const struct operands *operands,
                struct err *err) {
    if (operands->count == 0)
        return objects_list_buckets(client, values->json ? visit_json_bucket : visit_bucket, NULL,
                                    err);
    struct place place;
    int status = client_parse_place(operands->words[0], &place, err);
    if (status != 0)
        return status;
    return objects_list(client, &place, values->recursive,
                        values->json ? visit_json_object : visit_object, NULL, err);
}

int cli_ls(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status == 0) {
        status = list(client, &values, &operands, &err);
        client_close(client);
    }
    return status == 0 ? CLI_OK : options_fail(&usage, &err, status);
}
