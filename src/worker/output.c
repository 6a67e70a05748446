/* Cutting an output into chunks, as the gateway cuts an object: after the last newline near the end
 * of each, where there is one, so that a later job finds its records whole. */
#include "worker/output.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/crc.h"
#include "os/clock.h"
#include "os/file.h"

#define COPY_BYTES ((size_t)1 << 20)
#define CUT_WINDOW ((size_t)64 << 10)
#define DELETE_MS 2000

struct copy {
    struct store_client *store;
    int fd;
    uint64_t deadline_ns;
    char *buffer; /* COPY_BYTES */
};

static int store_inline(int fd, size_t size, struct arena *arena, Pb__TaskResult *result,
                        struct err *err) {
    char *data = arena_alloc(arena, size + 1);
    if (data == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int code = file_read_at(fd, data, size, 0, err);
    if (code != 0)
        return code;
    result->inline_output = pb_bytes(data, size);
    result->output_bytes = size;
    result->output_crc32c = crc32c_update(0, data, size);
    return 0;
}

/* How long the chunk that begins at offset is to be. */
static int choose_length(const struct copy *copy, uint64_t offset, uint64_t size,
                         uint64_t *ret_length, struct err *err) {
    *ret_length = size - offset;
    if (*ret_length <= CHUNK_BYTES_MAX)
        return 0;
    *ret_length = CHUNK_BYTES_MAX;
    int code = file_read_at(copy->fd, copy->buffer, CUT_WINDOW,
                            offset + CHUNK_BYTES_MAX - CUT_WINDOW, err);
    if (code != 0)
        return code;
    const char *newline = memrchr(copy->buffer, '\n', CUT_WINDOW);
    if (newline != NULL)
        *ret_length -= CUT_WINDOW - (size_t)(newline + 1 - copy->buffer);
    return 0;
}

static int append_range(const struct copy *copy, struct store_write *write, uint64_t offset,
                        uint64_t length, struct err *err) {
    int code = 0;
    for (uint64_t done = 0; done < length && code == 0;) {
        size_t step = length - done < COPY_BYTES ? (size_t)(length - done) : COPY_BYTES;
        code = file_read_at(copy->fd, copy->buffer, step, offset + done, err);
        if (code == 0)
            code = store_write_append(write, copy->buffer, step, copy->deadline_ns, err);
        done += step;
    }
    return code;
}

static int store_chunk(const struct copy *copy, uint64_t offset, uint64_t length,
                       struct chunk_ref *ret_chunk, struct err *err) {
    struct store_write *write;
    int code = store_write_begin(copy->store, length, copy->deadline_ns, &write, err);
    if (code != 0)
        return code;
    code = append_range(copy, write, offset, length, err);
    if (code != 0) {
        store_write_abort(write);
        return code;
    }
    return store_write_end(write, copy->deadline_ns, ret_chunk, err);
}

static int add_chunk(const struct chunk_ref *chunk, struct arena *arena, Pb__TaskResult *result,
                     struct err *err) {
    Pb__ChunkRef *ref = arena_new(arena, Pb__ChunkRef);
    struct id128 *id = arena_new(arena, struct id128);
    if (ref == NULL || id == NULL)
        return err_set(err, ERR_LIMIT, "the output has too many chunks");
    *id = chunk->id;
    pb__chunk_ref__init(ref);
    ref->id = pb_id(id);
    ref->length = chunk->length;
    ref->crc32c = chunk->crc32c;
    ref->ends_line = chunk->ends_line;
    result->output[result->n_output++] = ref;
    result->output_crc32c = crc32c_combine(result->output_crc32c, chunk->crc32c, chunk->length);
    result->output_bytes += chunk->length;
    return 0;
}

static int store_chunks(const struct copy *copy, uint64_t size, struct arena *arena,
                        Pb__TaskResult *result, struct err *err) {
    uint64_t chunks_max = size / (CHUNK_BYTES_MAX - CUT_WINDOW) + 1;
    result->output = arena_array(arena, Pb__ChunkRef *, chunks_max);
    if (result->output == NULL)
        return err_set(err, ERR_LIMIT, "the output has too many chunks");
    for (uint64_t offset = 0, length; offset < size; offset += length) {
        struct chunk_ref chunk;
        int code = choose_length(copy, offset, size, &length, err);
        if (code == 0)
            code = store_chunk(copy, offset, length, &chunk, err);
        if (code == 0)
            code = add_chunk(&chunk, arena, result, err);
        if (code != 0)
            return code;
    }
    return 0;
}

static void forget(struct store_client *store, Pb__TaskResult *result) {
    for (size_t i = 0; i < result->n_output; i++) {
        struct id128 id = pb_id128(result->output[i]->id);
        store_delete(store, &id, 1, clock_deadline_ms(DELETE_MS), NULL);
    }
    result->n_output = 0;
    result->output_bytes = 0;
    result->output_crc32c = 0;
}

int output_store(struct store_client *store, int fd, uint64_t deadline_ns, struct arena *arena,
                 Pb__TaskResult *result, struct err *err) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(err, errno, "cannot look at the output");
    if ((size_t)status.st_size <= OUTPUT_INLINE_MAX)
        return store_inline(fd, (size_t)status.st_size, arena, result, err);
    _cleanup_(freep) char *buffer = malloc(COPY_BYTES);
    if (buffer == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    const struct copy copy = {store, fd, deadline_ns, buffer};
    int code = store_chunks(&copy, (uint64_t)status.st_size, arena, result, err);
    if (code != 0)
        forget(store, result);
    return code;
}
