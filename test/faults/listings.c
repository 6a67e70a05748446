/* Listings of a window of registers, recorded in the history. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/codec.h"
#include "cli/reply.h"
#include "faults/body.h"
#include "faults/workload.h"
#include "os/clock.h"

#define LIST_TIMEOUT_MS 10000u

struct listing {
    FILE *line;
    bool truncated;
    size_t count;
    char key[WORKLOAD_PATH_SIZE]; /* of the element being read */
    uint64_t value;
};

static int take_element(void *context, const char *parent, const char *name, struct span text,
                        struct err *err) {
    struct listing *listing = context;
    if (strcmp(name, "IsTruncated") == 0)
        listing->truncated = span_is(text, "true");
    if (strcmp(parent, "Contents") == 0 && strcmp(name, "Key") == 0)
        snprintf(listing->key, sizeof listing->key, "%.*s", SPAN_ARGS(text));
    if (strcmp(parent, "Contents") == 0 && strcmp(name, "ETag") == 0) {
        uint8_t etag[MD5_SIZE];
        if (text.size != 2 * MD5_SIZE + 2 ||
            !hex_decode((struct span){text.data + 1, 2 * (size_t)MD5_SIZE}, etag, sizeof etag))
            return ERR_CORRUPT;
        listing->value = body_value(etag);
    }
    if (strcmp(name, "Contents") == 0) {
        char value[HISTORY_VALUE_SIZE];
        fprintf(listing->line, " %s=%s", listing->key, history_print_value(listing->value, value));
        listing->count++;
    }
    return 0;
}

static void record_listing(struct worker *worker, struct span prefix, uint64_t invoke_ns,
                           uint64_t return_ns, struct span items) {
    struct workload *workload = worker->workload;
    pthread_mutex_lock(&workload->lock);
    history_print_list(workload->history, invoke_ns, return_ns, worker->http.gateway + 1, prefix);
    fprintf(workload->history, "%.*s\n", SPAN_ARGS(items));
    pthread_mutex_unlock(&workload->lock);
}

static bool read_listing(struct worker *worker, struct span prefix, uint64_t invoke_ns,
                         uint64_t return_ns, struct span body) {
    _cleanup_(freep) char *items = NULL;
    size_t size = 0;
    struct listing listing = {.line = open_memstream(&items, &size)};
    struct err err = {0};
    if (listing.line == NULL)
        return false;
    int code = reply_read_xml(body, take_element, &listing, &err);
    fclose(listing.line);
    if (code == 0 && !listing.truncated) {
        record_listing(worker, prefix, invoke_ns, return_ns, (struct span){items, size});
        return true;
    }
    workload_note(worker->workload, "unexpected: a listing of %.*s: %s", SPAN_ARGS(prefix),
                  err_message(&err, code));
    pthread_mutex_lock(&worker->workload->lock);
    worker->workload->unexpected++;
    pthread_mutex_unlock(&worker->workload->lock);
    return false;
}

bool listing_read(struct worker *worker, uint64_t window) {
    char path[WORKLOAD_PATH_SIZE], prefix[WORKLOAD_PATH_SIZE];
    snprintf(path, sizeof path, "/%s", worker->workload->plan.bucket);
    snprintf(prefix, sizeof prefix, "r/%06" PRIu64 "/", window);
    const struct uri_param params[] = {{SPAN_LITERAL("list-type"), SPAN_LITERAL("2")},
                                       {SPAN_LITERAL("prefix"), span_of(prefix)}};
    const struct http_request request = {.method = "GET",
                                         .path = path,
                                         .params = params,
                                         .param_count = 2,
                                         .timeout_ms = LIST_TIMEOUT_MS};
    struct http_reply reply;
    uint64_t invoke_ns = clock_now_ns();
    int code = worker_attempt(worker, &request, &reply);
    uint64_t return_ns = clock_now_ns() + 1;
    return code == 0 && reply.status == 200 &&
           read_listing(worker, span_of(prefix), invoke_ns, return_ns, reply.body);
}
