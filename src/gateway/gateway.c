/* The gateway role: started and stopped. */
#include "gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/gateway_impl.h"
#include "gateway/session.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/server.h"

#define THREADS_MAX 256
#define CONNECTIONS_MAX 8192

void gateway_next_request_id(struct gateway *gateway, char *ret_id) {
    uint64_t count = atomic_fetch_add(&gateway->requests, 1);
    uint64_t id = gateway->request_base + count * 0x9e3779b97f4a7c15u; /* odd: no two are equal */
    snprintf(ret_id, 17, "%016llX", (unsigned long long)id);
}

static struct gateway *gateway_free(struct gateway *gateway) {
    free((char *)(uintptr_t)gateway->options.access_key);
    free((char *)(uintptr_t)gateway->options.secret_key);
    free((char *)(uintptr_t)gateway->options.sandbox_reason);
    sched_client_free(gateway->sched);
    pthread_mutex_destroy(&gateway->signing_lock);
    free(gateway);
    return NULL;
}

static struct gateway *gateway_new(const struct gateway_options *options) {
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (gateway == NULL)
        return NULL;
    gateway->options = *options;
    gateway->options.access_key = strdup(options->access_key);
    gateway->options.secret_key = strdup(options->secret_key);
    gateway->options.sandbox_reason =
        strdup(options->sandbox_reason != NULL ? options->sandbox_reason : "");
    gateway->sched = sched_client_new(options->meta, options->rpc);
    gateway->started_ms = clock_wall_ms();
    random_bytes(&gateway->request_base, sizeof gateway->request_base);
    pthread_mutex_init(&gateway->signing_lock, NULL);
    if (gateway->options.access_key == NULL || gateway->options.secret_key == NULL ||
        gateway->options.sandbox_reason == NULL || gateway->sched == NULL)
        return gateway_free(gateway);
    return gateway;
}

int gateway_start(const struct gateway_options *options, struct gateway **ret_gateway,
                  struct err *err) {
    struct gateway *gateway = gateway_new(options);
    if (gateway == NULL) {
        close(options->listen_fd);
        return err_set(err, ERR_NOMEM, "gateway");
    }
    struct server_protocol protocol = {
        .context = gateway, .serve = session_serve, .closed = session_closed};
    struct server_options server_options = {
        .name = "http", .threads_max = THREADS_MAX, .connections_max = CONNECTIONS_MAX};
    int rc = server_start(options->listen_fd, &protocol, &server_options, &gateway->server, err);
    if (rc != 0) {
        gateway_free(gateway);
        return rc;
    }
    *ret_gateway = gateway;
    return 0;
}

struct gateway *gateway_stop(struct gateway *gateway) {
    if (gateway == NULL)
        return NULL;
    server_stop(gateway->server);
    return gateway_free(gateway);
}
