/* Calling: a pool of idle connections for each peer. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"
#include "os/net.h"
#include "rpc/conn.h"

#define IDLE_MAX 32 /* connections of one peer */
#define IDLE_MS_MAX 60000

struct peer {
    struct list node;
    struct list idle; /* the longest idle first */
    unsigned idle_count;
    uint32_t id;
};

struct rpc_client {
    struct rpc_identity self;
    rpc_resolve *resolve;
    void *context;
    pthread_mutex_t lock; /* guards the peers and their idle connections */
    struct list peers;
};

static struct rpc_conn *conn_close(struct rpc_conn *conn) {
    if (conn != NULL)
        fd_closep(&conn->fd);
    free(conn);
    return NULL;
}

static void close_all(struct list *conns) {
    struct list *node;
    while ((node = list_pop_head(conns)) != NULL)
        conn_close(LIST_ENTRY(node, struct rpc_conn, node_in_pool));
}

struct rpc_client *rpc_client_new(const struct rpc_identity *self, rpc_resolve *resolve,
                                  void *context) {
    struct rpc_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        panic("out of memory for the rpc client");
    client->self = *self;
    client->resolve = resolve;
    client->context = context;
    pthread_mutex_init(&client->lock, NULL);
    list_init(&client->peers);
    return client;
}

struct rpc_client *rpc_client_free(struct rpc_client *client) {
    if (client == NULL)
        return NULL;
    struct list *node;
    while ((node = list_pop_head(&client->peers)) != NULL) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        close_all(&peer->idle);
        free(peer);
    }
    pthread_mutex_destroy(&client->lock);
    free(client);
    return NULL;
}

/* ---- the pool; the lock is held ---- */

static struct peer *peer_find(struct rpc_client *client, uint32_t id) {
    LIST_FOR_EACH(node, &client->peers) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        if (peer->id == id)
            return peer;
    }
    return NULL;
}

static struct peer *peer_get(struct rpc_client *client, uint32_t id) {
    struct peer *peer = peer_find(client, id);
    if (peer != NULL)
        return peer;
    peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->id = id;
    list_init(&peer->idle);
    list_add_tail(&client->peers, &peer->node);
    return peer;
}

static struct rpc_conn *peer_take(struct peer *peer, struct list *from) {
    struct rpc_conn *conn = LIST_ENTRY(from, struct rpc_conn, node_in_pool);
    list_remove(from);
    peer->idle_count--;
    return conn;
}

/* Moves what was idle too long, of any peer, onto the list. */
static void pool_expire(struct rpc_client *client, struct list *expired) {
    uint64_t now_ns = clock_now_ns();
    LIST_FOR_EACH(node, &client->peers) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        while (!list_is_empty(&peer->idle)) {
            struct rpc_conn *oldest = LIST_ENTRY(peer->idle.next, struct rpc_conn, node_in_pool);
            if (now_ns - oldest->released_ns < IDLE_MS_MAX * NS_PER_MS)
                break;
            list_add_tail(expired, &peer_take(peer, peer->idle.next)->node_in_pool);
        }
    }
}

/* ---- opening and releasing ---- */

