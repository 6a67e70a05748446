/* A load generator: one thread, one epoll, a number of keep-alive connections, each of which sends
 * the next request when the reply to its last one is whole. Reply bodies are counted and dropped
 * inside the kernel, so that the server and not the generator is measured. */
#ifndef QUERN_CLI_LOAD_H
#define QUERN_CLI_LOAD_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define LOAD_CONNECTIONS_MAX 1024u
#define LOAD_HEAD_BYTES_MAX 4096u
#define LOAD_LATENCY_BUCKETS 2048u

struct load_options {
    const char *const *addresses; /* HOST:PORT; connections go to each in turn */
    unsigned address_count;
    unsigned connections;
    uint64_t requests_max; /* 0: no limit; of the two one must be set */
    uint64_t duration_ms;  /* 0: no limit */
    uint64_t body_bytes;   /* of each request, random bytes */
    uint64_t reply_bytes;  /* what each reply must hold */
    /* The head of request number n with its empty line, at most LOAD_HEAD_BYTES_MAX; it is copied.
     */
    int (*head)(void *context, uint64_t number, struct span *ret_head, struct err *err);
    void *context;
};

struct load_result {
    uint64_t requests; /* answered as they should be */
    uint64_t failures; /* another status or length, or a lost connection */
    uint64_t elapsed_ns;
    uint64_t cpu_ns; /* the generator's own */
    uint64_t slowest_ns;
    uint64_t latency_counts[LOAD_LATENCY_BUCKETS]; /* see load_percentile_ns() */
    char first_failure[160];
};

/* Errors: no connection at the beginning, nothing moved for a minute, what head() returned. Failed
 * requests are counted, not errors, until there are a thousand of them. */
int load_run(const struct load_options *options, struct load_result *ret_result, struct err *err);

/* The latency that so many per mille of the good requests did not exceed, within 2 %. */
uint64_t load_percentile_ns(const struct load_result *result, unsigned per_mille);

/* For load_run: counts one latency. */
void load_count_latency(struct load_result *result, uint64_t latency_ns);

#endif
