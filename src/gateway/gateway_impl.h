/* The gateway's own state. Inside gateway/ only. */
#ifndef QUERN_GATEWAY_GATEWAY_IMPL_H
#define QUERN_GATEWAY_GATEWAY_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/digest.h"
#include "gateway/gateway.h"
#include "sched/client.h"

#define SIGNING_KEYS 8

struct signing_key {
    char scope[128];
    uint8_t key[SHA256_SIZE];
};

struct gateway {
    struct gateway_options options; /* strings are copies */
    struct sched_client *sched;
    struct server *server;
    uint64_t request_base;
    atomic_uint_fast64_t requests;
    uint64_t started_ms;
    pthread_mutex_t signing_lock; /* guards what follows */
    struct signing_key signing_keys[SIGNING_KEYS];
    unsigned signing_next;
};

void gateway_next_request_id(struct gateway *gateway, char *ret_id); /* 16 hex digits and a NUL */

#endif
