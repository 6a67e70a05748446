/* Channels to a node that answers as each test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "meta/channels.h"
#include "meta/row.h"
#include "os/clock.h"
#include "os/net.h"
#include "os/random.h"
#include "rpc/rpc.h"

#define GATHER_MAX 8u
#define WAIT_MS 10000
#define GROUP 1u

enum manner { ECHO, SILENT, GARBAGE, NOT_LEADER };

struct fake { /* the node */
    _Atomic enum manner manner;
    uint32_t gather; /* answers once so many calls have come, the last one first */
    uint32_t held;   /* the handler's, as the next two */
    struct meta_call heads[GATHER_MAX];
    char texts[GATHER_MAX][16];
    atomic_uint connections;

    char address[NET_ADDRESS_SIZE];
    struct rpc_server *server;
    struct rpc_client *rpc;
    struct channels *channels;
};

static void hold(struct fake *fake, struct span row) {
    struct meta_call head;
    struct span bytes;
    while (row_next_call(&row, &head, &bytes) == 0) {
        assert_true(fake->held < GATHER_MAX && bytes.size < 16);
        fake->heads[fake->held] = head;
        snprintf(fake->texts[fake->held++], 16, "%.*s", SPAN_ARGS(bytes));
    }
    assert_int_equal(row.size, 0);
}

static int answer_all(struct fake *fake, struct rpc_conn *conn) {
    _cleanup_(buf_finip) struct buf row = BUF_INIT;
    struct meta_call_answer nobody = {.id = 1000000};
    int code = fake->manner == NOT_LEADER ? ERR_NOT_LEADER : 0;
    row_add_answer(&row, &nobody, (struct span){0});
    while (fake->held > 0) {
        fake->held--;
        struct span text = span_of(fake->texts[fake->held]);
        struct meta_call_answer head = {.id = fake->heads[fake->held].id,
                                        .code = code,
                                        .leader = 3,
                                        .size = (uint32_t)text.size};
        row_add_answer(&row, &head, text);
    }
    if (fake->manner == GARBAGE)
        buf_puts(&row, "garbage");
    struct iovec iov = {row.data, row.size};
    return rpc_send(conn, RPC_META_ANSWERS, &iov, 1, clock_deadline_ms(WAIT_MS), NULL);
}

static int handle(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    struct fake *fake = context;
    assert_int_equal(type, RPC_META_CALLS);
    hold(fake, buf_span(body));
    if (fake->manner == SILENT)
        fake->held = 0;
    return fake->held >= fake->gather && fake->held > 0 ? answer_all(fake, conn) : 0;
}

static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    struct fake *fake = context;
    atomic_fetch_add(&fake->connections, 1);
    snprintf(ret_address, size, "%s", fake->address);
    return node_id == 1 ? 0 : ERR_NOT_FOUND;
}

static void begin(struct fake *fake) {
    struct rpc_identity node = {.cluster_id = random_id128(), .node_id = 1}, self = node;
    int fd;
    self.node_id = 2;
    assert_int_equal(net_listen("127.0.0.1:0", &fd, fake->address, NULL), 0);
    fake->server = rpc_server_new(&node);
    rpc_server_handle(fake->server, RPC_META_CALLS, handle, fake);
    assert_int_equal(rpc_server_start(fake->server, fd, NULL), 0);
    fake->rpc = rpc_client_new(&self, resolve, fake);
    fake->channels = channels_new(fake->rpc);
}

static void end(struct fake *fake) {
    channels_free(fake->channels);
    rpc_server_free(fake->server);
    rpc_client_free(fake->rpc);
}

struct asked {
    struct fake *fake;
    const char *text;
    uint64_t wait_ms;
    int code;
    uint32_t leader;
    struct buf reply;
};

static void *ask(void *argument) {
    struct asked *asked = argument;
    struct channel_call call = {META_CALL_QUERY, GROUP, span_of(asked->text)};
    asked->code = channels_call(asked->fake->channels, 1, &call, clock_deadline_ms(asked->wait_ms),
                                &asked->leader, &asked->reply, NULL);
    return NULL;
}

