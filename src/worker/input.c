/* Choosing the way of an input, and carrying it. */
#include "worker/input.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"
#include "os/file.h"
#include "worker/records.h"

#define FILE_BYTES_MAX ((uint64_t)256 << 20) /* more goes through a pipe */
#define FILE_MS 120000u

struct input {
    struct store_client *store;
    struct input_plan plan;
    uint64_t deadline_ns;
    struct input_counts counts;
    int fd; /* the task's end */
    bool owns_fd;
    int pipe_fd; /* ours */
    bool feeding;
    pthread_t feeder;
    int feed_code;
    struct err feed_err;
};

struct file_sink {
    int fd;
    uint64_t offset;
    struct err *err;
};

static int write_to_file(void *context, const void *data, size_t size) {
    struct file_sink *sink = context;
    int code = file_write_at(sink->fd, data, size, sink->offset, sink->err);
    if (code == 0)
        sink->offset += size;
    return code;
}

/* The task may stop reading (head): that ends the feed, and is no failure. */
#define FEED_ENOUGH 1

static int write_to_pipe(void *context, const void *data, size_t size) {
    int fd = *(const int *)context;
    for (const char *next = data; size > 0;) {
        ssize_t written = write(fd, next, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno == EPIPE ? FEED_ENOUGH : ERR_IO;
        next += written;
        size -= (size_t)written;
    }
    return 0;
}

static bool is_local(const struct input_plan *plan, struct id128 chunk) {
    uint32_t nodes[PLACE_REPLICAS_MAX];
    unsigned count = place_owners(plan->map, place_slice_of(plan->map, chunk), nodes);
    for (unsigned i = 0; i < count; i++)
        if (nodes[i] == plan->self)
            return true;
    return false;
}

static void count_bytes(struct input *input, struct id128 chunk, uint64_t bytes) {
    *(is_local(&input->plan, chunk) ? &input->counts.local_bytes : &input->counts.remote_bytes) +=
        bytes;
}

/* [offset, offset + length) of a part to the sink. */
static int read_part(struct input *input, const struct input_part *part, uint64_t offset,
                     uint64_t length, store_sink *sink, void *context, struct err *err) {
    if (part->data.size > 0)
        return sink(context, part->data.data + offset, length);
    count_bytes(input, part->chunk.id, length);
    return store_read(input->store, &part->chunk, offset, length, sink, context, input->deadline_ns,
                      err);
}

static uint64_t part_bytes(const struct input_part *part) {
    return part->data.size > 0 ? part->data.size : part->chunk.length;
}

static int copy_parts(struct input *input, store_sink *sink, void *context, struct err *err) {
    const struct input_plan *plan = &input->plan;
    int code = 0;
    for (unsigned i = 0; i < plan->count && code == 0; i++)
        if (part_bytes(&plan->parts[i]) > 0)
            code = read_part(input, &plan->parts[i], 0, part_bytes(&plan->parts[i]), sink, context,
                             err);
    return code;
}

/* Reads a part that follows as far as the last record needs it. */
static int copy_rest(struct input *input, const struct input_part *part, struct records *records,
                     struct err *err) {
    const uint64_t bytes = part_bytes(part);
    int code = 0;
    for (uint64_t at = 0, step; at < bytes && code == 0 && !records_complete(records); at += step) {
        step = bytes - at < CHUNK_BLOCK_BYTES ? bytes - at : CHUNK_BLOCK_BYTES;
        code = read_part(input, part, at, step, records_sink, records, err);
    }
    return code;
}

/* A record belongs to the task in whose parts its first byte lies. */
static int copy_records(struct input *input, store_sink *sink, void *context, struct err *err) {
    const struct input_plan *plan = &input->plan;
    struct records records;
    records_init(&records, plan->inside_record, plan->offset,
                 plan->record_bytes_max != 0 ? plan->record_bytes_max : INPUT_RECORD_MAX_DEFAULT,
                 sink, context);
    int code = copy_parts(input, records_sink, &records, err);
    records_end_of_split(&records);
    for (unsigned i = plan->count; i < plan->part_count && code == 0; i++)
        code = copy_rest(input, &plan->parts[i], &records, err);
    if (records.too_long)
        return err_set(err, ERR_LIMIT, "%s: the record at byte %llu is longer than %llu bytes",
                       plan->name != NULL ? plan->name : "input",
                       (unsigned long long)records.record_offset,
                       (unsigned long long)records.record_bytes_max);
    return code;
}

static int fill_file(struct input *input, int scratch_fd, struct err *err) {
    struct file_sink sink = {scratch_fd, 0, err};
    if (clock_deadline_ms(FILE_MS) < input->deadline_ns)
        input->deadline_ns = clock_deadline_ms(FILE_MS);
    if (ftruncate(scratch_fd, 0) != 0 || lseek(scratch_fd, 0, SEEK_SET) != 0)
        return err_errno(err, errno, "cannot empty a scratch file");
    int code = input->plan.by_line ? copy_records(input, write_to_file, &sink, err)
                                   : copy_parts(input, write_to_file, &sink, err);
    input->fd = scratch_fd;
    return code;
}

static void *feed(void *argument) {
    struct input *input = argument;
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    input->feed_code = copy_parts(input, write_to_pipe, &input->pipe_fd, &input->feed_err);
    if (input->feed_code == FEED_ENOUGH)
        input->feed_code = 0;
    close(input->pipe_fd);
    return NULL;
}

static int start_feeder(struct input *input, struct err *err) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return err_errno(err, errno, "cannot make a pipe");
    fcntl(fds[1], F_SETPIPE_SZ,
          1 << 20); /* fewer switches; the default will do where it is refused */
    input->fd = fds[0];
    input->owns_fd = true;
    input->pipe_fd = fds[1];
    int code = pthread_create(&input->feeder, NULL, feed, input);
    if (code != 0) {
        close(fds[1]);
        return err_errno(err, code, "cannot start a thread");
    }
    input->feeding = true;
    return 0;
}

