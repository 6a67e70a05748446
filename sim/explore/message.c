/* Messages and records of the log, each once, by number. */
#include <stdio.h>

#include "base/cleanup.h"
#include "sim/explore/explore.h"

static struct intern messages, records;
static struct note notes[MESSAGES_MAX];

static void take_note(uint32_t number, const struct paxos_message *message) {
    ASSERT(number < MESSAGES_MAX);
    struct note note = {message->type, message->to - 1, message->ballot, 0, NULL};
    if (message->type == PAXOS_ACCEPT) {
        note.slot = message->entries[0].slot;
        note.value = message->entries[0].value;
    }
    notes[number] = note;
}

uint32_t message_put(const struct paxos_message *message) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    bool is_new;
    paxos_message_encode(message, &bytes);
    uint32_t number = intern_put(&messages, buf_span(&bytes), &is_new);
    if (is_new)
        take_note(number, message);
    return number;
}

struct paxos_message *message_get(uint32_t number) {
    struct paxos_message *message;
    if (paxos_message_decode(intern_get(&messages, number), &message, NULL) != 0)
        panic("a message that cannot be read");
    return message;
}

const struct note *message_note(uint32_t number) {
    return &notes[number];
}

uint32_t message_count(void) {
    return messages.count;
}

void message_print(uint32_t number) {
    static const char *const names[PAXOS_MESSAGE_END] = {
        [PAXOS_PREPARE] = "PREPARE",     [PAXOS_PROMISE] = "PROMISE",
        [PAXOS_ACCEPT] = "ACCEPT",       [PAXOS_ACCEPTED] = "ACCEPTED",
        [PAXOS_HEARTBEAT] = "HEARTBEAT", [PAXOS_HEARTBEAT_ACK] = "HEARTBEAT_ACK",
        [PAXOS_NACK] = "NACK",           [PAXOS_LEARN_REQ] = "LEARN_REQ",
        [PAXOS_LEARN] = "LEARN"};
    struct paxos_message *message = message_get(number);
    const char *name = names[message->type];
    printf("%s ballot %llu.%u.%u", name != NULL ? name : "a message",
           (unsigned long long)message->ballot.round, message->ballot.node, message->ballot.boot);
    if (message->type == PAXOS_ACCEPTED)
        printf(" upto %llu", (unsigned long long)message->upto);
    printf(" chosen %llu", (unsigned long long)message->chosen_upto);
    for (uint32_t i = 0; i < message->entry_count; i++)
        printf(", slot %llu of ballot %llu.%u.%u: \"%.*s\"",
               (unsigned long long)message->entries[i].slot,
               (unsigned long long)message->entries[i].ballot.round,
               message->entries[i].ballot.node, message->entries[i].ballot.boot,
               message->entries[i].value != NULL ? (int)message->entries[i].value->size : 0,
               message->entries[i].value != NULL ? message->entries[i].value->data : "");
    printf(" from node %u", message->from);
    paxos_message_free(message);
}

uint32_t record_put(const struct paxos_record *record) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    paxos_record_encode(record, &bytes);
    return intern_put(&records, buf_span(&bytes), NULL);
}

void record_get(uint32_t number, struct paxos_record *ret_record) {
    if (paxos_record_decode(intern_get(&records, number), ret_record, NULL) != 0)
        panic("a record that cannot be read");
}
