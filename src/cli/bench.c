/* quern bench: how many requests a server answers, and how fast. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/client_config.h"
#include "cli/command.h"
#include "cli/load.h"
#include "cli/options.h"
#include "os/clock.h"
#include "wire/sigv4.h"

#define KEYS_MAX 1000000u
#define SIGNED_FOR_S 300 /* then a head is signed anew */

struct values {
    uint64_t connections;
    uint64_t duration_ms;
    uint64_t count;
    uint64_t size;
    uint64_t keys;
    const char *url;
    bool json;
};

static const struct option_row options[] = {
    {"connections", 'c', OPTION_NUMBER, offsetof(struct values, connections), "N",
     "connections at the same time (default 16)"},
    {"duration", 'd', OPTION_DURATION, offsetof(struct values, duration_ms), "T",
     "how long (default 10s, or what --count takes)"},
    {"count", 'n', OPTION_NUMBER, offsetof(struct values, count), "N", "stop after N requests"},
    {"size", 's', OPTION_BYTES, offsetof(struct values, size), "BYTES",
     "of an object (default 4K)"},
    {"keys", 'k', OPTION_NUMBER, offsetof(struct values, keys), "N",
     "different objects, used in turn (default 1000)"},
    {"url", 0, OPTION_TEXT, offsetof(struct values, url), "URL",
     "another web server, http://HOST:PORT, without signatures"},
    {"json", 0, OPTION_FLAG, offsetof(struct values, json), NULL, "print a JSON object"},
    {NULL},
};

static const struct usage usage = {
    .name = "bench",
    .operands = "put|get PLACE",
    .operands_min = 2,
    .operands_max = 2,
    .about =
        "Puts or gets objects PLACE000000, PLACE000001, ... as fast as the server answers, and "
        "prints rates and latencies. Connections go to all endpoints in turn. Put them first, then "
        "get them with the same --keys and "
        "--size.",
    .example = "quern bench put logs/x- --size 4K --keys 1000 --count 1000\n"
               "quern bench get logs/x- --size 4K --keys 1000 --connections 64 --duration 10s",
    .options = options,
};

struct key {
    char *head;
    size_t head_size;
    int64_t signed_s;
};

/* What the heads of requests are made of. */
struct bench {
    const char *method;
    struct place place;
    const char *hosts[CLIENT_ENDPOINTS_MAX]; /* that of the Host header is the first */
    unsigned host_count;
    const struct client_config *config; /* NULL: unsigned */
    uint64_t body_bytes;
    struct key *keys;
    uint64_t key_count;
};

static void print_signature(const struct bench *bench, const char *path, int64_t now_s,
                            struct arena *arena, struct buf *head) {
    const struct sigv4_credentials credentials = {span_of(bench->config->access_key),
                                                  span_of(bench->config->secret_key),
                                                  SPAN_LITERAL("us-east-1"), SPAN_LITERAL("s3")};
    const struct sigv4_request request = {
        .method = bench->method, .host = span_of(bench->hosts[0]), .path = span_of(path)};
    struct sigv4_signed made;
    if (sigv4_sign(&request, &credentials, NULL, now_s, arena, &made, NULL) != 0) {
        head->failed = true;
        return;
    }
    buf_printf(head,
               "%s %s HTTP/1.1\r\nHost: %s\r\nx-amz-date: %s\r\nx-amz-content-sha256: %s\r\n"
               "Authorization: %s\r\n",
               bench->method, made.target, bench->hosts[0], made.amz_date, made.content_sha256,
               made.authorization);
}

static int make_head(const struct bench *bench, uint64_t number, struct key *key, struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    _cleanup_(buf_finip) struct buf head = {.limit = LOAD_HEAD_BYTES_MAX};
    char path[CLIENT_PATH_SIZE + 24];
    arena_init(&arena, 65536);
    snprintf(path, sizeof path, "/%s/%s%06" PRIu64, bench->place.bucket, bench->place.key, number);
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    if (bench->config != NULL) {
        print_signature(bench, path, now_s, &arena, &head);
    } else {
        buf_printf(&head, "%s ", bench->method);
        uri_encode(&head, span_of(path), true /* keep slashes */);
        buf_printf(&head, " HTTP/1.1\r\nHost: %s\r\n", bench->hosts[0]);
    }
    if (strcmp(bench->method, "PUT") == 0)
        buf_printf(&head, "Content-Length: %" PRIu64 "\r\n", bench->body_bytes);
    buf_puts(&head, "\r\n");
    if (head.failed)
        return err_set(err, ERR_LIMIT, "the name is too long");
    free(key->head);
    *key = (struct key){.head = head.data, .head_size = head.size, .signed_s = now_s};
    head = BUF_INIT;
    return 0;
}

/* Signing costs more than sending: a head is made once and used again until its date is too old. */
static int next_head(void *context, uint64_t number, struct span *ret_head, struct err *err) {
    struct bench *bench = context;
    struct key *key = &bench->keys[number % bench->key_count];
    bool is_old = (int64_t)(clock_wall_ms() / 1000) - key->signed_s > SIGNED_FOR_S;
    int code =
        key->head == NULL || is_old ? make_head(bench, number % bench->key_count, key, err) : 0;
    if (code == 0)
        *ret_head = (struct span){key->head, key->head_size};
    return code;
}

