/* quern doctor: each check is one line, good or bad; any bad one makes the exit status 1. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/admin.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "os/clock.h"
#include "wire/time.h"

#define SKEW_S_MAX 60 /* signatures allow 15 minutes: warn long before */
#define DISK_FREE_PERCENT_MIN 5

struct values {
    bool json;
};

static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "as JSON"},
    {0},
};

static const struct usage usage = {
    .name = "doctor",
    .operands = "",
    .about =
        "Checks that every endpoint answers, that keys and clock are right, that all nodes are\n"
        "up, that groups have leaders, disks have room, and how well tasks are fenced in.",
    .example = "quern doctor",
    .options = rows,
};

struct diagnosis {
    json_t *list; /* NULL: lines to stdout */
    bool is_bad;
};

static void tell(struct diagnosis *diagnosis, bool good, const char *check, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void tell(struct diagnosis *diagnosis, bool good, const char *check, const char *format,
                 ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    diagnosis->is_bad |= !good;
    if (diagnosis->list == NULL)
        printf("%-4s  %-10s %s\n", good ? "ok" : "BAD", check, text);
    else
        json_array_append_new(diagnosis->list,
                              json_pack("{sb ss ss}", "good", good, "check", check, "text", text));
}

/* The Date header of any answer against our clock. */
static void check_clock(struct diagnosis *diagnosis, const struct client_response *response,
                        const char *endpoint) {
    int64_t theirs_s, ours_s = (int64_t)(clock_wall_ms() / 1000);
    if (!time_parse_http(client_header(response, "date"), &theirs_s))
        return;
    int64_t off_s = theirs_s > ours_s ? theirs_s - ours_s : ours_s - theirs_s;
    tell(diagnosis, off_s <= SKEW_S_MAX, "clock", "%s: %lld s off", endpoint, (long long)off_s);
}

/* Whether it answers at all, then with our keys. */
static bool check_endpoint(struct diagnosis *diagnosis, struct client *client, unsigned index) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    const char *endpoint = client_endpoint(client, index);
    struct client_request request = {.method = "GET", .path = "/", .retry_ms_max = 2000};
    struct err err = {0};
    client_pin(client, index);
    int status = client_perform(client, &request, &response, &err);
    bool answers = response.status != 0;
    tell(diagnosis, answers, "endpoint", "%s %s", endpoint,
         answers ? "answers" : err_message(&err, status));
    if (!answers)
        return false;
    check_clock(diagnosis, &response, endpoint);
    tell(diagnosis, status == 0, "keys", "%s: %s", endpoint,
         status == 0 ? "accepted" : err_message(&err, status));
    return status == 0;
}

static void check_node(struct diagnosis *diagnosis, const json_t *node) {
    const char *name = admin_text(node, "name");
    const json_t *store = json_object_get(node, "store");
    tell(diagnosis, admin_flag(node, "up"), "node", "%s is %s", name,
         admin_flag(node, "up") ? "up" : "down");
    if (!json_is_object(store))
        return;
    char text[PROGRESS_SIZE];
    long long left = admin_number(store, "disk_free_bytes");
    long long total = admin_number(store, "disk_total_bytes");
    tell(diagnosis, !admin_flag(store, "failed"), "disk", "%s: %s", name,
         admin_flag(store, "failed") ? "writing failed; it is not trusted any more" : "trusted");
    tell(diagnosis, total == 0 || left / (total / 100 + 1) >= DISK_FREE_PERCENT_MIN, "space",
         "%s: %s free", name, progress_print_bytes((uint64_t)left, text));
    tell(diagnosis, admin_number(store, "missing_chunks") == 0, "copies", "%s: %lld to be fetched",
         name, admin_number(store, "missing_chunks"));
}

static void check_cluster(struct diagnosis *diagnosis, const json_t *status) {
    size_t index, led = 0, damaged = 0;
    json_t *item;
    json_array_foreach(json_object_get(status, "nodes"), index, item) {
        check_node(diagnosis, item);
    }
    json_array_foreach(json_object_get(status, "groups"), index, item) {
        led += admin_number(item, "leader") != 0;
        damaged += admin_number(item, "damaged") > 0;
    }
    size_t groups = json_array_size(json_object_get(status, "groups"));
    tell(diagnosis, led == groups, "leaders", "%zu of %zu Paxos groups have one", led, groups);
    tell(diagnosis, damaged == 0, "catalogue", "%s",
         damaged == 0 ? "no node has found damage in it"
                      : "damaged on a node, whose log says where");
    const json_t *sandbox = json_object_get(status, "sandbox");
    long long level = admin_number(sandbox, "level");
    tell(diagnosis, level >= 2, "sandbox", "L%lld of 4: %s", level, admin_text(sandbox, "reason"));
}

static int diagnose(struct client *client, struct diagnosis *diagnosis, struct err *err) {
    unsigned count = client_endpoint_count(client), good = count;
    for (unsigned i = 0; i < count; i++)
        if (check_endpoint(diagnosis, client, i) && good == count)
            good = i;
    if (good == count)
        return 0; /* the rest cannot be asked */
    json_t *status;
    client_pin(client, good);
    int code = admin_get(client, "/-/api/v1/status", NULL, 0, &status, err);
    if (code != 0)
        return code;
    check_cluster(diagnosis, status);
    json_decref(status);
    return 0;
}

int cli_doctor(int argc, char **argv) {
    struct values values = {0};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    struct diagnosis diagnosis = {.list = values.json ? json_array() : NULL};
    status = client_open(&client, &err);
    if (status == 0) {
        status = diagnose(client, &diagnosis, &err);
        client_close(client);
    }
    if (diagnosis.list != NULL && status == 0)
        status = admin_print(diagnosis.list, &err);
    json_decref(diagnosis.list);
    if (status != 0)
        return options_fail(&usage, &err, status);
    return diagnosis.is_bad ? CLI_FAILED : CLI_OK;
}
