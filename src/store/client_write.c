/* Writing a chunk to all its holders at once. A holder that fails is dropped as long as a majority
 * remains.
 *
 * The first KEPT_BYTES_MAX bytes are kept, and nothing is sent, until there are more or the chunk
 * ends: so a small chunk is sent with its length known, and if a majority is lost it is sent again
 * under another id, without a word to the caller. */
#include <poll.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/crc.h"
#include "os/random.h"
#include "store/client_internal.h"

#define KEPT_BYTES_MAX (((size_t)1 << 20) - 1) /* with its NUL a buffer of 1 MiB */
#define TRIES_MAX 8
#define TRY_AGAIN_MS 100    /* waited when too many holders are down */
#define DRAWS_MAX 256       /* of ids, to find a slice whose holders are up */
#define STRAGGLER_MS_MAX 20 /* waited for the rest once a majority is durable */

struct holder {
    uint32_t node;
    struct rpc_conn *conn;     /* another node's, or NULL */
    struct local_write *local; /* this node's, or NULL */
    bool durable;
};

struct store_write {
    struct store_client *client;
    uint64_t length_max;
    struct id128 id;
    uint64_t length;
    uint32_t crc32c;
    char last_byte;
    struct buf kept;
    bool open; /* the holders are being sent to */
    struct holder holders[PLACE_REPLICAS_MAX];
    unsigned holder_count;
    unsigned needed; /* of them: a majority of the owners */
    uint64_t epoch;
    struct err failure; /* of the holder that failed last */
};

static bool holder_is_used(const struct holder *holder) {
    return holder->conn != NULL || holder->local != NULL;
}

/* Still in it, or done. */
static unsigned count_good(const struct store_write *write) {
    unsigned count = 0;
    for (unsigned i = 0; i < write->holder_count; i++)
        count += holder_is_used(&write->holders[i]) || write->holders[i].durable;
    return count;
}

static unsigned count_durable(const struct store_write *write) {
    unsigned count = 0;
    for (unsigned i = 0; i < write->holder_count; i++)
        count += write->holders[i].durable;
    return count;
}

static void holder_close(struct store_write *write, struct holder *holder, bool reusable) {
    rpc_release(write->client->rpc, holder->conn, reusable);
    holder->conn = NULL;
    holder->local = local_write_abort(holder->local);
}

static void close_holders(struct store_write *write) {
    for (unsigned i = 0; i < write->holder_count; i++)
        holder_close(write, &write->holders[i], false);
    write->holder_count = 0;
    write->open = false;
}

static void holder_failed(struct store_write *write, struct holder *holder, int rc,
                          const struct err *why) {
    err_set(&write->failure, rc, "node %u: %s", holder->node, err_message(why, rc));
    if (rc == ERR_REFUSED || rc == ERR_TIMEOUT)
        client_avoid_node(write->client, holder->node);
    holder_close(write, holder, false);
}

static int majority_lost(const struct store_write *write, struct err *err) {
    int rc = write->failure.code != 0 ? write->failure.code : ERR_TIMEOUT;
    return err_set(err, rc, "a majority of the chunk's holders is lost: %s",
                   err_message(&write->failure, rc));
}

/* ---- opening ---- */

/* The owners of a slice that can be written to now. */
struct candidates {
    uint32_t owners[PLACE_REPLICAS_MAX];
    unsigned owner_count;
    uint32_t up[PLACE_REPLICAS_MAX];
    unsigned up_count;
};

static bool candidates_find(struct store_client *client, const struct place_map *map,
                            struct id128 id, bool all_up, struct candidates *ret) {
    ret->owner_count = place_owners(map, place_slice_of(map, id), ret->owners);
    ret->up_count = 0;
    for (unsigned i = 0; i < ret->owner_count; i++) {
        const struct place_node *node = place_node(map, ret->owners[i]);
        if (client_node_is_up(client, map, ret->owners[i]) ||
            (all_up && node != NULL && !node->down))
            ret->up[ret->up_count++] = ret->owners[i];
    }
    return ret->owner_count > 0 && ret->up_count >= ret->owner_count / 2 + 1;
}

