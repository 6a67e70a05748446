/* Where a client finds endpoints and keys. */
#ifndef QUERN_CLI_CLIENT_CONFIG_H
#define QUERN_CLI_CLIENT_CONFIG_H

#include "base/err.h"
#include "base/id.h"

#define CLIENT_ENDPOINTS_MAX 64u

struct client_endpoint {
    char *url;  /* "http://127.0.0.1:9000", no slash at its end */
    char *host; /* as the Host header has it: "127.0.0.1:9000" */
};

struct client_config {
    struct client_endpoint endpoints[CLIENT_ENDPOINTS_MAX];
    unsigned endpoint_count;
    char *access_key;
    char *secret_key;
};

/* Errors: as client_open(). What was read is freed by fini in any case. */
int client_config_read(struct client_config *config, struct err *err);
void client_config_fini(struct client_config *config);

#endif
