/* The waiter, the pool of threads, and the connections that go back and forth between them.
 *
 *      accept -> PARKED --readable--> QUEUED --thread--> ACTIVE --serve()--> PARKED or closed
 *
 * The waiter thread alone accepts, takes events and closes idle connections; EPOLLONESHOT means
 * that a connection has no event under way unless it is parked. Whoever moves a connection holds
 * the lock; no callback runs under it. */
#include "os/server.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "os/clock.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES ((size_t)2 << 20)
#else
#define STACK_BYTES ((size_t)256 << 10)
#endif
#define THREAD_IDLE_MS 5000
#define SWEEP_MS 500
#define GRACE_MS 3000
#define LINGER_STEP_MS 10
#define EVENTS_MAX 64
#define ACCEPTS_MAX 64 /* in one go, so that events get their turn */
#define PEER_SIZE 64

struct connection {
    struct server_conn conn;
    struct list node; /* in parked, queue or active */
    uint64_t parked_ns;
    char peer[PEER_SIZE];
};

struct server {
    struct server_protocol protocol;
    struct server_options options;
    char name[12];
    int listen_fd;
    int epoll_fd;
    int wake_fd;
    pthread_t waiter;
    atomic_bool stopping;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work;  /* the queue has grown, or the server stops */
    pthread_cond_t ended; /* the last thread has gone */
    struct list parked;   /* the longest parked first */
    struct list queue;
    struct list active;
    unsigned connections;
    atomic_uint queued; /* also read without the lock */
    unsigned threads;
    unsigned threads_idle;
};

/* ---- connections ---- */

static void connection_close(struct server *server, struct connection *connection) {
    if (server->protocol.closed != NULL)
        server->protocol.closed(server->protocol.context, &connection->conn);
    pthread_mutex_lock(&server->lock);
    list_remove(
        &connection
             ->node); /* with the descriptor still open: server_stop() may be shutting it down */
    server->connections--;
    pthread_mutex_unlock(&server->lock);
    close(connection->conn.fd);
    free(connection);
}

/* Hands it to the waiter; false when the server is stopping or epoll refuses. */
static bool connection_park(struct server *server, struct connection *connection, int operation) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                                .data.ptr = connection};
    pthread_mutex_lock(&server->lock);
    list_remove(&connection->node);
    connection->parked_ns = clock_now_ns();
    bool parked = !atomic_load(&server->stopping) &&
                  epoll_ctl(server->epoll_fd, operation, connection->conn.fd, &event) == 0;
    list_add_tail(parked ? &server->parked : &server->active, &connection->node);
    pthread_mutex_unlock(&server->lock);
    return parked;
}