static void free_keys(struct bench *bench) {
    for (uint64_t i = 0; bench->keys != NULL && i < bench->key_count; i++)
        free(bench->keys[i].head);
    free(bench->keys);
}

static void print_text(const struct load_result *result, double seconds, double bytes) {
    printf("%" PRIu64 " requests in %.2f s, %" PRIu64 " failed\n", result->requests, seconds,
           result->failures);
    printf("%.1f requests/s, %.1f MB/s\n", (double)result->requests / seconds,
           bytes / seconds / 1e6);
    printf("latency: half within %.3f ms, 99 %% within %.3f ms, slowest %.3f ms\n",
           (double)load_percentile_ns(result, 500) / 1e6,
           (double)load_percentile_ns(result, 990) / 1e6, (double)result->slowest_ns / 1e6);
    printf("this client took %.2f of a core\n", (double)result->cpu_ns / 1e9 / seconds);
}

static void print_json(const struct load_result *result, double seconds, double bytes) {
    json_t *object = json_pack(
        "{sI sI sf sf sf sf sf sf sf}", "requests", (json_int_t)result->requests, "failures",
        (json_int_t)result->failures, "seconds", seconds, "requests_per_second",
        (double)result->requests / seconds, "megabytes_per_second", bytes / seconds / 1e6, "p50_ms",
        (double)load_percentile_ns(result, 500) / 1e6, "p99_ms",
        (double)load_percentile_ns(result, 990) / 1e6, "slowest_ms",
        (double)result->slowest_ns / 1e6, "client_cores", (double)result->cpu_ns / 1e9 / seconds);
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(object);
}

static int run(struct bench *bench, const struct values *values, bool is_put) {
    struct err err = {0};
    struct load_result result;
    const struct load_options load = {.addresses = bench->hosts,
                                      .address_count = bench->host_count,
                                      .connections = (unsigned)values->connections,
                                      .requests_max = values->count,
                                      .duration_ms = values->duration_ms,
                                      .body_bytes = bench->body_bytes,
                                      .reply_bytes = is_put ? 0 : values->size,
                                      .head = next_head,
                                      .context = bench};
    int code = load_run(&load, &result, &err);
    if (code != 0)
        return options_fail(&usage, &err, code);
    double seconds = (double)result.elapsed_ns / 1e9,
           bytes = (double)result.requests * (double)values->size;
    (values->json ? print_json : print_text)(&result, seconds, bytes);
    if (result.failures == 0)
        return CLI_OK;
    err_set(&err, ERR_IO, "%" PRIu64 " requests failed; the first: %s", result.failures,
            result.first_failure);
    return options_fail(&usage, &err, ERR_IO);
}

static int check(struct values *values, const char *method) {
    if (strcmp(method, "put") != 0 && strcmp(method, "get") != 0)
        return options_misuse(&usage, "\"%s\" is neither put nor get", method);
    if (values->connections < 1 || values->connections > LOAD_CONNECTIONS_MAX)
        return options_misuse(&usage, "--connections must be between 1 and %u",
                              LOAD_CONNECTIONS_MAX);
    if (values->keys < 1 || values->keys > KEYS_MAX)
        return options_misuse(&usage, "--keys must be between 1 and %u", KEYS_MAX);
    if (values->url != NULL && strncmp(values->url, "http://", 7) != 0)
        return options_misuse(&usage, "--url must begin with http://");
    if (values->duration_ms == 0 && values->count == 0)
        values->duration_ms = 10000;
    return OPTIONS_GO;
}

/* The url's, or those of all endpoints; false when one is not plain HTTP. */
static bool take_hosts(struct bench *bench, const char *url) {
    if (url != NULL) {
        bench->hosts[bench->host_count++] = url + 7;
        return true;
    }
    for (unsigned i = 0; i < bench->config->endpoint_count; i++) {
        const struct client_endpoint *endpoint = &bench->config->endpoints[i];
        if (strncmp(endpoint->url, "http://", 7) != 0)
            return false;
        bench->hosts[bench->host_count++] = endpoint->host;
    }
    return true;
}

int cli_bench(int argc, char **argv) {
    struct values values = {.connections = 16, .size = 4096, .keys = 1000};
    struct operands operands;
    int status = options_parse(&usage, argc, argv, &values, &operands);
    if (status == OPTIONS_GO)
        status = check(&values, operands.words[0]);
    if (status != OPTIONS_GO)
        return status;
    struct err err = {0};
    _cleanup_(client_config_fini) struct client_config config = {0};
    _cleanup_(free_keys) struct bench bench = {.key_count = values.keys};
    bool is_put = strcmp(operands.words[0], "put") == 0;
    int code = client_parse_place(operands.words[1], &bench.place, &err);
    if (code == 0 && values.url == NULL)
        code = client_config_read(&config, &err);
    if (code != 0)
        return options_fail(&usage, &err, code);
    bench.method = is_put ? "PUT" : "GET";
    bench.body_bytes = is_put ? values.size : 0;
    bench.config = values.url == NULL ? &config : NULL;
    if (!take_hosts(&bench, values.url))
        return options_misuse(&usage, "the endpoint must begin with http://");
    bench.keys = calloc(values.keys, sizeof *bench.keys);
    if (bench.keys == NULL) {
        err_set(&err, ERR_NOMEM, "out of memory");
        return options_fail(&usage, &err, ERR_NOMEM);
    }
    return run(&bench, &values, is_put);
}
