/* Messages as bytes: one head for all types, then the entries. */
#include "core/paxos_message.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/paxos_codec.h"

#define MESSAGE_MAGIC 0x78507251u /* "QrPx" */
#define MESSAGE_VERSION 2
#define HEAD_BYTES_MAX 1024u

struct message_head {
    uint32_t magic;
    uint8_t version;
    uint8_t type;
    uint16_t flags;
    uint32_t group;
    uint16_t head_bytes;
    uint16_t entry_count;
    uint32_t from;
    uint32_t to;
    uint32_t from_born;
    uint32_t to_born;
    uint64_t config_slot;
    struct ballot ballot;
    struct ballot promised;
    uint64_t slot;
    uint64_t upto;
    uint64_t start;
    uint64_t chosen_upto;
    uint64_t seq;
    uint64_t doubt_upto;
    /* from here on a sender may leave fields out */
    uint32_t sync_us;
    uint32_t zero;
    struct paxos_check check;
};
static_assert(sizeof(struct message_head) == PAXOS_MESSAGE_HEAD, "on the wire");
static_assert(offsetof(struct message_head, group) == 8 &&
                  offsetof(struct message_head, ballot) == 40 &&
                  offsetof(struct message_head, check) == 128,
              "on the wire");
#define HEAD_BYTES_MIN offsetof(struct message_head, sync_us)

struct entry_head {
    uint64_t slot;
    struct ballot ballot;
    uint8_t digest[PAXOS_DIGEST];
    uint32_t size;
    uint8_t kind; /* of the value */
    uint8_t status;
    uint16_t zero;
};
static_assert(sizeof(struct entry_head) == PAXOS_ENTRY_HEAD, "on the wire");

struct paxos_message *paxos_message_new(enum paxos_message_type type, uint32_t entry_room) {
    ASSERT(entry_room <= PAXOS_ENTRIES_MAX);
    struct paxos_message *message =
        calloc(1, sizeof *message + entry_room * sizeof message->entries[0]);
    if (message == NULL)
        panic("out of memory");
    message->type = type;
    return message;
}

struct paxos_message *paxos_message_free(struct paxos_message *message) {
    for (uint32_t i = 0; message != NULL && i < message->entry_count; i++)
        paxos_value_unref(message->entries[i].value);
    free(message);
    return NULL;
}

void paxos_message_add(struct paxos_message *message, uint64_t slot, struct ballot ballot,
                       struct paxos_value *value) {
    struct paxos_entry *entry = &message->entries[message->entry_count++];
    *entry = (struct paxos_entry){.slot = slot, .ballot = ballot, .value = paxos_value_ref(value)};
    memcpy(entry->digest, value->digest, sizeof entry->digest);
}

static uint32_t size_of_value(const struct paxos_entry *entry) {
    return entry->value != NULL ? entry->value->size : 0;
}

size_t paxos_message_size(const struct paxos_message *message) {
    size_t size = PAXOS_MESSAGE_HEAD;
    for (uint32_t i = 0; i < message->entry_count; i++)
        size += PAXOS_ENTRY_HEAD + size_of_value(&message->entries[i]);
    return size;
}

static void entry_encode(const struct paxos_entry *entry, struct buf *buf) {
    ASSERT((entry->status == PAXOS_WHOLE) == (entry->value != NULL));
    struct entry_head head = {.slot = entry->slot,
                              .ballot = entry->ballot,
                              .size = size_of_value(entry),
                              .status = (uint8_t)entry->status};
    memcpy(head.digest, entry->digest, sizeof head.digest);
    if (entry->value != NULL)
        head.kind = (uint8_t)entry->value->kind;
    buf_append(buf, &head, sizeof head);
    if (entry->value != NULL)
        buf_append(buf, entry->value->data, entry->value->size);
}

void paxos_message_encode(const struct paxos_message *message, struct buf *buf) {
    struct message_head head = {.magic = MESSAGE_MAGIC,
                                .version = MESSAGE_VERSION,
                                .type = (uint8_t)message->type,
                                .flags = (uint16_t)message->flags,
                                .group = message->group,
                                .head_bytes = sizeof head,
                                .entry_count = (uint16_t)message->entry_count,
                                .from = message->from,
                                .to = message->to,
                                .from_born = message->from_born,
                                .to_born = message->to_born,
                                .config_slot = message->config_slot,
                                .ballot = message->ballot,
                                .promised = message->promised,
                                .slot = message->slot,
                                .upto = message->upto,
                                .start = message->start,
                                .chosen_upto = message->chosen_upto,
                                .seq = message->seq,
                                .doubt_upto = message->doubt_upto,
                                .sync_us = message->sync_us,
                                .check = message->check};
    buf_append(buf, &head, sizeof head);
    for (uint32_t i = 0; i < message->entry_count; i++)
        entry_encode(&message->entries[i], buf);
}

/* ---- hostile bytes ---- */

/* How many entries a type may carry. */
static bool entry_count_is_sane(const struct message_head *head) {
    switch (head->type) {
    case PAXOS_ACCEPT:
    case PAXOS_FETCH:
    case PAXOS_FETCHED:
        return head->entry_count == 1;
    case PAXOS_PROMISE:
    case PAXOS_LEARN:
        return head->entry_count <= PAXOS_ENTRIES_MAX;
    default:
        return head->entry_count == 0;
    }
}