/* The chunk's own file, when the task is to have all of one chunk and this node has it. */
static bool open_chunk(struct input *input) {
    const struct input_plan *plan = &input->plan;
    const struct input_part *part = &plan->parts[0];
    if (plan->count != 1 || part->data.size > 0 || part->chunk.length == 0)
        return false;
    bool ends_record = plan->part_count == 1 || part->chunk.ends_line;
    if (plan->by_line && (plan->inside_record || !ends_record))
        return false;
    if (store_open_local(input->store, part->chunk.id, &input->fd, NULL) != 0)
        return false;
    input->owns_fd = true;
    input->counts.local_bytes = part->chunk.length;
    return true;
}

static int choose(struct input *input, int scratch_fd, struct err *err) {
    if (input->plan.count > 0 && open_chunk(input))
        return 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < input->plan.count; i++)
        bytes += part_bytes(&input->plan.parts[i]);
    if (bytes <= FILE_BYTES_MAX || input->plan.by_line)
        return fill_file(input, scratch_fd, err);
    return start_feeder(input, err);
}

int input_open(struct store_client *store, const struct input_plan *plan, int scratch_fd,
               uint64_t deadline_ns, struct input **ret_input, struct err *err) {
    ASSERT(plan->count <= plan->part_count);
    struct input *input = calloc(1, sizeof *input);
    if (input == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    input->store = store;
    input->plan = *plan;
    input->deadline_ns = deadline_ns;
    input->fd = -1;
    int code = choose(input, scratch_fd, err);
    if (code != 0) {
        input_close(input, &(struct input_counts){0}, NULL);
        return code;
    }
    *ret_input = input;
    return 0;
}

int input_fd(const struct input *input) {
    return input->fd;
}

int input_close(struct input *input, struct input_counts *ret_counts, struct err *err) {
    if (input == NULL)
        return 0;
    if (input->owns_fd)
        fd_closep(&input->fd); /* the feeder, if it still writes, gets EPIPE */
    if (input->feeding)
        pthread_join(input->feeder, NULL);
    int code = input->feed_code;
    if (code != 0)
        err_set(err, code, "the input broke off: %s", err_message(&input->feed_err, code));
    *ret_counts = input->counts;
    free(input);
    return code;
}
