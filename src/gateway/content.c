/* From blocks to chunks. */
#include "gateway/content.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/crc.h"
#include "gateway/gateway_impl.h"
#include "gateway/hasher.h"
#include "gateway/request.h"
#include "os/clock.h"

#define BLOCK_BYTES HASHER_BLOCK_BYTES
#define HASHER_BYTES_MIN ((uint64_t)1 << 20) /* below it a thread costs more than it saves */
#define CUT_WINDOW_BYTES ((size_t)64 << 10)
#define STORE_MS_MAX 30000 /* for a step of the store's */

static uint64_t store_deadline(void) {
    return clock_deadline_ms(STORE_MS_MAX);
}

int content_open(struct content *content, struct request *request, uint64_t length,
                 bool may_inline) {
    *content = (struct content){.request = request, .length = length, .may_inline = may_inline};
    if (length != CONTENT_LENGTH_UNKNOWN && length > CONTENT_BYTES_MAX)
        return err_set(&request->err, ERR_ENTITY_TOO_LARGE, "%s", err_text(ERR_ENTITY_TOO_LARGE));
    if (length > HASHER_BYTES_MIN)
        return hasher_start(&content->hasher, &request->err);
    digest_init(&content->md5_now, DIGEST_MD5);
    content->block_bytes = length < BLOCK_BYTES ? (size_t)length + (length == 0) : BLOCK_BYTES;
    content->block = malloc(content->block_bytes);
    return content->block != NULL ? 0 : err_set(&request->err, ERR_NOMEM, "a block of a body");
}

/* Such that a chunk's last 64 KiB always lie in one block. */
static size_t block_room(const struct content *content) {
    uint64_t left = CHUNK_BYTES_MAX - content->chunk_bytes;
    size_t bytes = content->hasher != NULL ? BLOCK_BYTES : content->block_bytes;
    if (left <= bytes)
        return (size_t)left;
    return left - CUT_WINDOW_BYTES < bytes ? (size_t)left - CUT_WINDOW_BYTES : bytes;
}

void *content_block(struct content *content, size_t *ret_room) {
    *ret_room = block_room(content);
    if (content->hasher == NULL)
        return content->block;
    return content->block = hasher_block(content->hasher);
}

/* ---- chunks ---- */

static int chunk_begin(struct content *content) {
    struct gateway *gateway = content->request->gateway;
    uint64_t length_max = CHUNK_BYTES_MAX;
    if (content->length != CONTENT_LENGTH_UNKNOWN && content->length < length_max)
        length_max = content->length;
    content->chunk_bytes = 0;
    return store_write_begin(gateway->options.store_client, length_max, store_deadline(),
                             &content->chunk, &content->request->err);
}

static int chunk_append(struct content *content, const char *data, size_t size) {
    int rc = content->chunk == NULL ? chunk_begin(content) : 0;
    if (rc == 0)
        rc = store_write_append(content->chunk, data, size, store_deadline(),
                                &content->request->err);
    content->chunk_bytes += size;
    return rc;
}

static Pb__ChunkRef *chunk_add(struct content *content) {
    struct arena *arena = &content->request->arena;
    if (content->chunk_count == content->chunk_room) {
        size_t room = content->chunk_room > 0 ? 2 * content->chunk_room : 4;
        Pb__ChunkRef **chunks = arena_array(arena, Pb__ChunkRef *, room);
        if (chunks == NULL)
            return NULL;
        if (content->chunk_count > 0)
            memcpy(chunks, content->chunks, content->chunk_count * sizeof *chunks);
        content->chunks = chunks;
        content->chunk_room = room;
    }
    Pb__ChunkRef *ref = arena_new(arena, Pb__ChunkRef);
    char *id = arena_alloc(arena, sizeof(struct id128));
    if (ref == NULL || id == NULL)
        return NULL;
    pb__chunk_ref__init(ref);
    ref->id = pb_bytes(id, sizeof(struct id128));
    return content->chunks[content->chunk_count++] = ref;
}

