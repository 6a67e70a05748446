/* The store role: started, stopped, asked how it is. */
#include "store/store.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/file.h"
#include "store/local.h"
#include "store/message.h"
#include "store/repair.h"
#include "store/scrub.h"
#include "store/server.h"

int store_check(struct store *store, int rc) {
    if (rc == ERR_IO)
        atomic_store(&store->failed, true);
    return rc;
}

static int store_open(struct store *store, const struct store_options *options, struct err *err) {
    const char *dir = options->dir;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/volumes", dir) >= (int)sizeof path)
        return err_set(err, ERR_INVALID, "path too long: %s", dir);
    int rc = volumes_open(path, store->identity.incarnation, &store->volumes, err);
    if (rc != 0)
        return rc;
    snprintf(path, sizeof path, "%s/index", dir);
    rc = index_open(path, options->ballast, &store->index, err);
    return rc != 0 ? rc : store_recover(store, err);
}

int store_start(const struct store_options *options, struct store **ret_store, struct err *err) {
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return err_set(err, ERR_NOMEM, "store");
    store->identity = options->identity;
    store->client = options->client;
    pthread_mutex_init(&store->lock, NULL);
    int rc = store_open(store, options, err);
    if (rc != 0) {
        store_stop(store);
        return rc;
    }
    if (options->server != NULL)
        store_serve(store, options->server);
    *ret_store = store;
    return 0;
}

int store_start_repair(struct store *store, struct meta_client *meta, struct err *err) {
    ASSERT(store->repair == NULL);
    atomic_store(&store->meta, meta);
    struct repair *repair;
    int rc = repair_start(store, &repair, err);
    if (rc != 0)
        return rc;
    atomic_store(&store->repair, repair);
    store->scrub = scrub_chunks_start(store);
    return 0;
}

struct store *store_stop(struct store *store) {
    if (store == NULL)
        return NULL;
    scrub_chunks_stop(store->scrub);
    repair_stop(store->repair);
    index_close(store->index);
    volumes_close(store->volumes);
    pthread_mutex_destroy(&store->lock);
    free(store);
    return NULL;
}

void store_get_status(struct store *store, struct store_status *ret_status) {
    struct store_status status = {.failed = atomic_load(&store->failed)};
    index_totals(store->index, &status.chunks, &status.bytes);
    (void)volumes_disk_space(store->volumes, &status.disk_free_bytes, &status.disk_total_bytes,
                             NULL);
    repair_counts(store->repair, &status.missing_chunks, &status.repaired_chunks);
    *ret_status = status;
}

int store_remote_status(struct rpc_client *client, uint32_t node, uint64_t deadline_ns,
                        struct store_status *ret_status, struct err *err) {
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct store_status_reply message;
    int rc = rpc_call(client, node, RPC_STORE_STATUS, SPAN_LITERAL(""), true /* idempotent */,
                      deadline_ns, &body, err);
    if (rc != 0)
        return rc;
    if (!message_take(&body, &message, sizeof message))
        return err_set(err, ERR_PROTOCOL, "node %u: a malformed store status", node);
    *ret_status = (struct store_status){.chunks = message.chunks,
                                        .bytes = message.bytes,
                                        .disk_free_bytes = message.disk_free_bytes,
                                        .disk_total_bytes = message.disk_total_bytes,
                                        .missing_chunks = message.missing_chunks,
                                        .repaired_chunks = message.repaired_chunks,
                                        .failed = message.failed != 0};
    return 0;
}
