/* Operations on registers, recorded in the history as they were sent and answered. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/codec.h"
#include "faults/body.h"
#include "faults/workload.h"
#include "os/clock.h"

#define HOT_KEYS 12u
#define READ_AGAIN_MS 60000u
#define INLINE_BYTES_MAX (16u << 10)

struct register_name {
    uint64_t window;
    uint32_t key;
};

static const char *print_key(struct register_name name, char key[WORKLOAD_PATH_SIZE]) {
    snprintf(key, WORKLOAD_PATH_SIZE, "r/%06" PRIu64 "/%03u", name.window, name.key);
    return key;
}

static struct register_name choose(struct worker *worker) {
    struct workload *workload = worker->workload;
    uint64_t window =
        (clock_now_ns() - workload->start_ns) / (workload->plan.window_ms * NS_PER_MS);
    bool is_hot = rng_below(&worker->rng, 2) == 0;
    uint64_t bound = is_hot && workload->plan.keys > HOT_KEYS ? HOT_KEYS : workload->plan.keys;
    return (struct register_name){window, (uint32_t)rng_below(&worker->rng, bound)};
}

/* A third are impatient, so that a gateway that hangs is asked again and again meanwhile: it will
 * answer the last of them when it wakes, with what it knew before it slept. */
static uint64_t draw_timeout(struct worker *worker) {
    uint64_t timeout_ms = worker->workload->plan.timeout_ms;
    return rng_below(&worker->rng, 3) == 0 ? timeout_ms / 10 + 1 : timeout_ms;
}

/* ---- ETags that were seen, for conditions that have a chance ---- */

static uint8_t *seen_at(struct workload *workload, struct register_name name) {
    return workload->seen[name.window % 2][name.key];
}

static void note_seen(struct workload *workload, struct register_name name,
                      const uint8_t etag[MD5_SIZE]) {
    pthread_mutex_lock(&workload->lock);
    memcpy(seen_at(workload, name), etag, MD5_SIZE);
    pthread_mutex_unlock(&workload->lock);
}

/* ---- one operation ---- */

struct operation {
    struct register_name name;
    struct history_record record;
    bool is_head;
    uint8_t etag[MD5_SIZE]; /* of what is written */
    char key[WORKLOAD_PATH_SIZE];
    char path[WORKLOAD_PATH_SIZE];
    char condition[2 * MD5_SIZE + 3];
    struct http1_header header;
    struct http_request request;
};

static enum linear_kind draw_kind(struct rng *rng) {
    uint64_t draw = rng_below(rng, 100);
    return draw < 36   ? LINEAR_READ
           : draw < 60 ? LINEAR_PUT
           : draw < 76 ? LINEAR_PUT_IF_MATCH
           : draw < 85 ? LINEAR_PUT_IF_ABSENT
           : draw < 95 ? LINEAR_DELETE
                       : LINEAR_DELETE_IF_MATCH;
}

/* Mostly small; one in ten is larger than what the catalogue keeps in its record. */
static size_t draw_size(struct rng *rng) {
    uint64_t draw = rng_below(rng, 10);
    return draw < 7   ? BODY_BYTES_MIN + rng_below(rng, 1000)
           : draw < 9 ? 1000 + rng_below(rng, INLINE_BYTES_MAX - 1000)
                      : INLINE_BYTES_MAX + 1 + rng_below(rng, 64u << 10);
}

static void set_body(struct worker *worker, struct operation *operation) {
    size_t size = draw_size(&worker->rng);
    body_fill(worker_seed(worker), worker->bytes, size);
    operation->request.body = (struct span){worker->bytes, size};
    body_etag(operation->request.body, operation->etag);
    operation->record.op.value = body_value(operation->etag);
}

static void set_condition(struct worker *worker, struct operation *operation) {
    if (operation->record.op.kind == LINEAR_PUT_IF_ABSENT) {
        operation->header = (struct http1_header){SPAN_LITERAL("If-None-Match"), SPAN_LITERAL("*")};
    } else {
        uint8_t etag[MD5_SIZE];
        char hex[2 * MD5_SIZE + 1];
        pthread_mutex_lock(&worker->workload->lock);
        memcpy(etag, seen_at(worker->workload, operation->name), sizeof etag);
        pthread_mutex_unlock(&worker->workload->lock);
        operation->record.op.expected = body_value(etag);
        snprintf(operation->condition, sizeof operation->condition, "\"%s\"",
                 hex_encode(etag, sizeof etag, hex));
        operation->header =
            (struct http1_header){SPAN_LITERAL("If-Match"), span_of(operation->condition)};
    }
    operation->request.headers = &operation->header;
    operation->request.header_count = 1;
}

static void fill(struct worker *worker, struct operation *operation, struct register_name name,
                 enum linear_kind kind) {
    const struct workload *workload = worker->workload;
    bool is_write =
        kind == LINEAR_PUT || kind == LINEAR_PUT_IF_MATCH || kind == LINEAR_PUT_IF_ABSENT;
    *operation = (struct operation){.name = name};
    snprintf(operation->path, sizeof operation->path, "/%s/%s", workload->plan.bucket,
             print_key(name, operation->key));
    operation->record.key = span_of(operation->key);
    operation->record.op.kind = kind;
    operation->record.op.tag = worker->http.gateway + 1;
    operation->request =
        (struct http_request){.path = operation->path, .timeout_ms = draw_timeout(worker)};
    if (kind == LINEAR_READ)
        operation->is_head = rng_below(&worker->rng, 4) == 0;
    operation->request.method = is_write              ? "PUT"
                                : kind != LINEAR_READ ? "DELETE"
                                : operation->is_head  ? "HEAD"
                                                      : "GET";
    if (is_write)
        set_body(worker, operation);
    if (kind != LINEAR_READ && kind != LINEAR_PUT && kind != LINEAR_DELETE)
        set_condition(worker, operation);
}