static void print_peer(const struct sockaddr_storage *address, socklen_t size,
                       char text[PEER_SIZE]) {
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo((const struct sockaddr *)address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(text, PEER_SIZE, "%s:%s", host, port);
}

static struct connection *connection_new(struct server *server, int fd,
                                         const struct sockaddr_storage *address, socklen_t size) {
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    print_peer(address, size, connection->peer);
    list_init(&connection->node);
    connection->conn = (struct server_conn){.fd = fd, .peer = connection->peer, .server = server};
    pthread_mutex_lock(&server->lock);
    server->connections++;
    pthread_mutex_unlock(&server->lock);
    return connection;
}

static bool server_is_full(struct server *server) {
    pthread_mutex_lock(&server->lock);
    bool full = server->connections >= server->options.connections_max;
    pthread_mutex_unlock(&server->lock);
    return full;
}

static void connection_open(struct server *server, int fd, const struct sockaddr_storage *address,
                            socklen_t size) {
    struct connection *connection =
        server_is_full(server) ? NULL : connection_new(server, fd, address, size);
    if (connection == NULL) {
        close(fd);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (server->protocol.opened != NULL)
        server->protocol.opened(server->protocol.context, &connection->conn);
    if (!connection_park(server, connection, EPOLL_CTL_ADD))
        connection_close(server, connection);
}

/* ---- the pool ---- */

/* The next connection to serve, or NULL when the thread is to end. Called and left with the lock
 * held. */
static struct connection *pool_next(struct server *server) {
    uint64_t until_ns = clock_deadline_ms(THREAD_IDLE_MS);
    bool in_time = true;
    while (list_is_empty(&server->queue)) {
        if (atomic_load(&server->stopping) || !in_time)
            return NULL;
        server->threads_idle++;
        in_time = clock_cond_wait(&server->work, &server->lock, until_ns);
        server->threads_idle--;
    }
    struct connection *connection =
        LIST_ENTRY(list_pop_head(&server->queue), struct connection, node);
    server->queued--;
    list_add_tail(&server->active, &connection->node);
    return connection;
}

static void pool_serve(struct server *server, struct connection *connection) {
    enum server_verdict verdict = SERVER_CLOSE;
    if (!atomic_load(&server->stopping))
        verdict = server->protocol.serve(server->protocol.context, &connection->conn);
    if (verdict == SERVER_CLOSE || !connection_park(server, connection, EPOLL_CTL_MOD))
        connection_close(server, connection);
}

static void *pool_run(void *argument) {
    struct server *server = argument;
    pthread_mutex_lock(&server->lock);
    for (;;) {
        struct connection *connection = pool_next(server);
        if (connection == NULL)
            break;
        pthread_mutex_unlock(&server->lock);
        pool_serve(server, connection);
        pthread_mutex_lock(&server->lock);
    }
    if (--server->threads == 0)
        pthread_cond_signal(&server->ended);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static int thread_start(struct server *server, void *(*run)(void *), bool detached,
                        pthread_t *ret_thread) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (detached)
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failure = pthread_create(ret_thread, &attributes, run, server);
    pthread_attr_destroy(&attributes);
    if (failure == 0)
        pthread_setname_np(*ret_thread, server->name);
    return failure;
}

/* Sees that the queue is worked on. With the lock held. Without a new thread the old ones get there
 * in order; when there is none at all the next sweep tries again. */
static void pool_wake(struct server *server) {
    if (server->queued == 0)
        return;
    pthread_cond_signal(&server->work);
    pthread_t thread;
    if (server->queued > server->threads_idle && server->threads < server->options.threads_max) {
        server->threads++;
        if (thread_start(server, pool_run, true /* detached */, &thread) != 0)
            server->threads--;
    }
}

/* ---- the waiter ---- */

static void waiter_accept(struct server *server) {
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int fd = accept4(server->listen_fd, (struct sockaddr *)&address, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            connection_open(server, fd, &address, size);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            return clock_sleep_until(
                clock_deadline_ms(10)); /* the backlog stays readable: do not spin on it */
        else if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void waiter_queue(struct server *server, struct connection *connection) {
    pthread_mutex_lock(&server->lock);
    list_remove(&connection->node);
    list_add_tail(&server->queue, &connection->node);
    server->queued++;
    pool_wake(server);
    pthread_mutex_unlock(&server->lock);
}

/* Takes the first parked connection if it is older than that, onto the active list. */
static struct connection *waiter_take_parked(struct server *server, uint64_t before_ns) {
    struct connection *connection = NULL;
    pthread_mutex_lock(&server->lock);
    if (!list_is_empty(&server->parked)) {
        connection = LIST_ENTRY(server->parked.next, struct connection, node);
        if (connection->parked_ns < before_ns) {
            list_remove(&connection->node);
            list_add_tail(&server->active, &connection->node);
        } else {
            connection = NULL;
        }
    }
    pthread_mutex_unlock(&server->lock);
    return connection;
}

static void waiter_close_parked(struct server *server, uint64_t before_ns) {
    struct connection *connection;
    while ((connection = waiter_take_parked(server, before_ns)) != NULL)
        connection_close(server, connection);
}

static void waiter_sweep(struct server *server) {
    uint64_t now_ns = clock_now_ns();
    uint64_t idle_ns = server->options.idle_ms_max * NS_PER_MS;
    waiter_close_parked(server, now_ns > idle_ns ? now_ns - idle_ns : 0);
    pthread_mutex_lock(&server->lock);
    pool_wake(server);
    pthread_mutex_unlock(&server->lock);
}

static void *waiter_run(void *argument) {
    struct server *server = argument;
    struct epoll_event events[EVENTS_MAX];
    uint64_t sweep_ns = clock_deadline_ms(SWEEP_MS);
    while (!atomic_load(&server->stopping)) {
        int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, SWEEP_MS);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &server->listen_fd)
                waiter_accept(server);
            else if (events[i].data.ptr != &server->wake_fd)
                waiter_queue(server, events[i].data.ptr);
        }
        if (clock_now_ns() >=
            sweep_ns) { /* after the events: they name connections that must still be there */
            waiter_sweep(server);
            sweep_ns = clock_deadline_ms(SWEEP_MS);
        }
    }
    return NULL;
}

/* ---- start and stop ---- */

static void server_init(struct server *server, int listen_fd,
                        const struct server_protocol *protocol,
                        const struct server_options *options) {
    server->protocol = *protocol;
    server->options = *options;
    if (options->threads_max == 0)
        server->options.threads_max = 128;
    if (options->connections_max == 0)
        server->options.connections_max = 4096;
    if (options->idle_ms_max == 0)
        server->options.idle_ms_max = 60000;
    snprintf(server->name, sizeof server->name, "%s",
             options->name != NULL ? options->name : "server");
    server->listen_fd = listen_fd;
    server->epoll_fd = server->wake_fd = -1;
    list_init(&server->parked);
    list_init(&server->queue);
    list_init(&server->active);
    pthread_mutex_init(&server->lock, NULL);
    clock_cond_init(&server->work);
    clock_cond_init(&server->ended);
}

static struct server *server_free(struct server *server) {
    fd_closep(&server->listen_fd);
    fd_closep(&server->epoll_fd);
    fd_closep(&server->wake_fd);
    pthread_cond_destroy(&server->ended);
    pthread_cond_destroy(&server->work);
    pthread_mutex_destroy(&server->lock);
    free(server);
    return NULL;
}

static int server_open(struct server *server, struct err *err) {
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->wake_fd < 0)
        return err_errno(err, errno, "epoll");
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = &server->listen_fd};
    struct epoll_event waking = {.events = EPOLLIN, .data.ptr = &server->wake_fd};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &listening) != 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->wake_fd, &waking) != 0)
        return err_errno(err, errno, "epoll_ctl");
    int failure = thread_start(server, waiter_run, false /* joined */, &server->waiter);
    return failure == 0 ? 0 : err_errno(err, failure, "cannot start a thread");
}

