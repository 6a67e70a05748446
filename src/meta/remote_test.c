/* What a node answers to calls that come over one connection. */
#include <string.h>

#include "base/cleanup.h"
#include "meta/cluster_harness.h"
#include "meta/row.h"
#include "rpc/rpc.h"

static struct rpc_conn *open_one(struct rpc_client **ret_client) {
    struct rpc_identity self = cluster.nodes[0].identity;
    struct rpc_conn *conn;
    self.node_id = 9;
    cluster_begin(&cluster, 1);
    self.cluster_id = cluster.genesis->cluster_id;
    must_create(&cluster.nodes[0], "bucket");
    *ret_client = rpc_client_new(&self, resolve, &cluster);
    assert_int_equal(rpc_open(*ret_client, 1, clock_deadline_ms(WAIT_MS), &conn, NULL), 0);
    return conn;
}

static void send_calls(struct rpc_conn *conn, struct span row) {
    struct iovec iov = {(char *)(uintptr_t)row.data, row.size};
    assert_int_equal(rpc_send(conn, RPC_META_CALLS, &iov, 1, clock_deadline_ms(WAIT_MS), NULL), 0);
}

static void add_query(struct buf *row, uint64_t id, uint32_t group, const char *bucket) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    Pb__GetBucket get = PB__GET_BUCKET__INIT;
    Pb__Query query = PB__QUERY__INIT;
    get.name = (char *)(uintptr_t)bucket;
    query.op_case = PB__QUERY__OP_GET_BUCKET;
    query.get_bucket = &get;
    pb_pack(&bytes, &query.base);
    struct meta_call head = {
        .id = id, .group = group, .size = (uint32_t)bytes.size, .kind = META_CALL_QUERY};
    row_add_call(row, &head, buf_span(&bytes));
}

static void test_each_call_has_its_answer(void **state) {
    (void)state;
    struct rpc_client *client;
    struct rpc_conn *conn = open_one(&client);
    _cleanup_(buf_finip) struct buf row = BUF_INIT, body = BUF_INIT;
    struct meta_call_answer head;
    struct span bytes;
    int codes[4] = {1, 1, 1, 1};
    uint16_t type;
    add_query(&row, 0, 0, "bucket");
    add_query(&row, 1, 0, "bucket");
    add_query(&row, 2, 77, "bucket"); /* no such group */
    struct meta_call nonsense = {.id = 3, .group = 0, .size = 3, .kind = META_CALL_COMMAND};
    row_add_call(&row, &nonsense, span_of("\xff\xff\xff"));
    send_calls(conn, buf_span(&row));
    for (int answers = 0; answers < 4;) {
        assert_int_equal(rpc_receive(conn, &type, &body, clock_deadline_ms(WAIT_MS), NULL), 0);
        assert_int_equal(type, RPC_META_ANSWERS);
        for (struct span rest = buf_span(&body); row_next_answer(&rest, &head, &bytes) == 0;
             answers++) {
            assert_true(head.id < 4 && codes[head.id] == 1);
            codes[head.id] = head.code;
            assert_true(bytes.size > 0);
        }
    }
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], 0);
    assert_int_equal(codes[2], ERR_INVALID);
    assert_int_equal(codes[3], 0); /* the reply says that it is not a command */
    rpc_release(client, conn, true);
    rpc_client_free(client);
}

static void must_be_closed(struct span row) {
    struct rpc_client *client;
    struct rpc_conn *conn = open_one(&client);
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    uint16_t type;
    send_calls(conn, row);
    assert_int_equal(rpc_receive(conn, &type, &body, clock_deadline_ms(WAIT_MS), NULL), ERR_CLOSED);
    rpc_release(client, conn, false);
    rpc_client_free(client);
    must_get(&cluster.nodes[0], "bucket");
}

static void test_a_call_that_is_cut_off(void **state) {
    (void)state;
    must_be_closed(span_of("cut off"));
}

static void test_a_call_of_an_unknown_kind(void **state) {
    (void)state;
    struct meta_call head = {.kind = 7};
    must_be_closed((struct span){(const char *)&head, sizeof head});
}

static void test_a_call_longer_than_its_frame(void **state) {
    (void)state;
    struct meta_call head = {.kind = META_CALL_QUERY, .size = UINT32_MAX};
    must_be_closed((struct span){(const char *)&head, sizeof head});
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_each_call_has_its_answer),
        TEST(test_a_call_that_is_cut_off),
        TEST(test_a_call_of_an_unknown_kind),
        TEST(test_a_call_longer_than_its_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
