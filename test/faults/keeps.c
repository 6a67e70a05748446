/* Objects that are written once and must be there, and equal, ever after. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "faults/body.h"
#include "faults/workload.h"
#include "os/clock.h"

#define BIG_TIMEOUT_MS 60000u
#define BIG_KEEPS_MAX 12u /* of a gateway; then the oldest goes */
#define READ_AGAIN_MS 60000u
#define LOST_ENOUGH 6u /* then the run has failed, and the others are not waited for */
#define HOPELESS_MS 1000u

static void print_path(const struct workload *workload, size_t index, char *path) {
    snprintf(path, WORKLOAD_PATH_SIZE, "/%s/k/%08zu", workload->plan.bucket, index);
}

/* Returns its index, or KEEPS_MAX when there are too many. */
static size_t add_keep(struct workload *workload, uint64_t seed, uint64_t size) {
    size_t index = KEEPS_MAX;
    pthread_mutex_lock(&workload->lock);
    if (workload->keep_count == workload->keep_room && workload->keep_room < KEEPS_MAX) {
        size_t room = workload->keep_room == 0 ? 1024 : workload->keep_room * 2;
        struct keep *keeps = realloc(workload->keeps, room * sizeof *keeps);
        if (keeps == NULL)
            panic("out of memory");
        workload->keeps = keeps;
        workload->keep_room = room;
    }
    if (workload->keep_count < workload->keep_room) {
        index = workload->keep_count++;
        workload->keeps[index] = (struct keep){.seed = seed, .size = size};
    }
    pthread_mutex_unlock(&workload->lock);
    return index;
}

static struct keep get_keep(struct workload *workload, size_t index) {
    pthread_mutex_lock(&workload->lock);
    struct keep keep = workload->keeps[index];
    pthread_mutex_unlock(&workload->lock);
    return keep;
}

/* The index of the keep, or KEEPS_MAX when it was not acknowledged. */
static size_t put_keep(struct worker *worker, uint64_t size, uint64_t timeout_ms) {
    struct workload *workload = worker->workload;
    char path[WORKLOAD_PATH_SIZE];
    uint64_t seed = worker_seed(worker);
    size_t index = add_keep(workload, seed, size);
    if (index == KEEPS_MAX)
        return index;
    body_fill(seed, worker->bytes, size);
    print_path(workload, index, path);
    const struct http_request request = {
        .method = "PUT", .path = path, .body = {worker->bytes, size}, .timeout_ms = timeout_ms};
    struct http_reply reply;
    int code = worker_attempt(worker, &request, &reply);
    if (code == ERR_REFUSED)
        clock_sleep_until(clock_deadline_ms(20));
    if (code != 0 || reply.status != 200)
        return KEEPS_MAX;
    pthread_mutex_lock(&workload->lock);
    workload->keeps[index].acknowledged = true;
    pthread_mutex_unlock(&workload->lock);
    workload_note(workload, "kept %s %" PRIu64 " bytes by gateway %u", path, size,
                  worker->http.gateway + 1);
    return index;
}

void keep_step(struct worker *worker) {
    uint64_t draw = rng_below(&worker->rng, 10);
    uint64_t size = draw < 6   ? BODY_BYTES_MIN + rng_below(&worker->rng, 4000)
                    : draw < 9 ? BODY_BYTES_MIN + rng_below(&worker->rng, 16u << 10)
                               : (16u << 10) + rng_below(&worker->rng, 112u << 10);
    put_keep(worker, size, worker->workload->plan.timeout_ms);
}

/* ---- reading ---- */

static void lose(struct workload *workload, size_t index, const char *why) {
    char path[WORKLOAD_PATH_SIZE];
    print_path(workload, index, path);
    workload_note(workload, "lost %s: %s", path, why);
    pthread_mutex_lock(&workload->lock);
    workload->lost += !workload->keeps[index].lost;
    workload->keeps[index].lost = true;
    pthread_mutex_unlock(&workload->lock);
}

static bool is_hopeless(struct workload *workload) {
    pthread_mutex_lock(&workload->lock);
    bool is = workload->lost >= LOST_ENOUGH;
    pthread_mutex_unlock(&workload->lock);
    return is;
}

/* One attempt; NULL when it is as it must be, "" when there was no answer, else what is wrong. */
static const char *read_once(struct worker *worker, size_t index, const struct keep *keep) {
    char path[WORKLOAD_PATH_SIZE];
    print_path(worker->workload, index, path);
    const struct http_request request = {
        .method = "GET",
        .path = path,
        .timeout_ms = is_hopeless(worker->workload) ? HOPELESS_MS : BIG_TIMEOUT_MS};
    struct http_reply reply;
    int code = worker_attempt(worker, &request, &reply);
    if (code != 0 || reply.status >= 500)
        return "";
    if (reply.status == 404)
        return "it is not there";
    if (reply.status != 200) {
        worker_unexpected(worker, &request, &reply);
        return "";
    }
    return reply.body.size == keep->size && body_is(keep->seed, reply.body) ? NULL
                                                                            : "it has other bytes";
}