static int ask_now(struct fake *fake, uint64_t wait_ms) {
    struct asked asked = {.fake = fake, .text = "now", .wait_ms = wait_ms};
    ask(&asked);
    if (asked.code == 0)
        assert_string_equal(asked.reply.data, "now");
    buf_fini(&asked.reply);
    return asked.code;
}

static void test_answers_come_in_any_order(void **state) {
    (void)state;
    static const char *const texts[] = {"one", "two", "three", "four"};
    struct fake fake = {.gather = 4};
    struct asked asked[4];
    pthread_t threads[4];
    begin(&fake);
    for (int i = 0; i < 4; i++) {
        asked[i] = (struct asked){.fake = &fake, .text = texts[i], .wait_ms = WAIT_MS};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &asked[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(asked[i].code, 0);
        assert_int_equal(asked[i].leader, 3);
        assert_string_equal(asked[i].reply.data, texts[i]);
        buf_fini(&asked[i].reply);
    }
    assert_int_equal(atomic_load(&fake.connections), 1);
    end(&fake);
}

static void test_errors_are_the_node_s(void **state) {
    (void)state;
    struct fake fake = {.gather = 1, .manner = NOT_LEADER};
    begin(&fake);
    assert_int_equal(ask_now(&fake, WAIT_MS), ERR_NOT_LEADER);
    fake.manner = ECHO;
    assert_int_equal(ask_now(&fake, WAIT_MS), 0);
    assert_int_equal(atomic_load(&fake.connections), 1);
    end(&fake);
}

static void test_a_broken_connection_is_made_anew(void **state) {
    (void)state;
    struct fake fake = {.gather = 1, .manner = GARBAGE};
    begin(&fake);
    assert_int_equal(ask_now(&fake, WAIT_MS), 0); /* its answer was whole */
    fake.manner = ECHO;
    while (ask_now(&fake, WAIT_MS) != 0)
        ; /* one that was sent before the end was seen */
    assert_int_equal(atomic_load(&fake.connections), 2);
    end(&fake);
}

static void test_a_silent_node_is_given_up(void **state) {
    (void)state;
    struct fake fake = {.gather = 1, .manner = SILENT};
    begin(&fake);
    assert_int_equal(ask_now(&fake, 50), ERR_TIMEOUT);
    fake.manner = ECHO;
    while (ask_now(&fake, WAIT_MS) != 0)
        ;
    assert_int_equal(atomic_load(&fake.connections), 2); /* a hanging connection is not kept */
    end(&fake);
}

static void test_a_deposed_leader_is_not_waited_for(void **state) {
    (void)state;
    struct fake fake = {.gather = 1, .manner = SILENT};
    struct asked asked = {.fake = &fake, .text = "x", .wait_ms = 10 * WAIT_MS};
    pthread_t thread;
    begin(&fake);
    channels_set_leader(fake.channels, GROUP, 1);
    assert_int_equal(pthread_create(&thread, NULL, ask, &asked), 0);
    channels_set_leader(fake.channels, GROUP + 1, 3); /* another group's */
    channels_set_leader(fake.channels, GROUP, 3);
    pthread_join(thread, NULL);
    assert_int_equal(asked.code, ERR_TIMEOUT);
    assert_int_equal(ask_now(&fake, 10 * WAIT_MS), ERR_TIMEOUT);
    fake.manner = ECHO;
    channels_set_leader(fake.channels, GROUP, 0);
    assert_int_equal(ask_now(&fake, WAIT_MS), 0);
    end(&fake);
}

static void test_nobody_there(void **state) {
    (void)state;
    struct fake fake = {.gather = 1};
    begin(&fake);
    rpc_server_stop(fake.server);
    assert_int_equal(ask_now(&fake, WAIT_MS), ERR_REFUSED);
    end(&fake);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_in_any_order),
        cmocka_unit_test(test_errors_are_the_node_s),
        cmocka_unit_test(test_a_broken_connection_is_made_anew),
        cmocka_unit_test(test_a_silent_node_is_given_up),
        cmocka_unit_test(test_a_deposed_leader_is_not_waited_for),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
