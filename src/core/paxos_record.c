/* Records of the log as bytes. */
#include "core/paxos_record.h"

#include "base/assert.h"
#include "core/paxos_codec.h"

struct record_head {
    uint8_t type;
    uint8_t kind; /* of the value */
    uint8_t zero[2];
    uint32_t group;
    uint64_t slot;
    struct ballot ballot;
    uint64_t chosen_upto;
    uint8_t digest[PAXOS_DIGEST];
    uint32_t size;
    uint32_t born;
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
                               .chosen_upto = record->chosen_upto,
                               .born = record->born};
    if (record->value != NULL) {
        memcpy(head.digest, record->value->digest, sizeof head.digest);
        head.size = record->value->size;
        head.kind = (uint8_t)record->value->kind;
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
    bool promise = head->type == PAXOS_RECORD_PROMISE, learn = head->type == PAXOS_RECORD_LEARN;
    if (promise && (head->size > 0 || head->kind > 0 ||
                    memcmp(head->digest, zero.digest, sizeof zero.digest) != 0))
        return false;
    return head->type > 0 && head->type < PAXOS_RECORD_END && head->kind < PAXOS_VALUE_KIND_END &&
           (head->slot == 0) == promise && (head->ballot.round == 0) <= learn &&
           head->size <= PAXOS_VALUE_MAX && head->slot < PAXOS_SLOT_LIMIT &&
           head->chosen_upto < PAXOS_SLOT_LIMIT && paxos_ballot_is_sane(head->ballot) &&
           head->born > 0;
}

static int read_head(struct span bytes, struct record_head *ret_head, struct err *err) {
    if (bytes.size < sizeof *ret_head)
        return err_set(err, ERR_CORRUPT, "a record of %zu bytes is too short", bytes.size);
    memcpy(ret_head, bytes.data, sizeof *ret_head);
    if (!head_is_sane(ret_head))
        return err_set(err, ERR_CORRUPT, "a record's head makes no sense");
    return 0;
}

static struct paxos_record record_of(const struct record_head *head) {
    struct paxos_record record = {.type = head->type,
                                  .group = head->group,
                                  .born = head->born,
                                  .slot = head->slot,
                                  .ballot = head->ballot,
                                  .chosen_upto = head->chosen_upto};
    memcpy(record.digest, head->digest, sizeof record.digest);
    return record;
}

int paxos_record_decode_head(struct span bytes, struct paxos_record *ret_record, uint32_t *ret_size,
                             struct err *err) {
    struct record_head head;
    int code = read_head(bytes, &head, err);
    if (code != 0)
        return code;
    *ret_record = record_of(&head);
    *ret_size = head.size;
    return 0;
}

int paxos_record_decode(struct span bytes, struct paxos_record *ret_record, struct err *err) {
    struct record_head head;
    int code = read_head(bytes, &head, err);
    if (code != 0)
        return code;
    if (bytes.size != sizeof head + (size_t)head.size)
        return err_set(err, ERR_CORRUPT, "a record's length is wrong");
    struct paxos_record record = record_of(&head);
    if (record.type != PAXOS_RECORD_PROMISE) {
        struct span value = {bytes.data + sizeof head, head.size};
        record.value = paxos_value_check(value, head.kind, head.digest);
        if (record.value == NULL)
            return err_set(err, ERR_CORRUPT, "the value of slot %llu has another digest",
                           (unsigned long long)record.slot);
    }
    *ret_record = record;
    return 0;
}