/* Draws an id on a slice most of whose owners are up. When nodes that failed just now leave no such
 * slice, they are tried. */
static int choose_id(struct store_write *write, const struct place_map *map, struct candidates *ret,
                     struct err *err) {
    for (unsigned draw = 0; draw < 2 * DRAWS_MAX; draw++) {
        write->id = random_id128();
        if (candidates_find(write->client, map, write->id, draw >= DRAWS_MAX, ret))
            return 0;
    }
    return err_set(err, ERR_BUSY, "no slice has a majority of its holders up");
}

static int open_remote(struct store_write *write, struct holder *holder,
                       const struct chunk_write_request *request, uint64_t deadline_ns,
                       struct err *err) {
    int rc = rpc_open(write->client->rpc, holder->node,
                      deadline_within(deadline_ns, PEER_OPEN_MS_MAX), &holder->conn, err);
    struct iovec iov = {(void *)(uintptr_t)request, sizeof *request};
    if (rc == 0)
        rc = rpc_send(holder->conn, RPC_CHUNK_WRITE, &iov, 1,
                      deadline_within(deadline_ns, PEER_STALL_MS_MAX), err);
    return rc;
}

static void open_holder(struct store_write *write, uint32_t node,
                        const struct chunk_write_request *request, uint64_t deadline_ns) {
    struct store_client *client = write->client;
    struct holder *holder = &write->holders[write->holder_count++];
    *holder = (struct holder){.node = node};
    struct err why = {0};
    int rc =
        node == client->self && client->local != NULL
            ? local_write_begin(client->local, write->id, request->length_max, &holder->local, &why)
            : open_remote(write, holder, request, deadline_ns, &why);
    if (rc != 0)
        holder_failed(write, holder, rc, &why);
}

/* All owners that are up; fails when they are not a majority. */
static int open_holders(struct store_write *write, uint64_t length_max, uint64_t deadline_ns,
                        struct err *err) {
    struct place_map *map = meta_map(write->client->meta);
    struct candidates candidates;
    int rc = choose_id(write, map, &candidates, err);
    write->epoch = map->epoch;
    place_map_unref(map);
    if (rc != 0)
        return rc;
    struct chunk_write_request request = {
        .id = write->id, .epoch = write->epoch, .length_max = length_max};
    for (unsigned i = 0; i < candidates.owner_count; i++)
        request.owners[i] = (uint16_t)candidates.owners[i];
    write->open = true;
    write->needed = candidates.owner_count / 2 + 1;
    for (unsigned i = 0; i < candidates.up_count; i++)
        open_holder(write, candidates.up[i], &request, deadline_ns);
    return count_good(write) < write->needed ? majority_lost(write, err) : 0;
}

/* ---- sending ---- */

/* A holder that speaks before the end has an error to tell. */
static int check_silent(const struct holder *holder, struct err *err) {
    struct pollfd poller = {.fd = rpc_conn_fd(holder->conn), .events = POLLIN};
    if (poll(&poller, 1, 0) <= 0)
        return 0;
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    uint16_t type;
    int rc = rpc_receive(holder->conn, &type, &body, clock_deadline_ms(PEER_STALL_MS_MAX), err);
    return rc != 0 ? rc : err_set(err, ERR_PROTOCOL, "an answer before the chunk's end");
}

static void send_remote(struct store_write *write, struct holder *holder, uint16_t type,
                        const void *data, size_t size, uint64_t deadline_ns) {
    struct err why = {0};
    struct iovec iov = {(void *)(uintptr_t)data, size};
    int rc = check_silent(holder, &why);
    if (rc == 0)
        rc = rpc_send(holder->conn, type, &iov, 1, deadline_within(deadline_ns, PEER_STALL_MS_MAX),
                      &why);
    if (rc != 0)
        holder_failed(write, holder, rc, &why);
}

