/* Joining a cluster. */
#include "cli/join.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/admin.h"
#include "meta/replicas.h"
#include "node/dir.h"
#include "os/file.h"
#include "os/random.h"

/* Made once for the directory: asked twice, it is still one node. */
static int read_or_make_incarnation(const char *path, struct id128 *ret_id, struct err *err) {
    _cleanup_(buf_finip) struct buf text = BUF_INIT;
    char hex[ID128_HEX_SIZE];
    int status = file_read_whole(path, ID128_HEX_SIZE, &text, err);
    if (status == 0)
        return id128_parse(buf_span(&text), ret_id)
                   ? 0
                   : err_set(err, ERR_CORRUPT, "%s is damaged", path);
    if (status != ERR_NOT_FOUND)
        return status;
    *ret_id = random_id128();
    return file_replace(path, 0600, span_of(id128_print(*ret_id, hex)), err);
}

static int read_keys(const char *path, struct credentials *ret_keys, struct err *err) {
    int status = ERR_NOT_FOUND;
    if (getenv("QUERN_ACCESS_KEY") == NULL)
        status = credentials_read(path, ret_keys, err);
    if (status != ERR_NOT_FOUND)
        return status;
    if (getenv("QUERN_ACCESS_KEY") == NULL)
        return err_set(err, ERR_ACCESS_DENIED,
                       "to join a cluster its keys are needed: QUERN_ACCESS_KEY and "
                       "QUERN_SECRET_KEY, or %s from one of its nodes",
                       path);
    return credentials_make(ret_keys, err);
}

static int ask(const struct node_options *options, struct id128 incarnation, const char *endpoint,
               const struct credentials *keys, json_t **ret_reply, struct err *err) {
    struct client *client;
    char hex[ID128_HEX_SIZE], url[256];
    snprintf(url, sizeof url, "%s%s", strstr(endpoint, "://") != NULL ? "" : "http://", endpoint);
    setenv("QUERN_ENDPOINT", url, 1);
    setenv("QUERN_ACCESS_KEY", keys->access_key, 1);
    setenv("QUERN_SECRET_KEY", keys->secret_key, 1);
    int status = client_open(&client, err);
    if (status != 0)
        return status;
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", options->name, "zone",
                  options->zone != NULL ? options->zone : "", "peer",
                  options->peer_address != NULL ? options->peer_address : PEER_DEFAULT, "http",
                  options->listen_address != NULL ? options->listen_address : LISTEN_DEFAULT,
                  "incarnation", id128_print(incarnation, hex));
    status = admin_request(client, "POST", "/-/api/v1/nodes", body, ret_reply, err);
    client_close(client);
    return status;
}

/* The identity last: with it the directory is whole. */
static int write_down(const char *dir, const struct credentials *keys, const json_t *identity,
                      struct err *err) {
    char path[PATH_MAX];
    _cleanup_(freep) char *text = json_dumps(identity, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (text == NULL)
        return err_set(err, ERR_NOMEM, "an identity");
    snprintf(path, sizeof path, "%s/credentials", dir);
    int status = credentials_write(path, keys, err);
    snprintf(path, sizeof path, "%s/meta", dir);
    if (status == 0)
        status = replicas_found(path, NULL, 0, err);
    snprintf(path, sizeof path, "%s/identity.json", dir);
    return status != 0 ? status : identity_accept(path, span_of(text), err);
}

int join_cluster(const struct node_options *options, const char *endpoint, struct err *err) {
    char path[PATH_MAX];
    _cleanup_(buf_finip) struct buf there = BUF_INIT;
    snprintf(path, sizeof path, "%s/identity.json", options->dir);
    int status = file_read_whole(path, IDENTITY_BYTES_MAX, &there, err);
    if (status != ERR_NOT_FOUND)
        return status; /* of a cluster already: which one is seen when it starts */
    struct credentials keys;
    struct id128 incarnation;
    json_t *reply;
    snprintf(path, sizeof path, "%s/credentials", options->dir);
    status = read_keys(path, &keys, err);
    if (status == 0)
        status = file_make_directories(options->dir, err);
    snprintf(path, sizeof path, "%s/incarnation", options->dir);
    if (status == 0)
        status = read_or_make_incarnation(path, &incarnation, err);
    if (status == 0)
        status = ask(options, incarnation, endpoint, &keys, &reply, err);
    if (status != 0)
        return status;
    status = write_down(options->dir, &keys, reply, err);
    json_decref(reply);
    return status;
}
