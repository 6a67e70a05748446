/* PUT, or multipart: from a file in parallel, from a stream one part after the other. */
#include "cli/upload.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "cli/multipart.h"
#include "cli/progress.h"
#include "cli/verify.h"

#define SINGLE_BYTES_MAX ((uint64_t)1 << 30) /* more than that: parts */
#define CUT_WINDOW ((size_t)64 << 10)
#define PART_BYTES_MIN (((uint64_t)64 << 20) - CUT_WINDOW) /* with a cut moved: one chunk */
#define SENDERS 4u

/* Where to cut bytes of which this is the end: after the last newline near it, so that a job finds
 * whole lines in a part (ARCHITECTURE.md, A write). */
static size_t cut_of(const char *data, size_t size) {
    size_t window = size < CUT_WINDOW ? size : CUT_WINDOW;
    const char *newline = memrchr(data + size - window, '\n', window);
    return newline != NULL ? (size_t)(newline - data) + 1 : size;
}

/* ---- a range of a file as a body ---- */

struct range {
    int fd;
    uint64_t offset;
    struct verify verify; /* of what was read since the last rewind */
    struct progress *progress;
    struct client_source source;
};

static int range_rewind(void *context, struct err *err) {
    struct range *range = context;
    progress_add(range->progress, -(int64_t)range->verify.bytes);
    verify_fini(&range->verify);
    verify_init(&range->verify);
    return 0;
}

static int range_read(void *context, void *data, size_t size, size_t *ret_size, struct err *err) {
    struct range *range = context;
    ssize_t count = pread(range->fd, data, size, (off_t)(range->offset + range->verify.bytes));
    if (count < 0)
        return err_errno(err, errno, "cannot read");
    if (count == 0)
        return err_set(err, ERR_IO, "the file became shorter while it was read");
    verify_update(&range->verify, data, (size_t)count);
    progress_add(range->progress, count);
    *ret_size = (size_t)count;
    return 0;
}

static void range_init(struct range *range, int fd, uint64_t offset, uint64_t size,
                       struct progress *progress) {
    *range = (struct range){.fd = fd, .offset = offset, .progress = progress};
    verify_init(&range->verify);
    range->source = (struct client_source){
        .context = range, .size = size, .rewind = range_rewind, .read = range_read};
}

/* ---- one PUT ---- */

static int put_request(struct client *client, const struct place *place,
                       struct client_request *request, struct verify *verify, struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    char path[CLIENT_PATH_SIZE];
    request->method = "PUT";
    request->path = client_path(place, path);
    int status = client_perform(client, request, &response, err);
    return status != 0 ? status : verify_check(verify, &response, err);
}

static int put_file(struct client *client, const struct place *place, int fd, uint64_t size,
                    struct progress *progress, struct err *err) {
    struct range range;
    range_init(&range, fd, 0, size, progress);
    struct client_request request = {.source = &range.source};
    int status = put_request(client, place, &request, &range.verify, err);
    verify_fini(&range.verify);
    return status;
}

/* ---- parts of a file, in parallel ---- */

struct senders {
    struct multipart *multipart;
    int fd;
    uint64_t size;
    uint64_t part_bytes;
    struct progress *progress;
    atomic_uint next;   /* part, from 0 */
    atomic_int failure; /* the first */
    struct err err;     /* of the one that set failure */
};

/* Where the part begins, and the one before it ends. */
static uint64_t part_edge(const struct senders *senders, unsigned index) {
    char window[CUT_WINDOW];
    uint64_t edge = index * senders->part_bytes;
    if (index == 0 || edge >= senders->size)
        return edge < senders->size ? edge : senders->size;
    ssize_t count = pread(senders->fd, window, sizeof window, (off_t)(edge - sizeof window));
    return count == sizeof window ? edge - sizeof window + cut_of(window, sizeof window) : edge;
}

static int send_part(struct senders *senders, struct client *client, unsigned index,
                     struct err *err) {
    uint64_t offset = part_edge(senders, index);
    struct range range;
    range_init(&range, senders->fd, offset, part_edge(senders, index + 1) - offset,
               senders->progress);
    struct client_request request = {.source = &range.source};
    int status =
        multipart_send(senders->multipart, client, index + 1, &request, &range.verify, err);
    verify_fini(&range.verify);
    return status;
}

static void *run_sender(void *context) {
    struct senders *senders = context;
    struct client *client = NULL;
    struct err err = {0};
    int status = client_open(&client, &err);
    while (status == 0 && atomic_load(&senders->failure) == 0) {
        unsigned index = atomic_fetch_add(&senders->next, 1);
        if (index >= senders->multipart->part_count)
            break;
        status = send_part(senders, client, index, &err);
    }
    int none = 0;
    if (status != 0 && atomic_compare_exchange_strong(&senders->failure, &none, status))
        senders->err = err;
    client_close(client);
    return NULL;
}

