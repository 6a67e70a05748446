/* Answers to the store's rpc messages. */
#include "store/server.h"

#include <stdlib.h>

#include "meta/client.h"
#include "os/clock.h"
#include "store/message.h"

#define FRAME_MS_MAX 60000 /* the time a peer has for a frame */

static uint64_t frame_deadline(void) {
    return clock_deadline_ms(FRAME_MS_MAX);
}

static int reply(struct rpc_conn *conn, uint16_t type, const void *data, size_t size) {
    struct iovec iov = {(void *)(uintptr_t)data, size};
    return rpc_send(conn, type, &iov, 1, frame_deadline(), NULL);
}

static int reply_error(struct rpc_conn *conn, int code, const struct err *err) {
    return rpc_send_error(conn, code, err_message(err, code), frame_deadline(), NULL);
}

static int reply_result(struct rpc_conn *conn, int rc, const struct err *err) {
    return rc == 0 ? reply(conn, RPC_CHUNK_DONE, NULL, 0) : reply_error(conn, rc, err);
}

static int reply_malformed(struct rpc_conn *conn) {
    struct err err = {0};
    int rc = err_set(&err, ERR_PROTOCOL, "a malformed request to the store");
    reply_error(conn, rc, &err);
    return rc;
}

/* ---- writing ---- */

/* Owners that are chosen by an older map are refused when they are others by the map known here. */
static int check_owners(struct store *store, const struct chunk_write_request *request,
                        struct err *err) {
    struct meta_client *meta = atomic_load(&store->meta);
    if (meta == NULL)
        return 0;
    struct place_map *map = meta_map(meta);
    uint32_t owners[PLACE_REPLICAS_MAX];
    unsigned count = place_owners(map, place_slice_of(map, request->id), owners);
    bool same = true;
    for (unsigned i = 0; i < PLACE_REPLICAS_MAX; i++)
        same &= request->owners[i] == (i < count ? owners[i] : 0);
    int rc = same || request->epoch >= map->epoch
                 ? 0
                 : err_set(err, ERR_STALE, "the owners of the slice changed with epoch %llu",
                           (unsigned long long)map->epoch);
    place_map_unref(map);
    return rc;
}

/* What the sender sent before it learnt of the refusal is skipped, to be in step again. */
static int refuse_write(struct rpc_conn *conn, struct buf *body, int code, const struct err *why) {
    int rc = reply_error(conn, code, why);
    for (uint16_t type = RPC_CHUNK_DATA; rc == 0 && type == RPC_CHUNK_DATA;)
        rc = rpc_receive(conn, &type, body, frame_deadline(), NULL);
    return rc;
}

static int end_write(struct local_write *write, struct rpc_conn *conn, const struct buf *body) {
    struct chunk_end end;
    if (!message_take(body, &end, sizeof end)) {
        local_write_abort(write);
        return reply_malformed(conn);
    }
    struct err err = {0};
    int rc = 0;
    if (end.flags & CHUNK_END_ABORT)
        local_write_abort(write);
    else
        rc = local_write_end(write, end.length, end.crc32c, &err);
    return reply_result(conn, rc, &err);
}

/* A connection that ends early ends the write, too. */
static int receive_write(struct local_write *write, struct rpc_conn *conn, struct buf *body) {
    for (;;) {
        uint16_t type;
        struct err err = {0};
        int rc = rpc_receive(conn, &type, body, frame_deadline(), NULL);
        if (rc == 0 && type == RPC_CHUNK_END)
            return end_write(write, conn, body);
        if (rc != 0 || type != RPC_CHUNK_DATA) {
            local_write_abort(write);
            return rc != 0 ? rc : reply_malformed(conn);
        }
        rc = local_write_append(write, body->data, body->size, &err);
        if (rc != 0) {
            local_write_abort(write);
            return refuse_write(conn, body, rc, &err);
        }
    }
}

static int handle_write(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct store *store = context;
    struct chunk_write_request request;
    if (!message_take(body, &request, sizeof request))
        return reply_malformed(conn);
    struct err err = {0};
    struct local_write *write;
    int rc = check_owners(store, &request, &err);
    if (rc == 0)
        rc = local_write_begin(store, request.id, request.length_max, &write, &err);
    return rc == 0 ? receive_write(write, conn, body) : refuse_write(conn, body, rc, &err);
}

