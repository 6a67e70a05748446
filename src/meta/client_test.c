/* What becomes of a command that is sent: by a client of a node that answers as each test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "meta/client.h"
#include "meta/map.h"
#include "meta/request.h"
#include "os/clock.h"
#include "os/net.h"
#include "os/random.h"
#include "rpc/rpc.h"

#define ANSWERS_MAX 4u
#define WAIT_MS 10000
#define GROUP 1u

enum manner { CARRIED_OUT, FORGOTTEN, NOT_LEADER, NOSPACE, CUT_OFF, NONE };

struct fake { /* the node */
    enum manner manners[ANSWERS_MAX];
    uint64_t slot; /* at which it answers */
    /* what came */
    uint32_t count;
    struct meta_call call; /* the last */
    uint64_t since[ANSWERS_MAX];
    uint8_t ids[ANSWERS_MAX][16];

    char address[NET_ADDRESS_SIZE];
    struct rpc_server *server;
    struct rpc_client *rpc;
    struct map_cache maps;
    struct meta_client *client;
};

static void note(struct fake *fake, struct span bytes) {
    struct arena arena;
    Pb__Command *command;
    arena_init(&arena, 1 << 20);
    assert_int_equal(pb_unpack(&pb__command__descriptor, bytes, &arena, &command, NULL), 0);
    assert_true(fake->count < ANSWERS_MAX);
    assert_int_equal(command->request_id.len, 16);
    fake->since[fake->count] = command->since_slot;
    memcpy(fake->ids[fake->count], command->request_id.data, 16);
    fake->count++;
    arena_fini(&arena);
}

static int answer(struct fake *fake, struct rpc_conn *conn, int code, struct span rest) {
    struct meta_call_answer head = {.id = fake->call.id,
                                    .code = code,
                                    .leader = code == ERR_NOT_LEADER ? 0 : 1,
                                    .size = (uint32_t)rest.size};
    struct iovec iov[] = {{&head, sizeof head}, {(char *)(uintptr_t)rest.data, rest.size}};
    return rpc_send(conn, RPC_META_ANSWERS, iov, 2, clock_deadline_ms(WAIT_MS), NULL);
}

static int answer_reply(struct fake *fake, struct rpc_conn *conn, int code) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    Pb__Reply reply = PB__REPLY__INIT;
    reply.code = code;
    reply.slot = fake->slot;
    pb_pack(&bytes, &reply.base);
    return answer(fake, conn, 0, buf_span(&bytes));
}

static int handle(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    struct fake *fake = context;
    enum manner manner = fake->manners[fake->count];
    assert_true(body->size >= sizeof fake->call);
    memcpy(&fake->call, body->data, sizeof fake->call);
    assert_int_equal(fake->call.kind, META_CALL_COMMAND);
    assert_int_equal(body->size, sizeof fake->call + fake->call.size);
    note(fake, (struct span){body->data + sizeof fake->call, fake->call.size});
    switch (manner) {
    case CARRIED_OUT:
        return answer_reply(fake, conn, 0);
    case FORGOTTEN:
        return answer_reply(fake, conn, ERR_FORGOTTEN);
    case NOT_LEADER:
        return answer(fake, conn, ERR_NOT_LEADER, span_of("another does"));
    case NOSPACE:
        return answer(fake, conn, ERR_NOSPACE, span_of("no room"));
    case CUT_OFF:
        return answer(fake, conn, 0, span_of("\xff"));
    default:
        return ERR_PROTOCOL; /* the connection is closed */
    }
}

static int resolve(void *context, uint32_t node_id, char *ret_address, size_t size) {
    struct fake *fake = context;
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
    struct place_map *map = place_map_new(1, 4, 1);
    map->shards = 2;
    map->groups[GROUP] = (struct place_group){.count = 1, .nodes = {1}};
    map_cache_init(&fake->maps, map);
    place_map_unref(map);
    fake->client = meta_client_new(NULL, fake->rpc, &fake->maps);
}

static void end(struct fake *fake) {
    meta_client_free(fake->client);
    rpc_server_stop(fake->server);
    rpc_server_free(fake->server);
    rpc_client_free(fake->rpc);
    map_cache_fini(&fake->maps);
}

static int submit(struct fake *fake) {
    struct arena arena;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    arena_init(&arena, 1 << 20);
    int r = meta_submit(fake->client, GROUP, &command, clock_deadline_ms(WAIT_MS), &arena, &reply,
                        NULL);
    arena_fini(&arena);
    return r;
}

static void test_a_first_try_names_a_newer_slot(void **state) {
    (void)state;
    struct fake fake = {.manners = {FORGOTTEN, CARRIED_OUT, CARRIED_OUT}, .slot = 100};
    begin(&fake);
    assert_int_equal(submit(&fake), 0);
    assert_int_equal(submit(&fake), 0);
    assert_int_equal(fake.count, 3);
    assert_int_equal(fake.since[0], 0);
    assert_int_equal(fake.since[1], 100);
    assert_memory_equal(fake.ids[0], fake.ids[1], 16);
    assert_int_equal(fake.since[2], 100);
    assert_memory_not_equal(fake.ids[1], fake.ids[2], 16);
    end(&fake);
}

/* The first try may have been carried out and forgotten. */
static void test_a_later_try_stays_in_doubt(void **state) {
    (void)state;
    static const enum manner lost[] = {NOT_LEADER, NONE};
    for (unsigned i = 0; i < 2; i++) {
        struct fake fake = {.manners = {lost[i], FORGOTTEN}, .slot = 100};
        begin(&fake);
        assert_int_equal(submit(&fake), ERR_FORGOTTEN);
        assert_int_equal(fake.count, 2);
        assert_memory_equal(fake.ids[0], fake.ids[1], 16);
        assert_int_equal(fake.since[1], 0);
        end(&fake);
    }
}

static void test_a_refusal_after_a_lost_try_is_in_doubt(void **state) {
    (void)state;
    struct fake fake = {.manners = {NONE, NOSPACE}};
    begin(&fake);
    assert_int_equal(submit(&fake), ERR_TIMEOUT);
    assert_int_equal(fake.count, 2);
    end(&fake);
    fake = (struct fake){.manners = {NOSPACE}};
    begin(&fake);
    assert_int_equal(submit(&fake), ERR_NOSPACE);
    end(&fake);
}

static void test_an_unreadable_answer_is_in_doubt(void **state) {
    (void)state;
    struct fake fake = {.manners = {CUT_OFF}};
    begin(&fake);
    assert_int_equal(submit(&fake), ERR_TIMEOUT);
    assert_int_equal(fake.count, 1);
    end(&fake);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_first_try_names_a_newer_slot),
        cmocka_unit_test(test_a_later_try_stays_in_doubt),
        cmocka_unit_test(test_a_refusal_after_a_lost_try_is_in_doubt),
        cmocka_unit_test(test_an_unreadable_answer_is_in_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
