/* Asking the admin API and reading what it says. */
#include "cli/admin.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"

#define READ_IDLE_MS 10000u   /* a wait is answered sooner */
#define SUBMIT_IDLE_MS 60000u /* a job's inputs may be many */

int admin_get(struct client *client, const char *path, const struct uri_param *params,
              size_t param_count, json_t **ret_json, struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    struct client_request request = {
        .method = "GET", .path = path, .params = params, .param_count = param_count};
    int status = client_perform(client, &request, &response, err);
    if (status != 0)
        return status;
    json_error_t where;
    json_t *json = json_loadb(response.body.data, response.body.size, 0, &where);
    if (json == NULL)
        return err_set(err, ERR_PROTOCOL, "the reply is not JSON: %s", where.text);
    *ret_json = json;
    return 0;
}

static int perform(struct client *client, struct client_request *request, json_t *body,
                   json_t **ret_reply, struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    _cleanup_(freep) char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    const struct http1_header type = {SPAN_LITERAL("Content-Type"),
                                      SPAN_LITERAL("application/json")};
    json_decref(body);
    request->body = span_of(text);
    request->headers = &type;
    request->header_count = text != NULL;
    int status = client_perform(client, request, &response, err);
    if (status != 0)
        return status;
    *ret_reply = json_loadb(response.body.data, response.body.size, 0, NULL);
    return *ret_reply != NULL ? 0 : err_set(err, ERR_PROTOCOL, "the server's reply is not JSON");
}

int admin_request(struct client *client, const char *method, const char *path, json_t *body,
                  json_t **ret_reply, struct err *err) {
    struct client_request request = {.method = method,
                                     .path = path,
                                     .idle_ms_max = body != NULL ? SUBMIT_IDLE_MS : READ_IDLE_MS};
    return perform(client, &request, body, ret_reply, err);
}

int admin_request_within(struct client *client, uint64_t limit_ms, const char *method,
                         const char *path, json_t *body, json_t **ret_reply, struct err *err) {
    struct client_request request = {.method = method,
                                     .path = path,
                                     .idle_ms_max = limit_ms / client_endpoint_count(client) + 1,
                                     .retry_ms_max = limit_ms + 1};
    return perform(client, &request, body, ret_reply, err);
}

const char *admin_text(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

long long admin_number(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

bool admin_flag(const json_t *object, const char *name) {
    return json_is_true(json_object_get(object, name));
}

const char *admin_node_name(const json_t *status, long long id, char *text) {
    size_t index;
    json_t *node;
    json_array_foreach(json_object_get(status, "nodes"), index, node) {
        if (admin_number(node, "id") == id)
            return admin_text(node, "name");
    }
    snprintf(text, 32, "node %lld", id);
    return text;
}

int admin_print(const json_t *json, struct err *err) {
    if (json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) != 0 || putchar('\n') == EOF)
        return err_errno(err, errno, "cannot write");
    return 0;
}
