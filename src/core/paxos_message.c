/* Messages as bytes: one head for all types, then the entries. */
#include <stdlib.h>

#include "base/assert.h"
#include "core/paxos_codec.h"

#define MESSAGE_MAGIC 0x78507251u /* "QrPx" */
#define MESSAGE_VERSION 1

struct message_head {
    uint32_t magic;
    uint8_t version;
    uint8_t type;
    uint16_t flags;
    uint32_t group;
    uint32_t from;
    uint32_t to;
    uint32_t entry_count;
    uint64_t config_id;
    struct id128 incarnation;
    struct ballot ballot;
    struct ballot promised;
    uint64_t slot;
    uint64_t upto;
    uint64_t start;
    uint64_t chosen_upto;
    uint64_t seq;
};
static_assert(sizeof(struct message_head) == PAXOS_MESSAGE_HEAD, "on the wire");
static_assert(offsetof(struct message_head, group) == 8 &&
                  offsetof(struct message_head, ballot) == 48,
              "on the wire");

struct entry_head {
    uint64_t slot;
    struct ballot ballot;
    uint8_t digest[16];
    uint32_t size;
    uint32_t zero;
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

size_t paxos_message_size(const struct paxos_message *message) {
    size_t size = PAXOS_MESSAGE_HEAD;
    for (uint32_t i = 0; i < message->entry_count; i++)
        size += PAXOS_ENTRY_HEAD + message->entries[i].value->size;
    return size;
}

void paxos_message_encode(const struct paxos_message *message, struct buf *buf) {
    struct message_head head = {.magic = MESSAGE_MAGIC,
                                .version = MESSAGE_VERSION,
                                .type = (uint8_t)message->type,
                                .flags = (uint16_t)message->flags,
                                .group = message->group,
                                .from = message->from,
                                .to = message->to,
                                .entry_count = message->entry_count,
                                .config_id = message->config_id,
                                .incarnation = message->incarnation,
                                .ballot = message->ballot,
                                .promised = message->promised,
                                .slot = message->slot,
                                .upto = message->upto,
                                .start = message->start,
                                .chosen_upto = message->chosen_upto,
                                .seq = message->seq};
    buf_append(buf, &head, sizeof head);
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct paxos_entry *entry = &message->entries[i];
        struct entry_head entry_head = {
            .slot = entry->slot, .ballot = entry->ballot, .size = entry->value->size};
        memcpy(entry_head.digest, entry->value->digest, sizeof entry_head.digest);
        buf_append(buf, &entry_head, sizeof entry_head);
        buf_append(buf, entry->value->data, entry->value->size);
    }
}

/* How many entries a type may carry. */
static bool entry_count_is_sane(const struct message_head *head) {
    switch (head->type) {
    case PAXOS_ACCEPT:
        return head->entry_count == 1;
    case PAXOS_PROMISE:
    case PAXOS_LEARN:
        return head->entry_count <= PAXOS_ENTRIES_MAX;
    default:
        return head->entry_count == 0;
    }
}

static bool head_is_sane(const struct message_head *head) {
    return head->type > 0 && head->type < PAXOS_MESSAGE_END && entry_count_is_sane(head) &&
           paxos_ballot_is_sane(head->ballot) && paxos_ballot_is_sane(head->promised) &&
           head->slot < PAXOS_SLOT_LIMIT && head->upto < PAXOS_SLOT_LIMIT &&
           head->start < PAXOS_SLOT_LIMIT && head->chosen_upto < PAXOS_SLOT_LIMIT;
}

/* Cuts one entry from the front of *bytes. */
static int decode_entry(struct span *bytes, struct paxos_entry *ret_entry, struct err *err) {
    struct entry_head head;
    if (bytes->size < sizeof head)
        return err_set(err, ERR_CORRUPT, "a message ends inside an entry");
    memcpy(&head, bytes->data, sizeof head);
    if (head.size > PAXOS_VALUE_MAX || head.size > bytes->size - sizeof head)
        return err_set(err, ERR_CORRUPT, "a value is longer than its message");
    if (head.slot == 0 || head.slot >= PAXOS_SLOT_LIMIT || !paxos_ballot_is_sane(head.ballot))
        return err_set(err, ERR_CORRUPT, "an entry's head makes no sense");
    struct paxos_value *value =
        paxos_value_decode(bytes->data + sizeof head, head.size, head.digest);
    if (value == NULL)
        return err_set(err, ERR_CORRUPT, "a value has another digest");
    *ret_entry = (struct paxos_entry){.slot = head.slot, .ballot = head.ballot, .value = value};
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
    message->config_id = head->config_id;
    message->incarnation = head->incarnation;
    message->ballot = head->ballot;
    message->promised = head->promised;
    message->slot = head->slot;
    message->upto = head->upto;
    message->start = head->start;
    message->chosen_upto = head->chosen_upto;
    message->seq = head->seq;
    return message;
}

int paxos_message_decode(struct span bytes, struct paxos_message **ret_message, struct err *err) {
    struct message_head head;
    if (bytes.size < sizeof head || bytes.size > PAXOS_MESSAGE_MAX)
        return err_set(err, ERR_CORRUPT, "a message of %zu bytes", bytes.size);
    memcpy(&head, bytes.data, sizeof head);
    if (head.magic != MESSAGE_MAGIC)
        return err_set(err, ERR_CORRUPT, "not a Paxos message");
    if (head.version != MESSAGE_VERSION)
        return err_set(err, ERR_VERSION, "a Paxos message of version %u", head.version);
    if (!head_is_sane(&head))
        return err_set(err, ERR_CORRUPT, "a message's head makes no sense");
    bytes.data += sizeof head;
    bytes.size -= sizeof head;
    struct paxos_message *message = message_of_head(&head);
    int code = 0;
    while (code == 0 && message->entry_count < head.entry_count)
        if ((code = decode_entry(&bytes, &message->entries[message->entry_count], err)) == 0)
            message->entry_count++;
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
    if (bytes.size < PAXOS_MESSAGE_HEAD)
        return false;
    memcpy(ret_group, bytes.data + offsetof(struct message_head, group), sizeof *ret_group);
    return true;
}