static int send_parts(struct senders *senders, struct err *err) {
    pthread_t threads[SENDERS];
    unsigned started = 0;
    while (started < SENDERS && pthread_create(&threads[started], NULL, run_sender, senders) == 0)
        started++;
    if (started == 0)
        return err_set(err, ERR_NOMEM, "no thread could be started");
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    int failure = atomic_load(&senders->failure);
    return failure != 0 ? err_set(err, failure, "%s", err_message(&senders->err, failure)) : 0;
}

static int put_file_in_parts(struct client *client, const struct place *place, int fd,
                             uint64_t size, struct progress *progress, struct err *err) {
    struct multipart multipart;
    uint64_t least = (size + MULTIPART_PARTS_MAX - 1) / MULTIPART_PARTS_MAX;
    struct senders senders = {
        .multipart = &multipart, .fd = fd, .size = size, .progress = progress};
    senders.part_bytes = least > PART_BYTES_MIN ? least : PART_BYTES_MIN;
    int status = multipart_begin(&multipart, client, place, err);
    if (status == 0) {
        multipart.part_count = (unsigned)((size + senders.part_bytes - 1) / senders.part_bytes);
        status = send_parts(&senders, err);
        if (status == 0)
            status = multipart_complete(&multipart, client, err);
        if (status != 0)
            multipart_abort(&multipart, client);
    }
    multipart_fini(&multipart);
    return status;
}

/* ---- a stream ---- */

/* Fills the block, which holds *size bytes, as far as the stream goes. */
static int read_block(int fd, char *block, size_t *ret_size, struct err *err) {
    size_t size = *ret_size;
    while (size < PART_BYTES_MIN) {
        ssize_t count = read(fd, block + size, PART_BYTES_MIN - size);
        if (count < 0 && errno != EINTR)
            return err_errno(err, errno, "cannot read");
        if (count == 0)
            break;
        size += count > 0 ? (size_t)count : 0;
    }
    *ret_size = size;
    return 0;
}

static int send_block(struct multipart *multipart, struct client *client, struct span block,
                      struct err *err) {
    if (multipart->part_count == MULTIPART_PARTS_MAX)
        return err_set(err, ERR_ENTITY_TOO_LARGE, "the stream is longer than %u parts of %llu MiB",
                       MULTIPART_PARTS_MAX, (unsigned long long)(PART_BYTES_MIN >> 20));
    struct verify verify;
    verify_init(&verify);
    verify_update(&verify, block.data, block.size);
    struct client_request request = {.body = block};
    int status = multipart_send(multipart, client, ++multipart->part_count, &request, &verify, err);
    verify_fini(&verify);
    return status;
}

static int send_blocks(struct multipart *multipart, struct client *client, int fd, char *block,
                       struct progress *progress, struct err *err) {
    size_t size = PART_BYTES_MIN; /* the first is full already */
    int status = 0;
    while (size > 0 && status == 0) {
        size_t cut = size == PART_BYTES_MIN ? cut_of(block, size) : size;
        status = send_block(multipart, client, (struct span){block, cut}, err);
        progress_add(progress, (int64_t)cut);
        memmove(block, block + cut, size -= cut);
        if (status == 0)
            status = read_block(fd, block, &size, err);
    }
    return status;
}

static int put_block(struct client *client, const struct place *place, struct span block,
                     struct err *err) {
    struct verify verify;
    verify_init(&verify);
    verify_update(&verify, block.data, block.size);
    struct client_request request = {.body = block};
    int status = put_request(client, place, &request, &verify, err);
    verify_fini(&verify);
    return status;
}

static int put_stream(struct client *client, const struct place *place, int fd,
                      struct progress *progress, struct err *err) {
    _cleanup_(freep) char *block = malloc(PART_BYTES_MIN);
    size_t size = 0;
    if (block == NULL)
        return ERR_NOMEM;
    int status = read_block(fd, block, &size, err);
    if (status != 0)
        return status;
    if (size < PART_BYTES_MIN)
        return put_block(client, place, (struct span){block, size}, err);
    struct multipart multipart;
    status = multipart_begin(&multipart, client, place, err);
    if (status == 0) {
        status = send_blocks(&multipart, client, fd, block, progress, err);
        if (status == 0)
            status = multipart_complete(&multipart, client, err);
        if (status != 0)
            multipart_abort(&multipart, client);
    }
    multipart_fini(&multipart);
    return status;
}

int upload_object(struct client *client, const struct place *place, int fd, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_errno(err, errno, "cannot read");
    if (S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "it is a directory");
    bool is_file = S_ISREG(st.st_mode);
    uint64_t size = is_file ? (uint64_t)st.st_size : 0;
    struct progress progress;
    progress_init(&progress, place->key, size);
    int status = !is_file ? put_stream(client, place, fd, &progress, err)
                 : size <= SINGLE_BYTES_MAX
                     ? put_file(client, place, fd, size, &progress, err)
                     : put_file_in_parts(client, place, fd, size, &progress, err);
    progress_fini(&progress);
    return status;
}
