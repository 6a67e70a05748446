/* A few registers with compare-and-set. */
#include "sim/kv.h"

#include <assert.h>

#include <xxhash.h>

#include "base/mutant.h"

static_assert(sizeof(struct kv_command) == 40, "no padding: it is hashed");

struct value_head {
    uint64_t count;
};

struct paxos_value *kv_pack(const struct kv_command *commands, uint32_t count, uint32_t padding) {
    struct value_head head = {count};
    size_t size = sizeof head + count * sizeof *commands;
    struct paxos_value *value = paxos_value_new(size + padding);
    memcpy(value->data, &head, sizeof head);
    memcpy(value->data + sizeof head, commands, size - sizeof head);
    memset(value->data + size, 'x', padding);
    paxos_value_seal(value);
    return value;
}

uint32_t kv_unpack(const struct paxos_value *value, const struct kv_command **ret_commands) {
    struct value_head head = {0};
    if (value->size > 0)
        memcpy(&head, value->data, sizeof head);
    *ret_commands = (const struct kv_command *)(const void *)(value->data + sizeof head);
    return (uint32_t)head.count;
}

struct kv_result kv_read(const struct kv *kv, uint32_t key) {
    return (struct kv_result){
        .value = kv->values[key], .version = kv->versions[key], .slot = kv->slot, .status = KV_OK};
}

struct kv_result kv_apply(struct kv *kv, const struct kv_command *command) {
    uint64_t last = kv->sessions[command->client].number;
    if (command->number == last && !MUTANT(24))
        return kv->sessions[command->client].result;
    if (command->number < last)
        return (struct kv_result){.status = KV_STALE};
    struct kv_result result = kv_read(kv, command->key);
    result.slot = 0;
    if (command->kind == KV_CAS && result.value != command->expected) {
        result.status = KV_MISMATCH;
    } else {
        kv->values[command->key] = command->value;
        result.version = ++kv->versions[command->key];
    }
    kv->sessions[command->client].number = command->number;
    kv->sessions[command->client].result = result;
    return result;
}

uint64_t kv_digest(const struct kv *kv) {
    return XXH3_64bits(kv, sizeof *kv);
}
