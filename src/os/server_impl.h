/* The insides of a socket server, shared by server.c (waiter, start, stop) and server_pool.c
 * (threads).
 *
 *      accept -> PARKED --readable--> QUEUED --thread--> ACTIVE --serve()--> PARKED or closed
 *
 * The waiter thread alone accepts, takes events and closes idle connections; EPOLLONESHOT means
 * that a connection has no event under way unless it is parked. Whoever moves a connection holds
 * the lock; no callback runs under it. */
#ifndef QUERN_OS_SERVER_IMPL_H
#define QUERN_OS_SERVER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "os/server.h"

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

/* Hands it to the waiter by epoll_ctl(operation); false when the server is stopping or epoll
 * refuses. */
bool connection_park(struct server *server, struct connection *connection, int operation);
/* Tells the protocol, closes the descriptor and frees. Whichever list it was on. */
void connection_close(struct server *server, struct connection *connection);

/* Sees that the queue is worked on. With the lock held. */
void server_wake_pool(struct server *server);

/* 0 or an errno value. */
int server_thread_start(struct server *server, void *(*run)(void *), bool detached,
                        pthread_t *ret_thread);

#endif
