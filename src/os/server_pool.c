/* The threads that serve, made on demand, and the connections that they give back or close. */
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/server_impl.h"

/* Of address space; nested JSON and the state store go deep. Only what is used costs memory. */
#define STACK_BYTES ((size_t)1 << 20)
#define THREAD_IDLE_MS 5000

void connection_close(struct server *server, struct connection *connection) {
    if (server->protocol.closed != NULL)
        server->protocol.closed(server->protocol.context, &connection->conn);
    /* With the descriptor still open: server_stop() may be shutting it down. */
    pthread_mutex_lock(&server->lock);
    list_remove(&connection->node);
    server->connections--;
    pthread_mutex_unlock(&server->lock);
    close(connection->conn.fd);
    free(connection);
}

bool connection_park(struct server *server, struct connection *connection, int operation) {
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
    pthread_setname_np(pthread_self(), server->name);
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

int server_thread_start(struct server *server, void *(*run)(void *), bool detached,
                        pthread_t *ret_thread) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (detached)
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failure = pthread_create(ret_thread, &attributes, run, server);
    pthread_attr_destroy(&attributes);
    return failure;
}

/* Without a new thread the old ones get there in order; when there is none at all the next sweep
 * tries again. */
void server_wake_pool(struct server *server) {
    if (server->queued == 0)
        return;
    pthread_cond_signal(&server->work);
    pthread_t thread;
    if (server->queued > server->threads_idle && server->threads < server->options.threads_max) {
        server->threads++;
        if (server_thread_start(server, pool_run, true /* detached */, &thread) != 0)
            server->threads--;
    }
}
