/* Records of the log as bytes. */
#include "base/assert.h"
#include "core/paxos_codec.h"

struct record_head {
    uint8_t type;
    uint8_t zero[3];
    uint32_t group;
    uint64_t slot;
    struct ballot ballot;
    uint64_t chosen_upto;
    uint8_t digest[16];
    uint32_t size;
    uint32_t has_value;
};
static_assert(sizeof(struct record_head) == PAXOS_RECORD_HEAD, "on disk");
static_assert(offsetof(struct record_head, ballot) == 16 &&
                  offsetof(struct record_head, digest) == 40,
              "on disk");

void paxos_record_encode_head(const struct paxos_record *record,
                              uint8_t ret_head[PAXOS_RECORD_HEAD]) {
    ASSERT((record->type == PAXOS_RECORD_PROMISE) == (record->value == NULL));
    struct record_head head = {.type = (uint8_t)record->type,
                               .group = record->group,
                               .slot = record->slot,
                               .ballot = record->ballot,
                               .chosen_upto = record->chosen_upto};
    if (record->value != NULL) {
        memcpy(head.digest, record->value->digest, sizeof head.digest);
        head.size = record->value->size;
        head.has_value = 1;
    }
    memcpy(ret_head, &head, sizeof head);
}

void paxos_record_encode(const struct paxos_record *record, struct buf *buf) {
    uint8_t head[PAXOS_RECORD_HEAD];
    paxos_record_encode_head(record, head);
    buf_append(buf, head, sizeof head);
    if (record->value != NULL)
        buf_append(buf, record->value->data, record->value->size);
}

static bool head_is_sane(const struct record_head *head) {
    static const struct record_head zero;
    if (memcmp(head->zero, zero.zero, sizeof zero.zero) != 0)
        return false;
    if (head->type == PAXOS_RECORD_PROMISE &&
        memcmp(head->digest, zero.digest, sizeof zero.digest) != 0)
        return false;
    bool promise = head->type == PAXOS_RECORD_PROMISE, learn = head->type == PAXOS_RECORD_LEARN;
    return head->type > 0 && head->type < PAXOS_RECORD_END && head->has_value == !promise &&
           (head->slot == 0) == promise && (head->ballot.round == 0) <= learn &&
           head->size <= PAXOS_VALUE_MAX && (!promise || head->size == 0) &&
           head->slot < PAXOS_SLOT_LIMIT && head->chosen_upto < PAXOS_SLOT_LIMIT &&
           paxos_ballot_is_sane(head->ballot);
}

int paxos_record_decode_head(struct span bytes, struct paxos_record *ret_record, uint32_t *ret_size,
                             struct err *err) {
    struct record_head head;
    if (bytes.size < sizeof head)
        return err_set(err, ERR_CORRUPT, "a record of %zu bytes is too short", bytes.size);
    memcpy(&head, bytes.data, sizeof head);
    if (!head_is_sane(&head))
        return err_set(err, ERR_CORRUPT, "a record's head makes no sense");
    *ret_record = (struct paxos_record){.type = head.type,
                                        .group = head.group,
                                        .slot = head.slot,
                                        .ballot = head.ballot,
                                        .chosen_upto = head.chosen_upto};
    *ret_size = head.size;
    return 0;
}

int paxos_record_decode(struct span bytes, struct paxos_record *ret_record, struct err *err) {
    struct paxos_record record;
    uint32_t size;
    int code = paxos_record_decode_head(bytes, &record, &size, err);
    if (code != 0)
        return code;
    if (bytes.size != PAXOS_RECORD_HEAD + (size_t)size)
        return err_set(err, ERR_CORRUPT, "a record's length is wrong");
    if (record.type != PAXOS_RECORD_PROMISE) {
        struct record_head head;
        memcpy(&head, bytes.data, sizeof head);
        record.value = paxos_value_decode(bytes.data + sizeof head, size, head.digest);
        if (record.value == NULL)
            return err_set(err, ERR_CORRUPT, "the value of slot %llu has another digest",
                           (unsigned long long)record.slot);
    }
    *ret_record = record;
    return 0;
}
