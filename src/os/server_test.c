/* The socket server: parking, queueing behind busy threads, idle closing, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/clock.h"
#include "os/net.h"
#include "os/server.h"

struct echo {
    atomic_int opened, closed, serving, serving_most;
    atomic_bool hold;
    char address[NET_ADDRESS_SIZE];
    struct server *server;
};

static void echo_opened(void *context, struct server_conn *conn) {
    struct echo *echo = context;
    conn->state = malloc(64);
    atomic_fetch_add(&echo->opened, 1);
}

static void echo_closed(void *context, struct server_conn *conn) {
    struct echo *echo = context;
    free(conn->state);
    atomic_fetch_add(&echo->closed, 1);
}

static enum server_verdict echo_serve(void *context, struct server_conn *conn) {
    struct echo *echo = context;
    int now = atomic_fetch_add(&echo->serving, 1) + 1;
    if (now > atomic_load(&echo->serving_most))
        atomic_store(&echo->serving_most, now);
    size_t size = 0;
    int rc = net_read(conn->fd, conn->state, 64, clock_deadline_ms(1000), &size, NULL);
    while (atomic_load(&echo->hold) && !server_is_stopping(conn->server))
        clock_sleep_until(clock_deadline_ms(1));
    if (rc == 0 && size > 0)
        rc = net_write(conn->fd, conn->state, size, clock_deadline_ms(1000), NULL);
    atomic_fetch_sub(&echo->serving, 1);
    return rc == 0 && size > 0 ? SERVER_PARK : SERVER_CLOSE;
}

static void echo_start(struct echo *echo, const struct server_options *options) {
    *echo = (struct echo){0};
    struct err err;
    int fd = -1;
    assert_int_equal(net_listen("127.0.0.1:0", &fd, echo->address, &err), 0);
    struct server_protocol protocol = {echo, echo_opened, echo_serve, echo_closed};
    assert_int_equal(server_start(fd, &protocol, options, &echo->server, &err), 0);
}

static void echo_stop(struct echo *echo) {
    echo->server = server_stop(echo->server);
    assert_null(echo->server);
    assert_int_equal(atomic_load(&echo->opened), atomic_load(&echo->closed));
}

static int echo_connect(struct echo *echo) {
    int fd = -1;
    assert_int_equal(net_connect(echo->address, clock_deadline_ms(1000), &fd, NULL), 0);
    return fd;
}

static void send_word(int fd) {
    assert_int_equal(net_write(fd, "word", 4, clock_deadline_ms(1000), NULL), 0);
}

static void expect_word(int fd) {
    char data[4];
    assert_int_equal(net_read_all(fd, data, 4, clock_deadline_ms(2000), NULL), 0);
    assert_memory_equal(data, "word", 4);
}

static bool is_closed(int fd) {
    char data;
    size_t size = 1;
    int rc = net_read(fd, &data, 1, clock_deadline_ms(3000), &size, NULL);
    return rc == ERR_CLOSED || (rc == 0 && size == 0);
}

static void test_echo(void **state) {
    (void)state;
    struct echo echo;
    echo_start(&echo, &(struct server_options){.name = "echo"});
    int fds[20];
    for (int i = 0; i < 20; i++)
        fds[i] = echo_connect(&echo);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 20; i++)
            send_word(fds[i]);
        for (int i = 0; i < 20; i++)
            expect_word(fds[i]);
    }
    for (int i = 0; i < 10; i++)
        close(fds[i]);
    echo_stop(&echo);
    for (int i = 10; i < 20; i++) {
        assert_true(is_closed(fds[i]));
        close(fds[i]);
    }
}

static void test_busy_threads_queue(void **state) {
    (void)state;
    struct echo echo;
    echo_start(&echo, &(struct server_options){.threads_max = 2});
    atomic_store(&echo.hold, true);
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = echo_connect(&echo);
        send_word(fds[i]);
    }
    while (atomic_load(&echo.serving) < 2)
        clock_sleep_until(clock_deadline_ms(1));
    atomic_store(&echo.hold, false);
    for (int i = 0; i < 8; i++)
        expect_word(fds[i]);
    assert_int_equal(atomic_load(&echo.serving_most), 2);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    echo_stop(&echo);
}

static void test_limits(void **state) {
    (void)state;
    struct echo echo;
    echo_start(&echo, &(struct server_options){.connections_max = 1, .idle_ms_max = 20});
    _cleanup_(fd_closep) int first = echo_connect(&echo);
    send_word(first);
    expect_word(first);
    _cleanup_(fd_closep) int second = echo_connect(&echo);
    assert_true(is_closed(second));
    assert_true(is_closed(first)); /* idle too long */
    echo_stop(&echo);
}

static void test_stop_with_active_and_queued(void **state) {
    (void)state;
    struct echo echo;
    echo_start(&echo, &(struct server_options){.threads_max = 1});
    atomic_store(&echo.hold, true);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = echo_connect(&echo);
        send_word(fds[i]);
    }
    while (atomic_load(&echo.serving) < 1)
        clock_sleep_until(clock_deadline_ms(1));
    echo_stop(&echo);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    assert_null(server_stop(NULL));
}

/* A peer that never reads cannot hold up the end. */
static enum server_verdict flood_serve(void *context, struct server_conn *conn) {
    static const char zeroes[65536];
    atomic_store((atomic_bool *)context, true);
    while (net_write(conn->fd, zeroes, sizeof zeroes, clock_deadline_ms(60000), NULL) == 0)
        ;
    return SERVER_CLOSE;
}

static void test_stop_while_writing(void **state) {
    (void)state;
    atomic_bool began = false;
    char address[NET_ADDRESS_SIZE];
    int fd = -1;
    struct server *server;
    struct server_protocol protocol = {.context = &began, .serve = flood_serve};
    struct server_options options = {.name = "flood"};
    assert_int_equal(net_listen("127.0.0.1:0", &fd, address, NULL), 0);
    assert_int_equal(server_start(fd, &protocol, &options, &server, NULL), 0);
    _cleanup_(fd_closep) int client = -1;
    assert_int_equal(net_connect(address, clock_deadline_ms(1000), &client, NULL), 0);
    send_word(client);
    while (!atomic_load(&began))
        clock_sleep_until(clock_deadline_ms(1));
    uint64_t start_ns = clock_now_ns();
    server_stop(server);
    assert_in_range((clock_now_ns() - start_ns) / NS_PER_MS, 2900, 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_busy_threads_queue),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_stop_with_active_and_queued),
        cmocka_unit_test(test_stop_while_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
