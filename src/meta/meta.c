/* Starting and stopping the meta role. */
#include "meta/meta.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/client.h"
#include "meta/engine.h"
#include "os/file.h"

#define KEEP_BYTES ((uint64_t)1 << 30)

static int genesis_check(const struct place_map *genesis, struct err *err) {
    if (genesis->shards > 0 && genesis->shards < GROUPS_MAX)
        return 0;
    return err_set(err, ERR_INVALID, "%u shards; at least 1, at most %u", genesis->shards,
                   GROUPS_MAX - 1);
}

static struct meta *meta_new(const struct meta_options *options) {
    struct meta *meta = calloc(1, sizeof *meta);
    if (meta == NULL || (meta->dir = strdup(options->dir)) == NULL)
        panic("out of memory for the meta role");
    struct place_map *genesis = options->genesis;
    meta->identity = options->identity;
    meta->client = options->client;
    meta->boot = options->boot;
    meta->alone = genesis->node_count == 1;
    meta->group_count = genesis->shards + 1;
    meta->groups = calloc(meta->group_count, sizeof *meta->groups);
    if (meta->groups == NULL)
        panic("out of memory for the meta role");
    mailbox_init(&meta->mailbox);
    peers_init(&meta->peers);
    damage_init(&meta->damage);
    pthread_mutex_init(&meta->host_mutex, NULL);
    pthread_mutex_init(&meta->watch_mutex, NULL);
    meta->maps = options->maps;
    meta->keep_bytes = options->keep_bytes > 0 ? options->keep_bytes : KEEP_BYTES;
    return meta;
}

static struct meta *meta_free(struct meta *meta) {
    if (meta->wal != NULL)
        wal_close(meta->wal);
    if (meta->kv != NULL) {
        replica_fini(meta);
        applier_fini(meta);
        kv_close(meta->kv);
    }
    mailbox_fini(&meta->mailbox);
    replicas_close(&meta->replicas);
    pthread_mutex_destroy(&meta->host_mutex);
    pthread_mutex_destroy(&meta->watch_mutex);
    pthread_mutex_destroy(&meta->damage.mutex);
    free(meta->groups);
    free(meta->dir);
    free(meta);
    return NULL;
}

/* One that is corrupt is given up, where other nodes have what it held; the replicas then learn or
 * fetch it, or are made anew (meta/restore.c). */
static int state_open(struct meta *meta, struct err *err) {
    char path[PATH_MAX];
    char ballast[PATH_MAX];
    const struct kv_options options = {
        .replaceable = !meta->alone, .corrupt = damage_note, .context = meta, .ballast = ballast};
    snprintf(path, sizeof path, "%s/state", meta->dir);
    snprintf(ballast, sizeof ballast, "%s/ballast", meta->dir);
    int r = file_make_directories(meta->dir, err);
    if (r == 0)
        r = kv_open(path, &options, &meta->kv, err);
    if (r != ERR_CORRUPT || meta->alone)
        return r;
    log_error("%s; the catalogue is had from the other nodes again", err->text);
    r = damage_await_others(meta, err);
    if (r == 0)
        r = kv_destroy(path, err);
    return r != 0 ? r : kv_open(path, &options, &meta->kv, err);
}

/* Up to where threads begin. *ret_again: the state store turned out to be damaged, and the other
 * nodes can do without it: it is made anew when this is tried again. */
static int begin(const struct meta_options *options, struct meta **ret_meta, bool *ret_again,
                 struct err *err) {
    struct meta *meta = meta_new(options);
    int r = replicas_open(&meta->replicas, meta->dir, meta->boot, err);
    if (r == 0)
        r = state_open(meta, err);
    if (r == 0) {
        applier_init(meta);
        r = replica_recover(meta, options->genesis, options->segment_bytes, err);
    }
    *ret_again = r == ERR_CORRUPT && damage_is_final(meta) && damage_await_others(meta, err) == 0 &&
                 kv_mark_corrupt(meta->kv, err) == 0;
    if (r != 0)
        meta = meta_free(meta);
    *ret_meta = meta;
    return r;
}

int meta_start(const struct meta_options *options, struct meta **ret_meta, struct err *err) {
    struct meta *meta = NULL;
    bool again = false;
    int r = genesis_check(options->genesis, err);
    if (r == 0)
        r = begin(options, &meta, &again, err);
    if (again)
        r = begin(options, &meta, &again, err);
    if (r != 0)
        return r;
    slot_server_start(meta);
    applier_start(meta);
    keeper_start(meta);
    scrub_start(meta);
    fetcher_start(meta);
    replica_start(meta);
    members_start(meta);
    placer_start(meta);
    server_add_handlers(meta, options->server);
    *ret_meta = meta;
    return 0;
}

/* In the order in which they need each other: who asks the replica stops before it, whom it asks
 * after. */
struct meta *meta_stop(struct meta *meta) {
    if (meta == NULL)
        return NULL;
    fetcher_stop(meta);
    placer_stop(meta);
    members_stop(meta);
    scrub_stop(meta);
    keeper_stop(meta);
    replica_stop(meta);
    slot_server_stop(meta);
    peers_stop(&meta->peers);
    applier_stop(meta);
    return meta_free(meta);
}

uint64_t meta_log_first(struct meta *meta) {
    struct wal_status status;
    wal_get_status(meta->wal, &status);
    return status.oldest_lsn;
}