/* The other nodes first: the bytes travel while this node writes its own. */
static void send_frame(struct store_write *write, const void *data, size_t size,
                       uint64_t deadline_ns) {
    for (unsigned i = 0; i < write->holder_count; i++) {
        if (write->holders[i].conn != NULL)
            send_remote(write, &write->holders[i], RPC_CHUNK_DATA, data, size, deadline_ns);
    }
    for (unsigned i = 0; i < write->holder_count; i++) {
        struct holder *holder = &write->holders[i];
        struct err why = {0};
        int rc = holder->local != NULL ? local_write_append(holder->local, data, size, &why) : 0;
        if (rc != 0)
            holder_failed(write, holder, rc, &why);
    }
}

static int send_data(struct store_write *write, const char *data, size_t size, uint64_t deadline_ns,
                     struct err *err) {
    while (size > 0) {
        size_t step = size < CHUNK_FRAME_BYTES ? size : CHUNK_FRAME_BYTES;
        send_frame(write, data, step, deadline_ns);
        if (count_good(write) < write->needed)
            return majority_lost(write, err);
        data += step;
        size -= step;
    }
    return 0;
}

/* ---- ending ---- */

static void end_local(struct store_write *write, struct holder *holder) {
    struct err why = {0};
    int rc = local_write_end(TAKE_PTR(holder->local), write->length, write->crc32c, &why);
    holder->durable = rc == 0;
    if (rc != 0)
        holder_failed(write, holder, rc, &why);
}

static void receive_done(struct store_write *write, struct holder *holder, uint64_t deadline_ns) {
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct err why = {0};
    uint16_t type;
    int rc = rpc_receive(holder->conn, &type, &body,
                         deadline_within(deadline_ns, PEER_STALL_MS_MAX), &why);
    if (rc == 0 && type != RPC_CHUNK_DONE)
        rc = err_set(&why, ERR_PROTOCOL, "a malformed answer to a write");
    if (rc != 0) {
        holder_failed(write, holder, rc, &why);
        return;
    }
    holder->durable = true;
    holder_close(write, holder, true);
}

/* Takes the answers that are there by the deadline; false when it has passed or nobody is left to
 * wait for. */
static bool collect_some(struct store_write *write, uint64_t deadline_ns) {
    struct pollfd pollers[PLACE_REPLICAS_MAX];
    struct holder *waiting[PLACE_REPLICAS_MAX];
    nfds_t count = 0;
    for (unsigned i = 0; i < write->holder_count; i++) {
        if (write->holders[i].conn == NULL)
            continue;
        waiting[count] = &write->holders[i];
        pollers[count++] =
            (struct pollfd){.fd = rpc_conn_fd(write->holders[i].conn), .events = POLLIN};
    }
    if (count == 0 || poll(pollers, count, clock_poll_ms(deadline_ns)) <= 0)
        return false;
    for (nfds_t i = 0; i < count; i++) {
        if (pollers[i].revents != 0)
            receive_done(write, waiting[i], deadline_ns);
    }
    return true;
}

/* All holders are told; returns once a majority is durable. The rest get a moment; they complete by
 * themselves. */
static int end_holders(struct store_write *write, uint64_t deadline_ns, struct err *err) {
    struct chunk_end end = {.length = write->length, .crc32c = write->crc32c};
    for (unsigned i = 0; i < write->holder_count; i++) {
        if (write->holders[i].conn != NULL)
            send_remote(write, &write->holders[i], RPC_CHUNK_END, &end, sizeof end, deadline_ns);
    }
    for (unsigned i = 0; i < write->holder_count; i++) {
        if (write->holders[i].local != NULL)
            end_local(write, &write->holders[i]);
    }
    while (count_durable(write) < write->needed && count_good(write) >= write->needed) {
        if (!collect_some(write, deadline_ns))
            break;
    }
    if (count_durable(write) < write->needed)
        return majority_lost(write, err);
    uint64_t straggler_ns = deadline_within(deadline_ns, STRAGGLER_MS_MAX);
    while (collect_some(write, straggler_ns)) {
    }
    close_holders(write);
    return 0;
}