/* ---- answers ---- */

static void tell_corrupt(struct worker *worker, const struct operation *operation,
                         const char *what) {
    workload_note(worker->workload, "corrupt: %s %s by gateway %u: %s", operation->request.method,
                  operation->key, worker->http.gateway + 1, what);
    pthread_mutex_lock(&worker->workload->lock);
    worker->workload->corrupt++;
    pthread_mutex_unlock(&worker->workload->lock);
}

/* A key's absence, not the bucket's. HEAD does not tell. */
static bool is_no_key(const struct http_reply *reply) {
    return reply->status == 404 &&
           (reply->body.size == 0 ||
            memmem(reply->body.data, reply->body.size, "NoSuchKey", 9) != NULL);
}

static enum linear_outcome take_value(struct worker *worker, struct operation *operation,
                                      const struct http_reply *reply) {
    uint8_t etag[MD5_SIZE];
    if (!reply->has_etag) {
        tell_corrupt(worker, operation, "no ETag");
        return LINEAR_UNKNOWN;
    }
    body_etag(reply->body, etag);
    if (strcmp(operation->request.method, "GET") == 0 &&
        memcmp(etag, reply->etag, sizeof etag) != 0)
        tell_corrupt(worker, operation, "the bytes are not those of the ETag");
    if (strcmp(operation->request.method, "PUT") == 0) {
        if (memcmp(operation->etag, reply->etag, sizeof etag) != 0)
            tell_corrupt(worker, operation, "another ETag than that of the bytes sent");
    } else {
        operation->record.op.value = body_value(reply->etag);
    }
    note_seen(worker->workload, operation->name, reply->etag);
    return LINEAR_DONE;
}

static enum linear_outcome classify(struct worker *worker, struct operation *operation,
                                    const struct http_reply *reply) {
    enum linear_kind kind = operation->record.op.kind;
    bool is_delete = kind == LINEAR_DELETE || kind == LINEAR_DELETE_IF_MATCH;
    if (reply->status == 200 && !is_delete)
        return take_value(worker, operation, reply);
    if (reply->status == 204 && is_delete)
        return LINEAR_DONE;
    if (reply->status == 412 && kind != LINEAR_READ && kind != LINEAR_PUT && kind != LINEAR_DELETE)
        return LINEAR_REFUSED;
    if (is_no_key(reply) && kind == LINEAR_READ)
        return LINEAR_DONE; /* absent */
    if (is_no_key(reply) && (kind == LINEAR_PUT_IF_MATCH || kind == LINEAR_DELETE_IF_MATCH))
        return LINEAR_MISSING;
    if (reply->status < 500)
        worker_unexpected(worker, &operation->request, reply);
    return LINEAR_UNKNOWN;
}

/* False when nothing was sent. */
static bool perform(struct worker *worker, struct operation *operation) {
    struct linear_op *op = &operation->record.op;
    struct http_reply reply;
    op->invoke_ns = clock_now_ns();
    int code = worker_attempt(worker, &operation->request, &reply);
    op->return_ns = clock_now_ns() + 1; /* later than the invocation on any clock */
    if (code == ERR_REFUSED) {
        clock_sleep_until(clock_deadline_ms(20));
        return false;
    }
    op->outcome = code == 0 ? classify(worker, operation, &reply) : LINEAR_UNKNOWN;
    pthread_mutex_lock(&worker->workload->lock);
    history_print(worker->workload->history, &operation->record);
    pthread_mutex_unlock(&worker->workload->lock);
    return true;
}

/* ---- steps ---- */

void register_step(struct worker *worker) {
    struct operation operation;
    struct register_name name = choose(worker);
    if (rng_below(&worker->rng, 200) == 0) {
        listing_read(worker, name.window);
        return;
    }
    fill(worker, &operation, name, draw_kind(&worker->rng));
    perform(worker, &operation);
}

/* ---- the end ---- */

/* Once one could not be read in a minute the others are not waited for. */
static bool may_try_again(struct worker *worker, uint64_t deadline_ns) {
    if (clock_now_ns() < deadline_ns && !atomic_load(&worker->workload->unreadable)) {
        clock_sleep_until(clock_deadline_ms(20));
        worker_turn(worker);
        return true;
    }
    return false;
}

static bool read_register(struct worker *worker, struct register_name name) {
    struct operation operation;
    fill(worker, &operation, name, LINEAR_READ);
    return perform(worker, &operation) && operation.record.op.outcome == LINEAR_DONE;
}

static void read_again(struct worker *worker, const void *context, uint64_t number) {
    uint64_t deadline_ns = clock_deadline_ms(READ_AGAIN_MS), keys = *(const uint64_t *)context;
    struct register_name name = {number / keys, (uint32_t)(number % keys)};
    bool is_listed = name.key > 0, is_read = false;
    do {
        is_listed = is_listed || listing_read(worker, name.window);
        is_read = is_listed && (is_read || read_register(worker, name));
    } while (!is_read && may_try_again(worker, deadline_ns));
    if (!is_read && !atomic_exchange(&worker->workload->unreadable, true))
        workload_note(worker->workload, "unreadable: register %u of window %" PRIu64, name.key,
                      name.window);
}

bool registers_read_all(struct workload *workload) {
    uint64_t windows =
        (clock_now_ns() - workload->start_ns) / (workload->plan.window_ms * NS_PER_MS) + 1;
    workload_read_each(workload, windows * workload->plan.keys, read_again, &workload->plan.keys);
    return !atomic_load(&workload->unreadable);
}