/* Nothing may be there to read from an idle connection, not even its end. */
static bool conn_is_idle(const struct rpc_conn *conn) {
    char byte;
    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* The youngest idle connection that still lives, or NULL. */
static struct rpc_conn *open_pooled(struct rpc_client *client, uint32_t node_id) {
    for (;;) {
        pthread_mutex_lock(&client->lock);
        struct peer *peer = peer_find(client, node_id);
        struct rpc_conn *conn =
            peer != NULL && !list_is_empty(&peer->idle) ? peer_take(peer, peer->idle.prev) : NULL;
        pthread_mutex_unlock(&client->lock);
        if (conn == NULL)
            return NULL;
        if (conn_is_idle(conn)) {
            conn->pooled = true;
            conn->heard = false;
            return conn;
        }
        conn_close(conn);
    }
}

static int greet(struct rpc_client *client, uint32_t node_id, struct rpc_conn *conn,
                 uint64_t deadline_ns, struct err *err) {
    int rc = rpc_send_hello(conn, &client->self, deadline_ns, err);
    if (rc == 0)
        rc = rpc_receive_hello(conn, &client->self, deadline_ns, err);
    if (rc == 0 && conn->node != node_id)
        rc = err_set(err, ERR_WRONG_CLUSTER, "node %u answered in its place", conn->node);
    return rc;
}

static int open_new(struct rpc_client *client, uint32_t node_id, uint64_t deadline_ns,
                    struct rpc_conn **ret_conn, struct err *err) {
    char address[NET_ADDRESS_SIZE];
    _cleanup_(fd_closep) int fd = -1;
    int rc = client->resolve(client->context, node_id, address, sizeof address);
    if (rc != 0)
        return err_set(err, rc, "node %u is unknown", node_id);
    struct err inner = {0};
    rc = net_connect(address, deadline_ns, &fd, &inner);
    if (rc != 0)
        return err_set(err, rc, "node %u: %s", node_id, err_message(&inner, rc));
    struct rpc_conn *conn = rpc_conn_new(fd);
    if (conn == NULL)
        return err_set(err, ERR_NOMEM, "a connection to node %u", node_id);
    (void)TAKE_FD(fd);
    rc = greet(client, node_id, conn, deadline_ns, &inner);
    if (rc != 0) {
        conn_close(conn);
        return err_set(err, rc, "node %u at %s: %s", node_id, address, err_message(&inner, rc));
    }
    *ret_conn = conn;
    return 0;
}

int rpc_open(struct rpc_client *client, uint32_t node_id, uint64_t deadline_ns,
             struct rpc_conn **ret_conn, struct err *err) {
    struct rpc_conn *conn = open_pooled(client, node_id);
    if (conn == NULL)
        return open_new(client, node_id, deadline_ns, ret_conn, err);
    *ret_conn = conn;
    return 0;
}

void rpc_release(struct rpc_client *client, struct rpc_conn *conn, bool reusable) {
    if (conn == NULL)
        return;
    struct list closing;
    list_init(&closing);
    conn->released_ns = clock_now_ns();
    pthread_mutex_lock(&client->lock);
    pool_expire(client, &closing);
    struct peer *peer = reusable && !conn->broken && !rpc_conn_has_bytes(conn)
                            ? peer_get(client, conn->node)
                            : NULL;
    if (peer != NULL && peer->idle_count < IDLE_MAX) {
        list_add_tail(&peer->idle, &conn->node_in_pool);
        peer->idle_count++;
    } else {
        list_add_tail(&closing, &conn->node_in_pool);
    }
    pthread_mutex_unlock(&client->lock);
    close_all(&closing);
}

/* ---- calls ---- */

static int exchange(struct rpc_conn *conn, uint16_t type, struct span request, uint64_t deadline_ns,
                    struct buf *ret_reply, struct err *err) {
    struct iovec iov = {(void *)(uintptr_t)request.data, request.size};
    uint16_t reply_type;
    int rc = rpc_send(conn, type, &iov, 1, deadline_ns, err);
    return rc != 0 ? rc : rpc_receive(conn, &reply_type, ret_reply, deadline_ns, err);
}

int rpc_call(struct rpc_client *client, uint32_t node_id, uint16_t type, struct span request,
             bool idempotent, uint64_t deadline_ns, struct buf *ret_reply, struct err *err) {
    struct rpc_conn *conn;
    struct err inner = {0};
    int rc = rpc_open(client, node_id, deadline_ns, &conn, err);
    if (rc != 0)
        return rc;
    rc = exchange(conn, type, request, deadline_ns, ret_reply, &inner);
    if (rc == ERR_CLOSED && conn->broken && conn->pooled && !conn->heard && idempotent) {
        rpc_release(client, conn, false);
        rc = open_new(client, node_id, deadline_ns, &conn, err);
        if (rc != 0)
            return rc;
        rc = exchange(conn, type, request, deadline_ns, ret_reply, &inner);
    }
    rpc_release(client, conn, true /* unless it is broken */);
    return rc == 0 ? 0 : err_set(err, rc, "node %u: %s", node_id, err_message(&inner, rc));
}
