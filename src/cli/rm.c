/* quern rm: remove an object, or all under a prefix. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/objects.h"
#include "cli/options.h"

struct values {
    bool recursive;
};

static const struct option_row rows[] = {
    {"recursive", 'r', OPTION_FLAG, offsetof(struct values, recursive), NULL,
     "all objects whose keys begin so"},
    {0},
};

static const struct usage usage = {
    .name = "rm",
    .operands = "PLACE...",
    .operands_min = 1,
    .operands_max = -1,
    .about = "Removes objects. One that is not there is an error, unless -r is given.",
    .example = "quern rm logs/2026/07/01.gz\n"
               "quern rm -r logs/2025/",
    .options = rows,
};

struct removal {
    struct client *client;
    struct place place;
};

static int send_request(struct client *client, const char *method, const struct place *place,
                        struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    char path[CLIENT_PATH_SIZE];
    struct client_request request = {.method = method, .path = client_path(place, path)};
    return client_perform(client, &request, &response, err);
}

static int visit(void *context, const struct listed *listed, struct err *err) {
    struct removal *removal = context;
    snprintf(removal->place.key, sizeof removal->place.key, "%s", listed->name);
    return send_request(removal->client, "DELETE", &removal->place, err);
}

static int remove_place(struct client *client, const char *text, bool recursive, struct err *err) {
    struct removal removal = {.client = client};
    struct place prefix;
    int status = client_parse_place(text, &prefix, err);
    if (status != 0)
        return status;
    removal.place = prefix;
    if (recursive)
        return objects_list(client, &prefix, true, visit, &removal, err);
    if (prefix.key[0] == '\0')
        return err_set(err, ERR_INVALID,
                       "'%s' is a bucket: rb removes an empty one, rm -r its objects", text);
    status = send_request(client, "HEAD", &prefix, err);
    return status != 0 ? status : send_request(client, "DELETE", &prefix, err);
}

int cli_rm(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status != 0)
        return options_fail(&usage, &err, status);
    int exit_status = CLI_OK;
    for (int i = 0; i < operands.count; i++) {
        status = remove_place(client, operands.words[i], values.recursive, &err);
        if (status != 0)
            exit_status = options_fail_about(&usage, operands.words[i], &err, status);
    }
    client_close(client);
    return exit_status;
}
