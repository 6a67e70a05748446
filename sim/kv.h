/* The simulator's state machine: a few registers, and the newest commands with their results, so
 * that a command sent again is not carried out again: by the rule of core/catalog.h, with a window
 * so short that commands are forgotten all the time. Plain memory: copied and hashed whole. */
#ifndef QUERN_SIM_KV_H
#define QUERN_SIM_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "core/paxos.h"

#define KV_KEYS 4u
#define KV_WINDOW 16u /* commands that are remembered */
#define SIM_CLIENTS_MAX 12u

enum kv_kind { KV_READ, KV_WRITE, KV_CAS };
enum kv_status {
    KV_OK,
    KV_MISMATCH,
    KV_FORGOTTEN,
    KV_RETRY
}; /* RETRY: never from the state machine */

struct kv_command {
    uint64_t number; /* of the client, from 1 */
    uint64_t value;
    uint64_t expected; /* CAS */
    uint64_t since;    /* a slot that was applied before it was first sent */
    uint32_t client;
    uint32_t group;
    uint32_t key;
    uint32_t kind;
};

struct kv_result {
    uint64_t value;   /* before a write or CAS; what a read saw */
    uint64_t version; /* of the key afterwards: its writes are counted */
    uint64_t slot;    /* of the command; a read's: state as of this slot */
    uint64_t status;
};

struct kv {
    uint64_t slot; /* the last applied */
    uint64_t values[KV_KEYS];
    uint64_t versions[KV_KEYS];
    uint64_t forgotten; /* commands up to this slot are not all remembered */
    uint64_t next;      /* into the window */
    struct kv_seen {
        uint64_t client, number; /* 0: none */
        struct kv_result result;
    } seen[KV_WINDOW];
};

/* A slot's value: commands, then padding bytes of filler. */
struct paxos_value *kv_pack(const struct kv_command *commands, uint32_t count, uint32_t padding);
uint32_t kv_unpack(const struct paxos_value *value, const struct kv_command **ret_commands);

/* Of the slot after kv->slot. ret_new (may be NULL): it was carried out, now. */
struct kv_result kv_apply(struct kv *kv, const struct kv_command *command, bool *ret_new);
struct kv_result kv_read(const struct kv *kv, uint32_t key);
uint64_t kv_digest(const struct kv *kv);

#endif
