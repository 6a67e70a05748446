/* A few registers with compare-and-set. */
#include "sim/kv.h"

#include <assert.h>

#include <xxhash.h>

#include "base/mutant.h"

static_assert(sizeof(struct kv_command) == 48, "no padding: it is hashed");

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

static const struct kv_seen *find(const struct kv *kv, const struct kv_command *command) {
    for (uint32_t i = 0; i < KV_WINDOW; i++)
        if (kv->seen[i].number == command->number && kv->seen[i].client == command->client)
            return &kv->seen[i];
    return NULL;
}

static void remember(struct kv *kv, const struct kv_command *command, struct kv_result result) {
    struct kv_seen *seen = &kv->seen[kv->next++ % KV_WINDOW];
    if (seen->number > 0)
        kv->forgotten = seen->result.slot;
    *seen = (struct kv_seen){command->client, command->number, result};
}

static struct kv_result carry_out(struct kv *kv, const struct kv_command *command) {
    struct kv_result result = kv_read(kv, command->key);
    result.slot = kv->slot + 1;
    if (command->kind == KV_CAS && result.value != command->expected) {
        result.status = KV_MISMATCH;
    } else {
        kv->values[command->key] = command->value;
        result.version = ++kv->versions[command->key];
    }
    return result;
}

struct kv_result kv_apply(struct kv *kv, const struct kv_command *command, bool *ret_new) {
    const struct kv_seen *seen = find(kv, command);
    if (seen != NULL && !MUTANT(24))
        return seen->result;
    if (command->since < kv->forgotten && !MUTANT(41))
        return (struct kv_result){.slot = kv->slot + 1, .status = KV_FORGOTTEN};
    struct kv_result result = carry_out(kv, command);
    remember(kv, command, result);
    if (ret_new != NULL)
        *ret_new = true;
    return result;
}

uint64_t kv_digest(const struct kv *kv) {
    return XXH3_64bits(kv, sizeof *kv);
}
