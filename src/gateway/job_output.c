/* A job's output, streamed in input order while its tasks are done one after the other. */
#include "gateway/gateway_impl.h"
#include "gateway/jobs.h"
#include "gateway/request.h"
#include "os/clock.h"

#define PAGE_TASKS 64u
#define PAGE_BYTES_MAX ((size_t)32 << 20)
#define READ_MS_MAX 120000 /* of one chunk, client and all */

struct output {
    struct request *request;
    struct job_watch watch;
    uint32_t phase;
    uint32_t next;       /* the first task whose output was not sent yet */
    uint64_t skip_bytes; /* that the client has already */
    bool is_begun;
};

/* The head goes out with the first byte: until then a failure can still be told by its status. */
static int begin(struct output *output) {
    if (output->is_begun)
        return 0;
    output->is_begun = true;
    reply_start(output->request, 200);
    reply_header(output->request, "Content-Type", "application/octet-stream");
    return reply_begin_body(output->request, REPLY_LENGTH_UNKNOWN);
}

static int send(void *context, const void *data, size_t size) {
    struct output *output = context;
    int rc = begin(output);
    return rc != 0 || size == 0 ? rc : reply_body(output->request, data, size);
}

static int send_chunk(struct output *output, const Pb__ChunkRef *ref, uint64_t offset) {
    struct chunk_ref chunk = {.id = pb_id128(ref->id),
                              .length = ref->length,
                              .crc32c = ref->crc32c,
                              .ends_line = ref->ends_line};
    return store_read(output->request->gateway->options.store_client, &chunk, offset,
                      ref->length - offset, send, output, clock_deadline_ms(READ_MS_MAX),
                      &output->request->err);
}

/* How much of the next length bytes is to be left out. */
static uint64_t skip(struct output *output, uint64_t length) {
    uint64_t skipped = output->skip_bytes < length ? output->skip_bytes : length;
    output->skip_bytes -= skipped;
    return skipped;
}

static int send_result(struct output *output, const Pb__TaskResult *result) {
    struct span data = pb_span(result->inline_output);
    uint64_t offset = skip(output, data.size);
    int rc = offset < data.size ? send(output, data.data + offset, data.size - offset) : 0;
    for (size_t i = 0; i < result->n_output && rc == 0; i++) {
        offset = skip(output, result->output[i]->length);
        if (offset < result->output[i]->length)
            rc = send_chunk(output, result->output[i], offset);
    }
    return rc;
}

/* One page of tasks; *ret_more tells that another may follow at once. */
static int send_page(struct output *output, struct arena *arena, bool *ret_more) {
    Pb__Reply *reply;
    uint32_t first = output->next;
    int rc = job_list_tasks(output->request, output->watch.id, output->phase, first, PAGE_TASKS,
                            arena, &reply);
    for (size_t i = 0; rc == 0 && i < reply->n_tasks; i++) {
        const Pb__Task *task = reply->tasks[i];
        if (task->address == NULL || task->address->index != output->next || task->result == NULL ||
            task->state != PB__TASK_STATE__TASK_DONE)
            break;
        rc = send_result(output, task->result);
        output->next++;
    }
    *ret_more = output->next - first >= 1;
    return rc;
}

/* Of the done tasks of the phase those that come next. */
static int send_done(struct output *output, uint32_t done) {
    bool more = true;
    int rc = 0;
    while (more && rc == 0 && output->next < done) {
        struct arena arena;
        arena_init(&arena, PAGE_BYTES_MAX);
        rc = send_page(output, &arena, &more);
        arena_fini(&arena);
    }
    return rc;
}

/* Until the job is committed: the end of the stream says that it is all there, and final. */
static int send_all(struct output *output) {
    for (;;) {
        Pb__Job *job;
        int rc = job_watch_next(&output->watch, &job);
        if (rc != 0)
            return rc;
        output->phase = job->reduce_tasks > 0;
        Pb__JobState state = job->state;
        if (state == PB__JOB_STATE__JOB_FAILED || state == PB__JOB_STATE__JOB_CANCELLED)
            return err_set(&output->request->err, ERR_JOB_FAILED, "the job %s%s%s",
                           state == PB__JOB_STATE__JOB_FAILED ? "failed" : "was cancelled",
                           job->reason[0] != '\0' ? ": " : "", job->reason);
        rc = send_done(output, output->phase > 0 ? job->reduce_done : job->map_done);
        if (rc != 0 || state == PB__JOB_STATE__JOB_COMMITTED)
            return rc;
    }
}

int job_reply_output(struct request *request, const char *name) {
    struct output output = {.request = request};
    int rc = request_number(request, "offset", 0, INT64_MAX, &output.skip_bytes);
    if (rc != 0)
        return rc;
    rc = job_watch_open(&output.watch, request, name);
    if (rc == 0)
        rc = send_all(&output);
    if (rc == 0)
        rc = begin(&output);
    job_watch_close(&output.watch);
    return rc != 0 ? rc : reply_end_body(request);
}
