/* The gateway role: S3 and the admin API over HTTP. */
#ifndef QUERN_GATEWAY_GATEWAY_H
#define QUERN_GATEWAY_GATEWAY_H

#include "meta/client.h"
#include "meta/meta.h"
#include "rpc/rpc.h"
#include "store/client.h"
#include "store/store.h"

struct gateway;

struct gateway_options {
    int listen_fd;          /* ownership passes */
    const char *access_key; /* the root user's; copied */
    const char *secret_key;
    uint32_t self; /* node id */
    struct meta_client *meta;
    struct store_client *store_client;
    struct rpc_client *rpc;
    struct meta *local_meta;   /* may be NULL; for status */
    struct store *local_store; /* may be NULL; for status */
    int sandbox_level;
    const char *sandbox_reason;
};

int gateway_start(const struct gateway_options *options, struct gateway **ret_gateway,
                  struct err *err);
struct gateway *gateway_stop(struct gateway *gateway);

#endif