static int chunk_end(struct content *content) {
    struct chunk_ref done;
    int rc =
        store_write_end(TAKE_PTR(content->chunk), store_deadline(), &done, &content->request->err);
    if (rc != 0)
        return rc;
    Pb__ChunkRef *ref = chunk_add(content);
    if (ref == NULL)
        return request_memory(content->request);
    memcpy(ref->id.data, done.id.bytes, sizeof done.id);
    ref->length = done.length;
    ref->crc32c = done.crc32c;
    ref->ends_line = done.ends_line;
    content->crc32c = crc32c_combine(content->crc32c, done.crc32c, done.length);
    content->chunk_bytes = 0;
    return 0;
}

/* Where to cut a full chunk of which this is the end: after the last newline near it. */
static size_t find_cut(const char *data, size_t size) {
    size_t window = size < CUT_WINDOW_BYTES ? size : CUT_WINDOW_BYTES;
    const char *newline = memrchr(data + size - window, '\n', window);
    return newline != NULL ? (size_t)(newline - data) + 1 : size;
}

static int store(struct content *content, const char *data, size_t size, bool is_last) {
    bool is_full = content->chunk_bytes + size == CHUNK_BYTES_MAX;
    size_t cut = is_full && !is_last ? find_cut(data, size) : size;
    int rc = chunk_append(content, data, cut);
    if (rc == 0 && (is_full || is_last))
        rc = chunk_end(content);
    if (rc == 0 && cut < size)
        rc = chunk_append(content, data + cut, size - cut);
    return rc;
}

int content_write(struct content *content, size_t size, bool is_last) {
    struct request *request = content->request;
    content->size += size;
    if (content->size > CONTENT_BYTES_MAX)
        return err_set(&request->err, ERR_ENTITY_TOO_LARGE, "%s", err_text(ERR_ENTITY_TOO_LARGE));
    if (content->hasher != NULL)
        hasher_push(content->hasher, size);
    else
        digest_update(&content->md5_now, content->block, size);
    if (is_last && content->may_inline && content->size <= CONTENT_INLINE_BYTES_MAX) {
        ASSERT(content->size == size); /* blocks are larger */
        content->inline_data = arena_strndup(&request->arena, content->block, size);
        content->crc32c = crc32c_update(0, content->block, size);
        return request_memory(request);
    }
    return size > 0 || (is_last && content->chunk != NULL)
               ? store(content, content->block, size, is_last)
               : 0;
}

int content_copy(void *context, const void *data, size_t size) {
    struct content *content = context;
    const char *from = data;
    while (size > 0) {
        if (content->copied == 0)
            content_block(content, &content->copy_room);
        size_t left = content->copy_room - content->copied;
        size_t part = size < left ? size : left;
        memcpy(content->block + content->copied, from, part);
        content->copied += part;
        from += part;
        size -= part;
        bool is_last = content->size + content->copied == content->length;
        if (content->copied == content->copy_room || is_last) {
            int rc = content_write(content, content->copied, is_last);
            if (rc != 0)
                return rc;
            content->copied = 0;
        }
    }
    return 0;
}

void content_end(struct content *content) {
    ASSERT(content->chunk == NULL);
    if (content->hasher != NULL)
        hasher_finish(content->hasher, content->md5);
    else
        digest_final(&content->md5_now, content->md5);
}

void content_settle(struct content *content, int rc) {
    content->is_kept = rc == 0 || err_is_transient(rc);
}

/* Chunks that nothing names; those that cannot be reached now are found by their age. */
static void drop_chunks(struct content *content) {
    struct gateway *gateway = content->request->gateway;
    for (size_t i = 0; i < content->chunk_count; i++) {
        struct id128 id = pb_id128(content->chunks[i]->id);
        store_delete(gateway->options.store_client, &id, 1, store_deadline(), NULL);
    }
}

void content_close(struct content *content) {
    store_write_abort(content->chunk);
    if (!content->is_kept)
        drop_chunks(content);
    if (content->hasher != NULL) {
        hasher_stop(content->hasher);
        return;
    }
    digest_fini(&content->md5_now);
    free(content->block);
}
