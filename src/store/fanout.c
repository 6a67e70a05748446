/* Opening the holders of a chunk, sending to them, and waiting for a majority. */
#include "store/fanout.h"

#include <errno.h>
#include <poll.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/random.h"

#define DRAWS_MAX 256       /* of ids, to find a slice whose holders are up */
#define STRAGGLER_MS_MAX 20 /* waited for the rest once a majority is durable */

/* Of holders that are still in it, or done. */
static bool has_majority(const struct fanout *fanout) {
    unsigned count = 0;
    for (unsigned i = 0; i < fanout->holder_count; i++) {
        const struct holder *holder = &fanout->holders[i];
        count += holder->conn != NULL || holder->local != NULL || holder->durable;
    }
    return count >= fanout->needed && fanout->failure.code != ERR_STALE;
}

static unsigned count_durable(const struct fanout *fanout) {
    unsigned count = 0;
    for (unsigned i = 0; i < fanout->holder_count; i++)
        count += fanout->holders[i].durable;
    return count;
}

static void holder_close(struct fanout *fanout, struct holder *holder, bool reusable) {
    rpc_release(fanout->client->rpc, holder->conn, reusable);
    holder->conn = NULL;
    holder->local = local_write_abort(holder->local);
}

void fanout_close(struct fanout *fanout) {
    for (unsigned i = 0; i < fanout->holder_count; i++)
        holder_close(fanout, &fanout->holders[i], false);
    fanout->holder_count = 0;
}

static void holder_failed(struct fanout *fanout, struct holder *holder, int rc,
                          const struct err *why) {
    if (fanout->failure.code != ERR_STALE)
        err_set(&fanout->failure, rc, "node %u: %s", holder->node, err_message(why, rc));
    if (rc == ERR_REFUSED || rc == ERR_TIMEOUT)
        client_avoid_node(fanout->client, holder->node);
    holder_close(fanout, holder, false);
}

