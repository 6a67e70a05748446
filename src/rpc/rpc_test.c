/* Calls between nodes: exchanges, errors, strangers, and connections that die in the pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/clock.h"
#include "os/net.h"
#include "rpc/rpc.h"

static const struct rpc_identity node1 = {.cluster_id = {{7}}, .incarnation = {{1}}, .node_id = 1};
static const struct rpc_identity node2 = {.cluster_id = {{7}}, .incarnation = {{2}}, .node_id = 2};
static const struct rpc_identity stranger = {
    .cluster_id = {{8}}, .incarnation = {{3}}, .node_id = 2};

struct world {
    char address[NET_ADDRESS_SIZE];
    struct rpc_server *server;
    atomic_int one_way;
    atomic_int calls;
    bool slow;
    atomic_bool reading; /* if slow */
};

static uint64_t soon(void) {
    return clock_deadline_ms(5000);
}

/* Answers with the body reversed; an empty one with an error. */
static int handle_reverse(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct world *world = context;
    atomic_fetch_add(&world->calls, 1);
    assert_int_equal(rpc_conn_node(conn), 2);
    if (body->size == 0)
        return rpc_send_error(conn, ERR_NO_SUCH_KEY, "nothing to reverse", soon(), NULL);
    for (size_t i = 0; i < body->size / 2; i++) {
        char c = body->data[i];
        body->data[i] = body->data[body->size - 1 - i];
        body->data[body->size - 1 - i] = c;
    }
    size_t half = body->size / 2;
    struct iovec iov[] = {{body->data, half}, {body->data + half, body->size - half}};
    return rpc_send(conn, type, iov, 2, soon(), NULL);
}

static int handle_one_way(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct world *world = context;
    atomic_fetch_add(&world->one_way, 1);
    return 0;
}

static rpc_handler handle_slow;

static void world_start(struct world *world, const char *address) {
    struct err err;
    int fd = -1;
    char took[NET_ADDRESS_SIZE];
    assert_int_equal(net_listen(address, &fd, took, &err), 0);
    snprintf(world->address, sizeof world->address, "%s", took);
    world->server = rpc_server_new(&node1);
    rpc_server_handle(world->server, RPC_META_QUERY, handle_reverse, world);
    rpc_server_handle(world->server, RPC_PAXOS, world->slow ? handle_slow : handle_one_way, world);
    assert_int_equal(rpc_server_start(world->server, fd, &err), 0);
}

static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    struct world *world = context;
    if (node_id != 1 && node_id != 5)
        return ERR_NOT_FOUND;
    snprintf(ret_address, size, "%s", world->address);
    return 0;
}

static int call(struct rpc_client *client, const char *word, struct buf *reply, struct err *err) {
    return rpc_call(client, 1, RPC_META_QUERY, span_of(word), true, soon(), reply, err);
}

static void test_calls(void **state) {
    (void)state;
    struct world world = {0};
    world_start(&world, "127.0.0.1:0");
    struct rpc_client *client = rpc_client_new(&node2, resolve, &world);
    _cleanup_(buf_finip) struct buf reply = BUF_INIT;
    struct err err = {0};
    assert_int_equal(call(client, "abc", &reply, &err), 0);
    assert_string_equal(reply.data, "cba");
    assert_int_equal(call(client, "", &reply, &err), ERR_NO_SUCH_KEY);
    assert_string_equal(err.text, "node 1: nothing to reverse");
    assert_int_equal(call(client, "xy", &reply, &err), 0);
    assert_string_equal(reply.data, "yx");
    assert_int_equal(rpc_call(client, 1, RPC_PING, span_of("?"), true, soon(), &reply, &err), 0);
    assert_string_equal(reply.data, "?");
    assert_int_equal(rpc_call(client, 1, RPC_TASK_POLL, span_of("?"), true, soon(), &reply, &err),
                     ERR_PROTOCOL);
    assert_int_equal(rpc_call(client, 3, RPC_PING, span_of("?"), true, soon(), &reply, &err),
                     ERR_NOT_FOUND);
    assert_int_equal(rpc_call(client, 5, RPC_PING, span_of("?"), true, soon(), &reply, &err),
                     ERR_WRONG_CLUSTER);
    assert_non_null(strstr(err.text, "node 1 answered in its place"));

    char *big = calloc(1, RPC_BODY_MAX);
    big[0] = 'B';
    struct span request = {big, RPC_BODY_MAX};
    assert_int_equal(rpc_call(client, 1, RPC_META_QUERY, request, true, soon(), &reply, &err), 0);
    assert_int_equal(reply.size, RPC_BODY_MAX);
    assert_int_equal(reply.data[RPC_BODY_MAX - 1], 'B');
    free(big);
    rpc_client_free(client);
    rpc_server_free(world.server);
}

static void test_stranger_is_refused(void **state) {
    (void)state;
    struct world world = {0};
    world_start(&world, "127.0.0.1:0");
    struct rpc_client *client = rpc_client_new(&stranger, resolve, &world);
    _cleanup_(buf_finip) struct buf reply = BUF_INIT;
    struct err err = {0};
    assert_int_equal(call(client, "abc", &reply, &err), ERR_WRONG_CLUSTER);
    assert_non_null(strstr(err.text, "node 1 is of cluster 0700"));
    assert_int_equal(atomic_load(&world.calls), 0);
    rpc_client_free(client);
    rpc_server_free(world.server);
}