/* Through one gateway after the other until there is an answer. */
static void verify_one(struct worker *worker, const void *context, uint64_t number) {
    struct workload *workload = worker->workload;
    size_t index = ((const size_t *)context)[number];
    uint64_t deadline_ns = clock_deadline_ms(READ_AGAIN_MS);
    struct keep keep = get_keep(workload, index);
    const char *story = read_once(worker, index, &keep);
    while (story != NULL && *story == '\0' && clock_now_ns() < deadline_ns &&
           !is_hopeless(workload)) {
        clock_sleep_until(clock_deadline_ms(20));
        worker_turn(worker);
        story = read_once(worker, index, &keep);
    }
    keep = get_keep(workload, index); /* its owner may have deleted it meanwhile */
    if (story != NULL && !keep.deleting)
        lose(workload, index, *story != '\0' ? story : "it cannot be read");
    pthread_mutex_lock(&workload->lock);
    workload->keeps[index].verified = true;
    pthread_mutex_unlock(&workload->lock);
}

/* Returns how many are in *ret_indices, which the caller frees. */
static size_t choose_keeps(struct workload *workload, bool all, size_t **ret_indices) {
    size_t count = 0;
    pthread_mutex_lock(&workload->lock);
    size_t *indices = calloc(workload->keep_count + 1, sizeof *indices);
    if (indices == NULL)
        panic("out of memory");
    for (size_t i = 0; i < workload->keep_count; i++) {
        const struct keep *keep = &workload->keeps[i];
        if (keep->acknowledged && !keep->deleting && (all || !keep->verified))
            indices[count++] = i;
    }
    pthread_mutex_unlock(&workload->lock);
    *ret_indices = indices;
    return count;
}

uint64_t keeps_verify(struct workload *workload, bool all) {
    size_t *indices;
    size_t count = choose_keeps(workload, all, &indices);
    workload_read_each(workload, count, verify_one, indices);
    free(indices);
    return count;
}

/* ---- big ones ---- */

/* One in eight does not fit into one chunk. */
static uint64_t draw_big_size(struct rng *rng) {
    return rng_below(rng, 8) == 0 ? (65u << 20) + rng_below(rng, 5u << 20)
                                  : (4u << 20) + rng_below(rng, 8u << 20);
}

/* Its big keeps, oldest first, into indices; returns how many. */
static size_t find_big(struct workload *workload, const struct worker *worker, size_t *indices,
                       size_t room) {
    size_t count = 0;
    pthread_mutex_lock(&workload->lock);
    for (size_t i = 0; i < workload->keep_count && count < room; i++) {
        const struct keep *keep = &workload->keeps[i];
        unsigned owner = (unsigned)(keep->seed >> 36 & 0xfff) - 1;
        if (keep->acknowledged && !keep->deleting && keep->size >= 4u << 20 &&
            owner == worker->number)
            indices[count++] = i;
    }
    pthread_mutex_unlock(&workload->lock);
    return count;
}

/* Whether or not it succeeds, nothing is promised of it from now on. */
static void delete_keep(struct worker *worker, size_t index) {
    char path[WORKLOAD_PATH_SIZE];
    struct http_reply reply;
    pthread_mutex_lock(&worker->workload->lock);
    worker->workload->keeps[index].deleting = true;
    pthread_mutex_unlock(&worker->workload->lock);
    print_path(worker->workload, index, path);
    const struct http_request request = {
        .method = "DELETE", .path = path, .timeout_ms = BIG_TIMEOUT_MS};
    worker_attempt(worker, &request, &reply);
}

void keep_big_step(struct worker *worker) {
    struct workload *workload = worker->workload;
    size_t indices[BIG_KEEPS_MAX + 2];
    put_keep(worker, draw_big_size(&worker->rng), BIG_TIMEOUT_MS);
    size_t count = find_big(workload, worker, indices, BIG_KEEPS_MAX + 2);
    if (count == 0)
        return;
    if (count > BIG_KEEPS_MAX)
        delete_keep(worker, indices[0]);
    size_t index = indices[count - 1 - rng_below(&worker->rng, count > 4 ? count - 1 : 1)];
    struct keep keep = get_keep(workload, index);
    const char *story = keep.deleting ? NULL : read_once(worker, index, &keep);
    if (story != NULL && *story != '\0')
        lose(workload, index, story);
}