int server_start(int listen_fd, const struct server_protocol *protocol,
                 const struct server_options *options, struct server **ret_server,
                 struct err *err) {
    ASSERT(protocol->serve != NULL);
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        close(listen_fd);
        return err_set(err, ERR_NOMEM, "server");
    }
    server_init(server, listen_fd, protocol, options);
    int rc = server_open(server, err);
    if (rc != 0) {
        server_free(server);
        return rc;
    }
    *ret_server = server;
    return 0;
}

/* Ends what the active connections do, and waits until no thread is left or the deadline. */
static void end_active(struct server *server, int how, uint64_t deadline_ns) {
    pthread_mutex_lock(&server->lock);
    LIST_FOR_EACH(node, &server->active) {
        shutdown(LIST_ENTRY(node, struct connection, node)->conn.fd, how);
    }
    while (server->threads > 0 && clock_cond_wait(&server->ended, &server->lock, deadline_ns))
        ;
    pthread_mutex_unlock(&server->lock);
}

struct server *server_stop(struct server *server) {
    if (server == NULL)
        return NULL;
    pthread_mutex_lock(&server->lock);
    atomic_store(&server->stopping, true);
    pthread_cond_broadcast(&server->work);
    pthread_mutex_unlock(&server->lock);
    ssize_t woken = write(server->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
    ASSERT(woken == sizeof(uint64_t));
    pthread_join(server->waiter, NULL);
    waiter_close_parked(server, UINT64_MAX);

    end_active(server, SHUT_RD, clock_deadline_ms(GRACE_MS));
    end_active(server, SHUT_RDWR, DEADLINE_NONE);

    while (!list_is_empty(&server->queue)) /* there never was a thread for them */
        connection_close(server, LIST_ENTRY(server->queue.next, struct connection, node));
    ASSERT(server->connections == 0);
    return server_free(server);
}

bool server_is_stopping(const struct server *server) {
    return atomic_load(&server->stopping);
}

bool server_linger(struct server_conn *conn, unsigned ms) {
    struct pollfd poll_fd = {.fd = conn->fd, .events = POLLIN};
    for (unsigned waited = 0;; waited += LINGER_STEP_MS) {
        bool last = waited >= ms || atomic_load(&conn->server->queued) > 0 ||
                    server_is_stopping(conn->server);
        int ready = poll(&poll_fd, 1, last ? 0 : LINGER_STEP_MS);
        if (ready != 0 || last)
            return ready > 0;
    }
}
