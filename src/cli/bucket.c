/* quern mb, quern rb: make and remove buckets. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/options.h"

static const struct usage mb_usage = {
    .name = "mb",
    .operands = "BUCKET...",
    .operands_min = 1,
    .operands_max = -1,
    .about = "Makes buckets.",
    .example = "quern mb logs",
};

static const struct usage rb_usage = {
    .name = "rb",
    .operands = "BUCKET...",
    .operands_min = 1,
    .operands_max = -1,
    .about = "Removes empty buckets.",
    .example = "quern rb logs",
};

/* A try whose answer was lost may have done it: then its outcome is an error to the next one only.
 */
static int change_bucket(struct client *client, const char *method, const char *name, int done_code,
                         struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    struct place place;
    char path[CLIENT_PATH_SIZE];
    int status = client_parse_place(name, &place, err);
    if (status != 0)
        return status;
    if (place.key[0] != '\0')
        return err_set(err, ERR_INVALID, "it is an object, not a bucket");
    struct client_request request = {.method = method, .path = client_path(&place, path)};
    status = client_perform(client, &request, &response, err);
    if (status == done_code && response.tries > 1)
        return 0;
    return status;
}

static int change_buckets(const struct usage *usage, const char *method, int done_code, int argc,
                          char **argv) {
    struct operands operands;
    int status = options_parse(usage, argc, argv, NULL, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status != 0)
        return options_fail(usage, &err, status);
    int exit_status = CLI_OK;
    for (int i = 0; i < operands.count; i++) {
        status = change_bucket(client, method, operands.words[i], done_code, &err);
        if (status != 0)
            exit_status = options_fail_about(usage, operands.words[i], &err, status);
    }
    client_close(client);
    return exit_status;
}

int cli_mb(int argc, char **argv) {
    return change_buckets(&mb_usage, "PUT", ERR_BUCKET_EXISTS, argc, argv);
}

int cli_rb(int argc, char **argv) {
    return change_buckets(&rb_usage, "DELETE", ERR_NO_SUCH_BUCKET, argc, argv);
}