/* ---- the whole, again under another id while the bytes are kept ---- */

static int send_kept(struct store_write *write, uint64_t length_max, bool end, uint64_t deadline_ns,
                     struct err *err) {
    int rc = open_holders(write, length_max, deadline_ns, err);
    if (rc == 0)
        rc = send_data(write, write->kept.data, write->kept.size, deadline_ns, err);
    if (rc == 0 && end)
        rc = end_holders(write, deadline_ns, err);
    if (rc != 0)
        close_holders(write);
    return rc;
}

static int try_kept(struct store_write *write, uint64_t length_max, bool end, uint64_t deadline_ns,
                    struct err *err) {
    struct err why = {0};
    int rc = 0;
    for (unsigned try = 0; try < TRIES_MAX; try++) {
        write->failure = (struct err){0};
        rc = send_kept(write, length_max, end, deadline_ns, &why);
        if (rc == 0 || rc == ERR_LIMIT || clock_now_ns() >= deadline_ns)
            break;
        if (rc == ERR_BUSY)
            clock_sleep_until(deadline_within(deadline_ns, TRY_AGAIN_MS));
        if (rc == ERR_STALE)
            place_map_unref(meta_map_refresh(write->client->meta, write->epoch, deadline_ns));
    }
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_message(&why, rc));
}

static struct store_write *write_free(struct store_write *write) {
    close_holders(write);
    buf_fini(&write->kept);
    free(write);
    return NULL;
}

int store_write_begin(struct store_client *client, uint64_t length_max, uint64_t deadline_ns,
                      struct store_write **ret_write, struct err *err) {
    if (length_max > CHUNK_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a chunk has at most %llu bytes",
                       (unsigned long long)CHUNK_BYTES_MAX);
    struct store_write *write = calloc(1, sizeof *write);
    if (write == NULL)
        return err_set(err, ERR_NOMEM, "chunk write");
    write->client = client;
    write->length_max = length_max;
    write->kept.limit = KEPT_BYTES_MAX;
    *ret_write = write;
    return 0;
}

int store_write_append(struct store_write *write, const void *data, size_t size,
                       uint64_t deadline_ns, struct err *err) {
    if (size > write->length_max - write->length)
        return err_set(err, ERR_LIMIT, "more than the %llu bytes that were announced",
                       (unsigned long long)write->length_max);
    if (size == 0)
        return 0;
    if (!write->open && write->length + size > KEPT_BYTES_MAX) {
        int rc = try_kept(write, write->length_max, false, deadline_ns, err);
        if (rc != 0)
            return rc;
        buf_fini(&write->kept);
    }
    write->length += size;
    write->crc32c = crc32c_update(write->crc32c, data, size);
    write->last_byte = ((const char *)data)[size - 1];
    if (write->open)
        return send_data(write, data, size, deadline_ns, err);
    buf_append(&write->kept, data, size);
    return write->kept.failed ? err_set(err, ERR_NOMEM, "the start of a chunk") : 0;
}

int store_write_end(struct store_write *write, uint64_t deadline_ns, struct chunk_ref *ret_chunk,
                    struct err *err) {
    int rc = write->open ? end_holders(write, deadline_ns, err)
                         : try_kept(write, write->length, true, deadline_ns, err);
    if (rc == 0)
        *ret_chunk = (struct chunk_ref){.id = write->id,
                                        .length = write->length,
                                        .crc32c = write->crc32c,
                                        .ends_line = write->last_byte == '\n'};
    write_free(write);
    return rc;
}

struct store_write *store_write_abort(struct store_write *write) {
    return write != NULL ? write_free(write) : NULL;
}
