/* TCP with deadlines: non-blocking sockets, tried first and waited for in poll(2) only when they
 * would block. */
#include "os/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "os/clock.h"

#define LISTEN_BACKLOG 1024

/* The part before the last colon without brackets, and the number after it. */
int net_parse_address(const char *address, char ret_host[NET_ADDRESS_SIZE], uint16_t *ret_port,
                      struct err *err) {
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0' || strlen(address) >= NET_ADDRESS_SIZE)
        return err_set(err, ERR_INVALID, "\"%.80s\" is not HOST:PORT", address);
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port > UINT16_MAX || colon[1] < '0' || colon[1] > '9')
        return err_set(err, ERR_INVALID, "\"%.80s\" has no port between 0 and 65535", address);
    size_t size = (size_t)(colon - address);
    const char *host = address;
    bool bracketed = size >= 2 && host[0] == '[' && host[size - 1] == ']';
    if (!bracketed && memchr(host, ':', size) != NULL)
        return err_set(err, ERR_INVALID, "\"%.80s\": write an IPv6 address as [ADDRESS]:PORT",
                       address);
    if (bracketed) {
        host++;
        size -= 2;
    }
    memcpy(ret_host, host, size);
    ret_host[size] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}

static int net_look_up(const char *address, int flags, char host[NET_ADDRESS_SIZE],
                       uint16_t *ret_port, struct addrinfo **ret_list, struct err *err) {
    int rc = net_parse_address(address, host, ret_port, err);
    if (rc != 0)
        return rc;
    char service[8];
    snprintf(service, sizeof service, "%u", *ret_port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    int failure = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, ret_list);
    if (failure != 0)
        return err_set(err, ERR_INVALID, "cannot look up \"%s\": %s", host, gai_strerror(failure));
    return 0;
}

static void net_free_list(struct addrinfo **list) {
    if (*list != NULL)
        freeaddrinfo(*list);
}

static void net_print_address(int fd, char text[NET_ADDRESS_SIZE]) {
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof name;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    text[0] = '\0';
    if (getsockname(fd, (struct sockaddr *)&name, &size) == 0 &&
        getnameinfo((struct sockaddr *)&name, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(text, NET_ADDRESS_SIZE, name.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
                 port);
}

int net_listen(const char *address, int *ret_fd, char *ret_address, struct err *err) {
    _cleanup_(net_free_list) struct addrinfo *list = NULL;
    char host[NET_ADDRESS_SIZE];
    uint16_t port;
    int rc = net_look_up(address, AI_PASSIVE, host, &port, &list, err);
    if (rc != 0)
        return rc;
    const char *shown = host[0] != '\0' ? host : "any address";
    _cleanup_(fd_closep) int fd =
        socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, list->ai_protocol);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0)
        return errno == EADDRINUSE
                   ? err_set(err, ERR_EXISTS, "port %u on %s is in use", port, shown)
                   : err_errno(err, errno, "cannot listen on port %u of %s", port, shown);
    if (ret_address != NULL)
        net_print_address(fd, ret_address);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Waits for events; 0 or ERR_TIMEOUT or an error. */
static int net_wait(int fd, short events, uint64_t deadline_ns, const char *what, struct err *err) {
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int ready = poll(&poll_fd, 1, clock_poll_ms(deadline_ns));
        if (ready > 0)
            return 0;
        if (ready == 0 && clock_now_ns() >= deadline_ns)
            return err_set(err, ERR_TIMEOUT, "%s timed out", what);
        if (ready < 0 && errno != EINTR)
            return err_errno(err, errno, "poll");
    }
}

static int net_connect_one(const struct addrinfo *to, uint64_t deadline_ns, int *ret_fd,
                           struct err *err) {
    _cleanup_(fd_closep) int fd =
        socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    if (fd < 0)
        return err_errno(err, errno, "socket");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        if (errno != EINPROGRESS)
            return err_errno(err, errno, "connect");
        int rc = net_wait(fd, POLLOUT, deadline_ns, "connect", err);
        if (rc != 0)
            return rc;
        int failure = 0;
        socklen_t size = sizeof failure;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
        if (failure != 0)
            return err_errno(err, failure, "connect");
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int net_connect(const char *address, uint64_t deadline_ns, int *ret_fd, struct err *err) {
    _cleanup_(net_free_list) struct addrinfo *list = NULL;
    char host[NET_ADDRESS_SIZE];
    uint16_t port;
    int rc = net_look_up(address, 0, host, &port, &list, err);
    if (rc != 0)
        return rc;
    struct err last = {0};
    for (const struct addrinfo *to = list; to != NULL; to = to->ai_next) {
        rc = net_connect_one(to, deadline_ns, ret_fd, &last);
        if (rc == 0 || rc == ERR_TIMEOUT)
            break;
    }
    return rc == 0 ? 0 : err_set(err, rc, "%s: %s", address, err_message(&last, rc));
}

int net_read(int fd, void *data, size_t size, uint64_t deadline_ns, size_t *ret_size,
             struct err *err) {
    for (;;) {
        ssize_t got = recv(fd, data, size, 0);
        if (got >= 0) {
            *ret_size = (size_t)got;
            return 0;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return err_errno(err, errno, "receive");
        int rc = net_wait(fd, POLLIN, deadline_ns, "receive", err);
        if (rc != 0)
            return rc;
    }
}

int net_read_all(int fd, void *data, size_t size, uint64_t deadline_ns, struct err *err) {
    char *to = data;
    while (size > 0) {
        size_t got;
        int rc = net_read(fd, to, size, deadline_ns, &got, err);
        if (rc != 0)
            return rc;
        if (got == 0)
            return err_set(err, ERR_CLOSED, "the peer closed the connection");
        to += got;
        size -= got;
    }
    return 0;
}

/* Moves the front of the array past size bytes; returns how many entries are used up. */
static int iov_advance(struct iovec *iov, int count, size_t size) {
    int done = 0;
    while (done < count && size >= iov[done].iov_len)
        size -= iov[done++].iov_len;
    if (done < count) {
        iov[done].iov_base = (char *)iov[done].iov_base + size;
        iov[done].iov_len -= size;
    }
    return done;
}

int net_write_all(int fd, struct iovec *iov, int count, uint64_t deadline_ns, struct err *err) {
    int done = iov_advance(iov, count, 0); /* empty parts in front */
    while (done < count) {
        struct msghdr message = {.msg_iov = iov + done, .msg_iovlen = (size_t)(count - done)};
        ssize_t put = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (put >= 0) {
            done += iov_advance(iov + done, count - done, (size_t)put);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return err_errno(err, errno, "send");
        int rc = net_wait(fd, POLLOUT, deadline_ns, "send", err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int net_write_now(int fd, struct iovec *iov, int count, struct err *err) {
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t put;
    do
        put = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (put < 0 && errno == EINTR);
    if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return err_errno(err, errno, "send");
    int done = iov_advance(iov, count, put > 0 ? (size_t)put : 0);
    for (int i = 0; i < done; i++)
        iov[i].iov_len = 0;
    return 0;
}

int net_write(int fd, const void *data, size_t size, uint64_t deadline_ns, struct err *err) {
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return net_write_all(fd, &iov, 1, deadline_ns, err);
}
