/* quern stat: what is known of an object. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/options.h"

struct values {
    bool json;
};

static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "as JSON"},
    {0},
};

static const struct usage usage = {
    .name = "stat",
    .operands = "PLACE",
    .operands_min = 1,
    .operands_max = 1,
    .about = "Shows size, time, checksums and headers of an object, or whether a bucket exists.",
    .example = "quern stat logs/2026/07/01.gz",
    .options = rows,
};

/* Headers of the answer that are about the connection, not the object. */
static bool is_of_object(struct span name) {
    static const char *const others[] = {"date",         "server",           "connection",
                                         "keep-alive",   "x-amz-request-id", "x-amz-id-2",
                                         "accept-ranges"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (http1_name_equal(name, span_of(others[i])))
            return false;
    return true;
}

static void print_header(json_t *json, struct span name, struct span value) {
    char lower[128];
    snprintf(lower, sizeof lower, "%.*s", SPAN_ARGS(name));
    for (char *c = lower; *c != '\0'; c++)
        *c |= *c >= 'A' && *c <= 'Z' ? 0x20 : 0;
    if (json != NULL)
        json_object_set_new(json, lower, json_stringn(value.data, value.size));
    else
        printf("%-24s %.*s\n", lower, SPAN_ARGS(value));
}

static void print_headers(const struct client_response *response, json_t *json) {
    const char *line = response->head.data + strcspn(response->head.data, "\n");
    while (*line != '\0') {
        line += strspn(line, "\r\n");
        size_t length = strcspn(line, "\r\n"), name = strcspn(line, ":");
        if (name < length && is_of_object((struct span){line, name})) {
            size_t value = name + 1 + strspn(line + name + 1, " ");
            print_header(json, (struct span){line, name},
                         (struct span){line + value, length - value});
        }
        line += length;
    }
}

static int show(struct client *client, const char *text, bool as_json, struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    struct place place;
    char path[CLIENT_PATH_SIZE];
    int status = client_parse_place(text, &place, err);
    if (status != 0)
        return status;
    struct http1_header mode = {SPAN_LITERAL("x-amz-checksum-mode"), SPAN_LITERAL("ENABLED")};
    struct client_request request = {
        .method = "HEAD", .path = client_path(&place, path), .headers = &mode, .header_count = 1};
    status = client_perform(client, &request, &response, err);
    if (status != 0)
        return status;
    json_t *json = as_json ? json_object() : NULL;
    print_header(json, SPAN_LITERAL("place"), span_of(path + 1));
    print_headers(&response, json);
    if (json != NULL) {
        json_dumpf(json, stdout, JSON_INDENT(2)); /* a failure shows in ferror(stdout) */
        putchar('\n');
        json_decref(json);
    }
    return 0;
}

int cli_stat(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status == 0) {
        status = show(client, operands.words[0], values.json, &err);
        client_close(client);
    }
    return status == 0 ? CLI_OK : options_fail_about(&usage, operands.words[0], &err, status);
}
