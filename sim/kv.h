/* The simulator's state machine: a few registers, and per client the last command with its result,
 * so that a command sent again is not carried out again. Plain memory: copied and hashed whole. */
#ifndef QUERN_SIM_KV_H
#define QUERN_SIM_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "core/paxos.h"

#define KV_KEYS 4u
#define SIM_CLIENTS_MAX 12u

enum kv_kind { KV_READ, KV_WRITE, KV_CAS };
enum kv_status { KV_OK, KV_MISMATCH, KV_STALE, KV_RETRY }; /* RETRY: never from the state machine */

struct kv_command {
    uint64_t number; /* of the client, from 1 */
    uint64_t value;
    uint64_t expected; /* CAS */
    uint32_t client;
    uint32_t group;
    uint32_t key;
    uint32_t kind;
};

struct kv_result {
    uint64_t value;   /* before a write or CAS; what a read saw */
    uint64_t version; /* of the key afterwards: its writes are counted */
    uint64_t slot;    /* a read's: state as of this slot */
    uint64_t status;
};

struct kv {
    uint64_t slot; /* the last applied */
    uint64_t values[KV_KEYS];
    uint64_t versions[KV_KEYS];
    struct {
        uint64_t number;
        struct kv_result result;
    } sessions[SIM_CLIENTS_MAX];
};

/* A slot's value: commands, then padding bytes of filler. */
struct paxos_value *kv_pack(const struct kv_command *commands, uint32_t count, uint32_t padding);
uint32_t kv_unpack(const struct paxos_value *value, const struct kv_command **ret_commands);

struct kv_result kv_apply(struct kv *kv, const struct kv_command *command);
struct kv_result kv_read(const struct kv *kv, uint32_t key);
uint64_t kv_digest(const struct kv *kv);

#endif
