/* A socket server: an epoll waiter holds idle connections, a bounded pool of threads serves active
 * ones with straight-line blocking code (as Varnish; ARCHITECTURE.md, Concurrency).
 *
 * A connection is in the waiter (idle, costs no thread) or with exactly one pool thread. The waiter
 * hands it to a thread when it becomes readable; serve() deals with one or more requests, lingers a
 * little for the next, and says whether it goes back to the waiter. */
#ifndef QUERN_OS_SERVER_H
#define QUERN_OS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct server;

struct server_conn {
    int fd;
    void *state;      /* the protocol's, made by its opened(), freed by its closed() */
    const char *peer; /* "127.0.0.1:40312" */
    struct server *server;
};

enum server_verdict { SERVER_PARK, SERVER_CLOSE };

struct server_protocol {
    void *context;
    void (*opened)(void *context,
                   struct server_conn *conn); /* may be NULL; waiter thread: be quick */
    enum server_verdict (*serve)(void *context,
                                 struct server_conn *conn);  /* pool thread: may block */
    void (*closed)(void *context, struct server_conn *conn); /* may be NULL; fd still open */
};

struct server_options {
    const char *name;         /* of its threads, at most 10 letters */
    unsigned threads_max;     /* 0 = 128 */
    unsigned connections_max; /* 0 = 4096; more are accepted and closed at once */
    uint64_t idle_ms_max;     /* parked longer: closed; 0 = 60 s */
};

/* Takes ownership of listen_fd. The threads are started. */
int server_start(int listen_fd, const struct server_protocol *protocol,
                 const struct server_options *options, struct server **ret_server, struct err *err);

/* Stops accepting, closes parked connections, shuts the read side of active ones down and waits for
 * their threads; those that are still writing after a few seconds lose their connection. */
struct server *server_stop(struct server *server);

/* True once server_stop() was called: long-running serve() functions ask now and then. */
bool server_is_stopping(const struct server *server);

/* For serve(): waits a little for the next request, which saves it the way through the waiter. True
 * when something can be read (be it the end); false when nothing came or when other connections
 * wait for a thread: then park. */
bool server_linger(struct server_conn *conn, unsigned ms);

#endif