static bool status_is_sane(enum paxos_message_type type, enum paxos_entry_status status) {
    if (type == PAXOS_PROMISE)
        return status < PAXOS_STATUS_END;
    return status == (type == PAXOS_FETCH ? PAXOS_DAMAGED : PAXOS_WHOLE);
}

static bool head_is_sane(const struct message_head *head) {
    return head->type > 0 && head->type < PAXOS_MESSAGE_END && entry_count_is_sane(head) &&
           paxos_ballot_is_sane(head->ballot) && paxos_ballot_is_sane(head->promised) &&
           head->slot < PAXOS_SLOT_LIMIT && head->upto < PAXOS_SLOT_LIMIT &&
           head->start < PAXOS_SLOT_LIMIT && head->chosen_upto < PAXOS_SLOT_LIMIT &&
           head->check.slot < PAXOS_SLOT_LIMIT;
}

/* The head is cut from the front of *bytes. */
static int head_decode(struct span *bytes, struct message_head *ret_head, struct err *err) {
    if (bytes->size < HEAD_BYTES_MIN || bytes->size > PAXOS_MESSAGE_MAX)
        return err_set(err, ERR_CORRUPT, "a message of %zu bytes", bytes->size);
    *ret_head = (struct message_head){0};
    memcpy(ret_head, bytes->data, HEAD_BYTES_MIN);
    uint16_t size = ret_head->head_bytes;
    if (ret_head->magic != MESSAGE_MAGIC)
        return err_set(err, ERR_CORRUPT, "not a Paxos message");
    if (ret_head->version != MESSAGE_VERSION)
        return err_set(err, ERR_VERSION, "a Paxos message of version %u", ret_head->version);
    if (size < HEAD_BYTES_MIN || size > HEAD_BYTES_MAX || size > bytes->size)
        return err_set(err, ERR_CORRUPT, "a message's head of %u bytes", size);
    memcpy(ret_head, bytes->data, size < sizeof *ret_head ? size : sizeof *ret_head);
    if (!head_is_sane(ret_head))
        return err_set(err, ERR_CORRUPT, "a message's head makes no sense");
    bytes->data += size;
    bytes->size -= size;
    return 0;
}

static bool entry_head_is_sane(enum paxos_message_type type, const struct entry_head *head) {
    return head->slot > 0 && head->slot < PAXOS_SLOT_LIMIT && paxos_ballot_is_sane(head->ballot) &&
           head->kind < PAXOS_VALUE_KIND_END && status_is_sane(type, head->status) &&
           (head->status == PAXOS_WHOLE || (head->size == 0 && head->kind == 0));
}

/* Cuts one entry from the front of *bytes. */
static int decode_entry(enum paxos_message_type type, struct span *bytes,
                        struct paxos_entry *ret_entry, struct err *err) {
    struct entry_head head;
    if (bytes->size < sizeof head)
        return err_set(err, ERR_CORRUPT, "a message ends inside an entry");
    memcpy(&head, bytes->data, sizeof head);
    if (head.size > PAXOS_VALUE_MAX || head.size > bytes->size - sizeof head)
        return err_set(err, ERR_CORRUPT, "a value is longer than its message");
    if (!entry_head_is_sane(type, &head))
        return err_set(err, ERR_CORRUPT, "an entry's head makes no sense");
    struct paxos_entry entry = {.slot = head.slot, .ballot = head.ballot, .status = head.status};
    memcpy(entry.digest, head.digest, sizeof entry.digest);
    if (entry.status == PAXOS_WHOLE) {
        struct span data = {bytes->data + sizeof head, head.size};
        entry.value = paxos_value_check(data, head.kind, head.digest);
        if (entry.value == NULL)
            return err_set(err, ERR_CORRUPT, "a value has another digest");
    }
    *ret_entry = entry;
    bytes->data += sizeof head + head.size;
    bytes->size -= sizeof head + head.size;
    return 0;
}

static struct paxos_message *message_of_head(const struct message_head *head) {
    struct paxos_message *message = paxos_message_new(head->type, head->entry_count);
    message->flags = head->flags;
    message->group = head->group;
    message->from = head->from;
    message->to = head->to;
    message->from_born = head->from_born;
    message->to_born = head->to_born;
    message->config_slot = head->config_slot;
    message->ballot = head->ballot;
    message->promised = head->promised;
    message->slot = head->slot;
    message->upto = head->upto;
    message->start = head->start;
    message->chosen_upto = head->chosen_upto;
    message->seq = head->seq;
    message->doubt_upto = head->doubt_upto;
    message->sync_us = head->sync_us;
    message->check = head->check;
    return message;
}

int paxos_message_decode(struct span bytes, struct paxos_message **ret_message, struct err *err) {
    struct message_head head;
    int code = head_decode(&bytes, &head, err);
    if (code != 0)
        return code;
    struct paxos_message *message = message_of_head(&head);
    while (code == 0 && message->entry_count < head.entry_count) {
        struct paxos_entry *entry = &message->entries[message->entry_count];
        if ((code = decode_entry(message->type, &bytes, entry, err)) == 0)
            message->entry_count++;
    }
    if (code == 0 && bytes.size > 0)
        code = err_set(err, ERR_CORRUPT, "bytes behind a message's end");
    if (code != 0) {
        paxos_message_free(message);
        return code;
    }
    *ret_message = message;
    return 0;
}

bool paxos_message_group(struct span bytes, uint32_t *ret_group) {
    if (bytes.size < HEAD_BYTES_MIN)
        return false;
    memcpy(ret_group, bytes.data + offsetof(struct message_head, group), sizeof *ret_group);
    return true;
}
