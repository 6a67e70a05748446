/* Many things read by a few threads, at all gateways. */
#include "base/assert.h"
#include "faults/workload.h"

#define READERS 6u

struct reading {
    struct workload *workload;
    workload_reader *read;
    const void *context;
    uint64_t count;
    _Atomic uint64_t next;
    atomic_uint readers;
};

static void *read_some(void *argument) {
    struct reading *reading = argument;
    struct workload *workload = reading->workload;
    struct worker reader = {.workload = workload, .number = WORKLOAD_WORKERS_MAX};
    unsigned number = atomic_fetch_add(&reading->readers, 1);
    http_init(&reader.http, &workload->config, number % workload->config.endpoint_count);
    rng_init(&reader.rng, number);
    for (uint64_t i; (i = atomic_fetch_add(&reading->next, 1)) < reading->count;)
        reading->read(&reader, reading->context, i);
    http_fini(&reader.http);
    return NULL;
}

void workload_read_each(struct workload *workload, uint64_t count, workload_reader *read,
                        const void *context) {
    struct reading reading = {
        .workload = workload, .read = read, .context = context, .count = count};
    pthread_t threads[READERS];
    for (unsigned i = 0; i < READERS; i++)
        if (pthread_create(&threads[i], NULL, read_some, &reading) != 0)
            panic("cannot start a thread");
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
}

void worker_turn(struct worker *worker) {
    const struct client_config *config = worker->http.config;
    unsigned gateway = (worker->http.gateway + 1) % config->endpoint_count;
    http_fini(&worker->http);
    http_init(&worker->http, config, gateway);
}
