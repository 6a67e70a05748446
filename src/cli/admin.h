/* The admin API: JSON under /-/api/v1/. */
#ifndef QUERN_CLI_ADMIN_H
#define QUERN_CLI_ADMIN_H

#include <jansson.h>

#include "base/err.h"
#include "cli/client.h"

/* GET; the caller drops *ret_json. */
int admin_get(struct client *client, const char *path, const struct uri_param *params,
              size_t param_count, json_t **ret_json, struct err *err);

/* Any method, with a body (NULL for none; dropped). The caller drops *ret_reply. */
int admin_request(struct client *client, const char *method, const char *path, json_t *body,
                  json_t **ret_reply, struct err *err);
/* The like, that takes about limit_ms at most, tries at all endpoints together. */
int admin_request_within(struct client *client, uint64_t limit_ms, const char *method,
                         const char *path, json_t *body, json_t **ret_reply, struct err *err);

/* Members of an object, with a default when absent or of another type. */
const char *admin_text(const json_t *object, const char *name);
long long admin_number(const json_t *object, const char *name);
bool admin_flag(const json_t *object, const char *name);

/* The name of the node with that id in a status; "node 7" in text[32] when it is unknown. */
const char *admin_node_name(const json_t *status, long long id, char *text);

/* Prints it to stdout, indented, with a newline. */
int admin_print(const json_t *json, struct err *err);

#endif