/* ---- reading ---- */

static int sink_frame(void *context, const void *data, size_t size) {
    return reply(context, RPC_CHUNK_DATA, data, size);
}

static int handle_read(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct store *store = context;
    struct chunk_read_request request;
    if (!message_take(body, &request, sizeof request))
        return reply_malformed(conn);
    struct err err = {0};
    int rc = local_read(store, request.id, request.offset, request.length, sink_frame, conn, &err);
    return rc == 0 ? reply(conn, RPC_CHUNK_END, NULL, 0) : reply_error(conn, rc, &err);
}

/* ---- the rest ---- */

static int handle_delete(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct store *store = context;
    size_t count = body->size / sizeof(struct id128);
    if (count == 0 || count > DELETE_IDS_MAX || body->size % sizeof(struct id128) != 0)
        return reply_malformed(conn);
    struct err err = {0};
    int rc =
        local_delete(store, (const struct id128 *)(const void *)body->data, (unsigned)count, &err);
    return reply_result(conn, rc, &err);
}

static int handle_digests(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct store *store = context;
    struct chunk_digests_request request;
    if (!message_take(body, &request, sizeof request) || request.slice_bits > PLACE_SLICE_BITS_MAX)
        return reply_malformed(conn);
    size_t size = sizeof(uint64_t) << request.slice_bits;
    uint64_t *digests = malloc(size);
    if (digests == NULL)
        return reply_error(conn, ERR_NOMEM, NULL);
    index_digests(store->index, request.slice_bits, digests);
    int rc = reply(conn, type, digests, size);
    free(digests);
    return rc;
}

static struct chunk_list_item list_item(const struct index_item *item, uint64_t now_ms) {
    return (struct chunk_list_item){
        .id = item->id,
        .length = item->entry.length,
        .age_ms = now_ms > item->entry.time_ms ? now_ms - item->entry.time_ms : 0,
        .crc32c = item->entry.crc32c,
        .state = item->entry.state};
}

static int handle_list(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct store *store = context;
    struct chunk_list_request request;
    if (!message_take(body, &request, sizeof request) ||
        request.slice_bits > PLACE_SLICE_BITS_MAX || request.slice >> request.slice_bits != 0)
        return reply_malformed(conn);
    struct index_item *items = calloc(LIST_ITEMS_MAX, sizeof *items);
    struct err err = {0};
    unsigned count = 0;
    int rc = items == NULL ? err_set(&err, ERR_NOMEM, "a list of chunks")
                           : index_list(store->index, request.slice_bits, request.slice,
                                        request.after, items, LIST_ITEMS_MAX, &count, &err);
    buf_clear(body);
    uint64_t now_ms = clock_wall_ms();
    for (unsigned i = 0; i < count; i++) {
        struct chunk_list_item item = list_item(&items[i], now_ms);
        buf_append(body, &item, sizeof item);
    }
    free(items);
    if (rc == 0 && body->failed)
        rc = err_set(&err, ERR_NOMEM, "a list of chunks");
    return rc == 0 ? reply(conn, type, body->data, body->size) : reply_error(conn, rc, &err);
}

static int handle_status(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct store_status status;
    store_get_status(context, &status);
    struct store_status_reply message = {.chunks = status.chunks,
                                         .bytes = status.bytes,
                                         .disk_free_bytes = status.disk_free_bytes,
                                         .disk_total_bytes = status.disk_total_bytes,
                                         .missing_chunks = status.missing_chunks,
                                         .repaired_chunks = status.repaired_chunks,
                                         .failed = status.failed};
    return reply(conn, type, &message, sizeof message);
}

void store_serve(struct store *store, struct rpc_server *server) {
    rpc_server_handle(server, RPC_CHUNK_WRITE, handle_write, store);
    rpc_server_handle(server, RPC_CHUNK_READ, handle_read, store);
    rpc_server_handle(server, RPC_CHUNK_DELETE, handle_delete, store);
    rpc_server_handle(server, RPC_CHUNK_DIGESTS, handle_digests, store);
    rpc_server_handle(server, RPC_CHUNK_LIST, handle_list, store);
    rpc_server_handle(server, RPC_STORE_STATUS, handle_status, store);
}