static void test_garbage_is_refused(void **state) {
    (void)state;
    struct world world = {0};
    world_start(&world, "127.0.0.1:0");
    int fd = -1;
    assert_int_equal(net_connect(world.address, soon(), &fd, NULL), 0);
    assert_int_equal(net_write(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, soon(), NULL), 0);
    char byte;
    assert_int_equal(net_read_all(fd, &byte, 1, soon(), NULL), ERR_CLOSED);
    close(fd);
    rpc_server_free(world.server);
}

static void test_one_way_and_into(void **state) {
    (void)state;
    struct world world = {0};
    world_start(&world, "127.0.0.1:0");
    struct rpc_client *client = rpc_client_new(&node2, resolve, &world);
    struct rpc_conn *conn;
    assert_int_equal(rpc_open(client, 1, soon(), &conn, NULL), 0);
    assert_int_equal(rpc_conn_node(conn), 1);
    char word[] = "abcd";
    struct iovec iov = {word, 4};
    for (int i = 0; i < 500; i++)
        assert_int_equal(rpc_send(conn, RPC_PAXOS, &iov, 1, soon(), NULL), 0);
    assert_int_equal(rpc_send(conn, RPC_META_QUERY, &iov, 1, soon(), NULL), 0);
    uint16_t type;
    size_t size;
    assert_int_equal(rpc_receive_into(conn, &type, word, 4, &size, soon(), NULL), 0);
    assert_int_equal(type, RPC_META_QUERY);
    assert_memory_equal(word, "dcba", 4);
    assert_int_equal(atomic_load(&world.one_way), 500);
    assert_int_equal(rpc_receive_into(conn, &type, word, 4, &size, clock_deadline_ms(5), NULL),
                     ERR_TIMEOUT);
    rpc_release(client, conn, true); /* broken: it must not be used again */
    struct rpc_conn *other;
    assert_int_equal(rpc_open(client, 1, soon(), &other, NULL), 0);
    assert_int_equal(rpc_send(other, RPC_META_QUERY, &iov, 1, soon(), NULL), 0);
    assert_int_equal(rpc_receive_into(other, &type, word, 3, &size, soon(), NULL), ERR_LIMIT);
    rpc_release(client, other, false);
    rpc_client_free(client);
    rpc_server_free(world.server);
}

/* Reads as slowly as the test lets it. */
static int handle_slow(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct world *world = context;
    while (!atomic_load(&world->reading))
        clock_sleep_until(clock_deadline_ms(1));
    for (size_t i = 0; i < body->size; i++)
        assert_int_equal(body->data[i], (char)atomic_load(&world->one_way));
    atomic_fetch_add(&world->one_way, 1);
    return 0;
}

static void test_what_does_not_fit_is_sent_later(void **state) {
    (void)state;
    static char bytes[1 << 20];
    struct world world = {.slow = true};
    world_start(&world, "127.0.0.1:0");
    struct rpc_client *client = rpc_client_new(&node2, resolve, &world);
    struct rpc_conn *conn;
    _cleanup_(buf_finip) struct buf rest = BUF_INIT;
    int count = 0;
    assert_int_equal(rpc_open(client, 1, soon(), &conn, NULL), 0);
    while (rest.size == 0 && count < 100) {
        memset(bytes, count++, sizeof bytes);
        assert_int_equal(
            rpc_send_now(conn, RPC_PAXOS, (struct span){bytes, sizeof bytes}, &rest, NULL), 0);
    }
    assert_true(rest.size > 0);
    atomic_store(&world.reading, true);
    assert_int_equal(rpc_send_rest(conn, buf_span(&rest), soon(), NULL), 0);
    while (atomic_load(&world.one_way) < count)
        clock_sleep_until(clock_deadline_ms(1));
    rpc_shutdown(conn);
    buf_clear(&rest);
    assert_int_not_equal(rpc_send_now(conn, RPC_PAXOS, span_of("x"), &rest, NULL), 0);
    rpc_release(client, conn, true); /* broken */
    rpc_client_free(client);
    rpc_server_free(world.server);
}

static void test_server_restart(void **state) {
    (void)state;
    struct world world = {0};
    world_start(&world, "127.0.0.1:0");
    struct rpc_client *client = rpc_client_new(&node2, resolve, &world);
    _cleanup_(buf_finip) struct buf reply = BUF_INIT;
    struct err err = {0};
    assert_int_equal(call(client, "abc", &reply, &err), 0);
    rpc_server_free(world.server);
    assert_int_equal(call(client, "abc", &reply, &err), ERR_REFUSED);
    char address[NET_ADDRESS_SIZE];
    memcpy(address, world.address, sizeof address);
    world_start(&world, address);
    assert_int_equal(call(client, "abc", &reply, &err), 0);
    rpc_client_free(client);
    rpc_server_free(world.server);
}

static void *caller(void *argument) {
    struct buf reply = BUF_INIT;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(call(argument, "abc", &reply, NULL), 0);
        assert_string_equal(reply.data, "cba");
    }
    buf_fini(&reply);
    return NULL;
}

static void test_many_threads(void **state) {
    (void)state;
    struct world world = {0};
    world_start(&world, "127.0.0.1:0");
    struct rpc_client *client = rpc_client_new(&node2, resolve, &world);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, caller, client), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&world.calls), 1600);
    rpc_server_free(world.server); /* the server may go first */
    rpc_client_free(client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_stranger_is_refused),
        cmocka_unit_test(test_garbage_is_refused),
        cmocka_unit_test(test_one_way_and_into),
        cmocka_unit_test(test_what_does_not_fit_is_sent_later),
        cmocka_unit_test(test_server_restart),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
