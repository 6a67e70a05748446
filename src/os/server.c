/* The waiter of a socket server, and its start and stop. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"
#include "os/server_impl.h"

#define SWEEP_MS 500
#define GRACE_MS 3000
#define LINGER_STEP_MS 10
#define EXHAUSTED_MS 10 /* out of descriptors: the backlog stays readable, do not spin on it */
#define EVENTS_MAX 64
#define ACCEPTS_MAX 64 /* in one go, so that events get their turn */

/* ---- new connections ---- */

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

static void waiter_accept(struct server *server) {
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int fd = accept4(server->listen_fd, (struct sockaddr *)&address, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            connection_open(server, fd, &address, size);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            return clock_sleep_until(clock_deadline_ms(EXHAUSTED_MS));
        else if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* ---- the waiter ---- */

static void waiter_queue(struct server *server, struct connection *connection) {
    pthread_mutex_lock(&server->lock);
    list_remove(&connection->node);
    list_add_tail(&server->queue, &connection->node);
    server->queued++;
    server_wake_pool(server);
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
    server_wake_pool(server);
    pthread_mutex_unlock(&server->lock);
}

static void *waiter_run(void *argument) {
    struct server *server = argument;
    pthread_setname_np(pthread_self(), server->name);
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
    int failure = server_thread_start(server, waiter_run, false /* joined */, &server->waiter);
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
