/* What the consensus core must refuse: messages and records that make no sense. */
#include "core/paxos_harness.h"

static struct paxos_message *sample(void) {
    struct paxos_message *message = paxos_message_new(PAXOS_ACCEPT, 1);
    message->group = 4;
    message->from = 1;
    message->from_born = 1;
    message->to = 2;
    message->to_born = 1;
    message->ballot = (struct ballot){3, 1, 1};
    message->start = 1;
    struct paxos_value *value = paxos_value_copy(span_of("hello"));
    paxos_message_add(message, 9, message->ballot, value);
    paxos_value_unref(value);
    return message;
}

static void test_hostile_messages_are_refused(void **state) {
    (void)state;
    struct buf buf = BUF_INIT;
    struct paxos_message *message = sample(), *back = NULL;
    paxos_message_encode(message, &buf);
    paxos_message_free(message);
    assert_int_equal(paxos_message_decode(buf_span(&buf), &back, NULL), 0);
    assert_int_equal(back->entries[0].slot, 9);
    paxos_message_free(back);
    uint32_t group;
    assert_true(paxos_message_group(buf_span(&buf), &group));
    assert_int_equal(group, 4);
    for (size_t size = 0; size < buf.size; size++)
        assert_int_equal(paxos_message_decode((struct span){buf.data, size}, &back, NULL),
                         ERR_CORRUPT);
    static const struct {
        size_t at;
        uint8_t byte;
        int code;
    } rows[] = {
        {0, 'x', ERR_CORRUPT},                       /* magic */
        {4, 9, ERR_VERSION},                         /* version */
        {5, 0, ERR_CORRUPT},                         /* type */
        {5, PAXOS_MESSAGE_END, ERR_CORRUPT},         /* type */
        {5, PAXOS_HEARTBEAT, ERR_CORRUPT},           /* takes no entries */
        {12, 100, ERR_CORRUPT},                      /* head_bytes */
        {13, 0xff, ERR_CORRUPT},                     /* the like */
        {14, 0, ERR_CORRUPT},                        /* entry_count */
        {14, 2, ERR_CORRUPT},                        /* entry_count */
        {15, 0xff, ERR_CORRUPT},                     /* entry_count */
        {47, 0xff, ERR_CORRUPT},                     /* ballot.round */
        {PAXOS_MESSAGE_HEAD, 0, ERR_CORRUPT},        /* slot 0 */
        {PAXOS_MESSAGE_HEAD + 7, 0xff, ERR_CORRUPT}, /* slot too large */
        {PAXOS_MESSAGE_HEAD + 24, 1, ERR_CORRUPT},   /* digest */
        {PAXOS_MESSAGE_HEAD + 40, 200, ERR_CORRUPT}, /* size */
        {PAXOS_MESSAGE_HEAD + 43, 0xff, ERR_CORRUPT},
        {PAXOS_MESSAGE_HEAD + 44, 9, ERR_CORRUPT},   /* kind */
        {PAXOS_MESSAGE_HEAD + 45, 1, ERR_CORRUPT},   /* status: ACCEPT takes whole ones only */
        {PAXOS_MESSAGE_HEAD + 50, 'X', ERR_CORRUPT}, /* the value itself */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char old = buf.data[rows[i].at];
        back = NULL;
        buf.data[rows[i].at] = (char)rows[i].byte;
        assert_int_equal(paxos_message_decode(buf_span(&buf), &back, NULL), rows[i].code);
        assert_null(back);
        buf.data[rows[i].at] = old;
    }
    buf_fini(&buf);
}

static void test_records_come_back_and_broken_ones_are_refused(void **state) {
    (void)state;
    struct paxos_record record = {.type = PAXOS_RECORD_ACCEPT,
                                  .group = 2,
                                  .born = 1,
                                  .slot = 5,
                                  .ballot = {7, 1, 3},
                                  .chosen_upto = 4,
                                  .value = paxos_value_copy(span_of("v"))},
                        back = {0};
    struct buf buf = BUF_INIT;
    paxos_record_encode(&record, &buf);
    assert_int_equal(paxos_record_decode(buf_span(&buf), &back, NULL), 0);
    assert_int_equal(back.slot, 5);
    assert_int_equal(back.chosen_upto, 4);
    assert_int_equal(ballot_compare(back.ballot, record.ballot), 0);
    assert_memory_equal(back.value->digest, record.value->digest, 16);
    paxos_value_unref(back.value);
    paxos_value_unref(record.value);
    for (size_t size = 0; size < buf.size; size++)
        assert_int_equal(paxos_record_decode((struct span){buf.data, size}, &back, NULL),
                         ERR_CORRUPT);
    static const size_t broken[] = {0, 1, 2, 15, 23, 39, 40, 56, 64};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        buf.data[broken[i]] ^= (char)0xfe;
        assert_int_equal(paxos_record_decode(buf_span(&buf), &back, NULL), ERR_CORRUPT);
        buf.data[broken[i]] ^= (char)0xfe;
    }
    buf_fini(&buf);
}

static void test_strangers_and_nonsense_change_nothing(void **state) {
    (void)state;
    live_ms(120); /* all is recalled, nobody tries to lead yet */
    struct paxos_status before = status_of(1), after;
    struct paxos_message *message = sample(); /* of group 4 */
    assert_int_equal(drive_message(world.replicas[1].drive, world.now_ns, message), ERR_STALE);
    message = sample();
    message->group = 0;
    message->to_born = 2; /* another replica of this node */
    assert_int_equal(drive_message(world.replicas[1].drive, world.now_ns, message), ERR_STALE);
    message = sample();
    message->group = 0;
    message->from = 3; /* not the ballot's node */
    assert_int_equal(drive_message(world.replicas[1].drive, world.now_ns, message), ERR_PROTOCOL);
    after = status_of(1);
    assert_int_equal(before.promised.round, after.promised.round);
    assert_int_equal(before.last_slot, after.last_slot);
    assert_int_equal(before.last_write_seq, after.last_write_seq);
}

static void test_a_log_that_lost_a_slot_is_not_used(void **state) {
    (void)state;
    struct paxos_value *value = paxos_value_copy(span_of("v"));
    struct paxos_record record = {.type = PAXOS_RECORD_ACCEPT,
                                  .born = 1,
                                  .slot = 5,
                                  .ballot = {1, 1, 1},
                                  .chosen_upto = 4,
                                  .value = value};
    assert_int_equal(drive_restore(world.replicas[0].drive, &record), ERR_CORRUPT);
    record.chosen_upto = 0;
    record.slot = 1 + PAXOS_OPEN_MAX;
    assert_int_equal(drive_restore(world.replicas[0].drive, &record), ERR_CORRUPT);
    paxos_value_unref(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORY(test_strangers_and_nonsense_change_nothing, 3),
        STORY(test_a_log_that_lost_a_slot_is_not_used, 3),
        cmocka_unit_test(test_hostile_messages_are_refused),
        cmocka_unit_test(test_records_come_back_and_broken_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