static int majority_lost(const struct fanout *fanout, struct err *err) {
    int rc = fanout->failure.code != 0 ? fanout->failure.code : ERR_TIMEOUT;
    return err_set(err, rc, "a majority of the chunk's holders is lost: %s",
                   err_message(&fanout->failure, rc));
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
static int choose_id(struct fanout *fanout, const struct place_map *map, struct candidates *ret,
                     struct err *err) {
    for (unsigned draw = 0; draw < 2 * DRAWS_MAX; draw++) {
        fanout->id = random_id128();
        if (candidates_find(fanout->client, map, fanout->id, draw >= DRAWS_MAX, ret))
            return 0;
    }
    return err_set(err, ERR_BUSY, "no slice has a majority of its holders up");
}

static int open_remote(struct fanout *fanout, struct holder *holder,
                       const struct chunk_write_request *request, uint64_t deadline_ns,
                       struct err *err) {
    int rc = rpc_open(fanout->client->rpc, holder->node,
                      deadline_within(deadline_ns, PEER_OPEN_MS_MAX), &holder->conn, err);
    struct iovec iov = {(void *)(uintptr_t)request, sizeof *request};
    if (rc == 0)
        rc = rpc_send(holder->conn, RPC_CHUNK_WRITE, &iov, 1,
                      deadline_within(deadline_ns, PEER_STALL_MS_MAX), err);
    return rc;
}

static void open_holder(struct fanout *fanout, uint32_t node,
                        const struct chunk_write_request *request, uint64_t deadline_ns) {
    struct store_client *client = fanout->client;
    struct holder *holder = &fanout->holders[fanout->holder_count++];
    *holder = (struct holder){.node = node};
    struct err why = {0};
    int rc = node == client->self && client->local != NULL
                 ? local_write_begin(client->local, fanout->id, request->length_max, &holder->local,
                                     &why)
                 : open_remote(fanout, holder, request, deadline_ns, &why);
    if (rc != 0)
        holder_failed(fanout, holder, rc, &why);
}

int fanout_open(struct fanout *fanout, struct store_client *client, uint64_t length_max,
                uint64_t deadline_ns, struct err *err) {
    *fanout = (struct fanout){.client = client};
    struct place_map *map = meta_map(fanout->client->meta);
    struct candidates candidates;
    int rc = choose_id(fanout, map, &candidates, err);
    fanout->epoch = map->epoch;
    place_map_unref(map);
    if (rc != 0)
        return rc;
    struct chunk_write_request request = {
        .id = fanout->id, .epoch = fanout->epoch, .length_max = length_max};
    for (unsigned i = 0; i < candidates.owner_count; i++)
        request.owners[i] = (uint16_t)candidates.owners[i];
    fanout->needed = candidates.owner_count / 2 + 1;
    for (unsigned i = 0; i < candidates.up_count; i++)
        open_holder(fanout, candidates.up[i], &request, deadline_ns);
    return has_majority(fanout) ? 0 : majority_lost(fanout, err);
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

static void send_remote(struct fanout *fanout, struct holder *holder, uint16_t type,
                        const void *data, size_t size, uint64_t deadline_ns) {
    struct err why = {0};
    struct iovec iov = {(void *)(uintptr_t)data, size};
    int rc = check_silent(holder, &why);
    if (rc == 0)
        rc = rpc_send(holder->conn, type, &iov, 1, deadline_within(deadline_ns, PEER_STALL_MS_MAX),
                      &why);
    if (rc != 0)
        holder_failed(fanout, holder, rc, &why);
}

/* The other nodes first: the bytes travel while this node writes its own. */
static void send_frame(struct fanout *fanout, const void *data, size_t size, uint64_t deadline_ns) {
    for (unsigned i = 0; i < fanout->holder_count; i++) {
        if (fanout->holders[i].conn != NULL)
            send_remote(fanout, &fanout->holders[i], RPC_CHUNK_DATA, data, size, deadline_ns);
    }
    for (unsigned i = 0; i < fanout->holder_count; i++) {
        struct holder *holder = &fanout->holders[i];
        struct err why = {0};
        int rc = holder->local != NULL ? local_write_append(holder->local, data, size, &why) : 0;
        if (rc != 0)
            holder_failed(fanout, holder, rc, &why);
    }
}

int fanout_send(struct fanout *fanout, const char *data, size_t size, uint64_t deadline_ns,
                struct err *err) {
    while (size > 0) {
        size_t step = size < CHUNK_FRAME_BYTES ? size : CHUNK_FRAME_BYTES;
        send_frame(fanout, data, step, deadline_ns);
        if (!has_majority(fanout))
            return majority_lost(fanout, err);
        data += step;
        size -= step;
    }
    return 0;
}

/* ---- ending ---- */

static void end_local(struct fanout *fanout, struct holder *holder, const struct chunk_end *end) {
    struct err why = {0};
    int rc = local_write_end(TAKE_PTR(holder->local), end->length, end->crc32c, &why);
    holder->durable = rc == 0;
    if (rc != 0)
        holder_failed(fanout, holder, rc, &why);
}

static void receive_done(struct fanout *fanout, struct holder *holder, uint64_t deadline_ns) {
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct err why = {0};
    uint16_t type;
    int rc = rpc_receive(holder->conn, &type, &body,
                         deadline_within(deadline_ns, PEER_STALL_MS_MAX), &why);
    if (rc == 0 && type != RPC_CHUNK_DONE)
        rc = err_set(&why, ERR_PROTOCOL, "a malformed answer to a write");
    if (rc != 0) {
        holder_failed(fanout, holder, rc, &why);
        return;
    }
    holder->durable = true;
    holder_close(fanout, holder, true);
}

/* Takes the answers that are there by the deadline; false when it has passed or nobody is left to
 * wait for. */
static bool collect_some(struct fanout *fanout, uint64_t deadline_ns) {
    struct pollfd pollers[PLACE_REPLICAS_MAX];
    struct holder *waiting[PLACE_REPLICAS_MAX];
    nfds_t count = 0;
    for (unsigned i = 0; i < fanout->holder_count; i++) {
        if (fanout->holders[i].conn == NULL)
            continue;
        waiting[count] = &fanout->holders[i];
        pollers[count++] =
            (struct pollfd){.fd = rpc_conn_fd(fanout->holders[i].conn), .events = POLLIN};
    }
    int ready = count > 0 ? poll(pollers, count, clock_poll_ms(deadline_ns)) : 0;
    if (ready <= 0)
        return ready < 0 && errno == EINTR;
    for (nfds_t i = 0; i < count; i++) {
        if (pollers[i].revents != 0)
            receive_done(fanout, waiting[i], deadline_ns);
    }
    return true;
}

int fanout_end(struct fanout *fanout, uint64_t length, uint32_t crc32c, uint64_t deadline_ns,
               struct err *err) {
    struct chunk_end end = {.length = length, .crc32c = crc32c};
    for (unsigned i = 0; i < fanout->holder_count; i++) {
        if (fanout->holders[i].conn != NULL)
            send_remote(fanout, &fanout->holders[i], RPC_CHUNK_END, &end, sizeof end, deadline_ns);
    }
    for (unsigned i = 0; i < fanout->holder_count; i++) {
        if (fanout->holders[i].local != NULL)
            end_local(fanout, &fanout->holders[i], &end);
    }
    while (count_durable(fanout) < fanout->needed && has_majority(fanout) &&
           collect_some(fanout, deadline_ns)) {
    }
    if (count_durable(fanout) < fanout->needed)
        return majority_lost(fanout, err);
    uint64_t straggler_ns = deadline_within(deadline_ns, STRAGGLER_MS_MAX);
    while (collect_some(fanout, straggler_ns)) {
    }
    fanout_close(fanout);
    return 0;
}
