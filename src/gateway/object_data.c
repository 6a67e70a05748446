/* The bytes of objects: in from a body or another object, out to a sink. */
#include "gateway/object.h"

#include "base/codec.h"
#include "gateway/catalogue.h"
#include "gateway/conditions.h"
#include "gateway/gateway_impl.h"
#include "gateway/request.h"
#include "os/clock.h"
#include "wire/utf8.h"
#include "wire/xml.h"

#define READ_MS_MAX 3600000 /* of one chunk, at a slow client's pace: who waits sees stalls */

char *object_etag(const uint8_t md5[MD5_SIZE], char *text) {
    return hex_encode(md5, MD5_SIZE, text);
}

void object_reply_etag(struct request *request, const char *etag) {
    struct buf *head = &request->reply.head;
    buf_puts(head, "ETag: \"");
    buf_puts(head, etag);
    buf_puts(head, "\"\r\n");
}

void object_xml_etag(struct buf *xml, const char *etag) {
    buf_puts(xml, "<ETag>&quot;");
    xml_escape(xml, span_of(etag));
    buf_puts(xml, "&quot;</ETag>");
}

/* ---- out ---- */

static int read_chunk(struct request *request, const Pb__ChunkRef *ref, uint64_t offset,
                      uint64_t length, store_sink *sink, void *context) {
    struct chunk_ref chunk = {.id = pb_id128(ref->id),
                              .length = ref->length,
                              .crc32c = ref->crc32c,
                              .ends_line = ref->ends_line};
    return store_read(request->gateway->options.store_client, &chunk, offset, length, sink, context,
                      clock_deadline_ms(READ_MS_MAX), &request->err);
}

int object_read(struct request *request, const Pb__Object *object, uint64_t offset, uint64_t length,
                store_sink *sink, void *context) {
    if (object->n_chunks == 0 && length > 0) {
        if (offset + length > object->inline_data.len)
            return err_set(&request->err, ERR_CORRUPT, "an object's record has too few bytes");
        return sink(context, object->inline_data.data + offset, length);
    }
    for (size_t i = 0; i < object->n_chunks && length > 0; i++) {
        const Pb__ChunkRef *chunk = object->chunks[i];
        if (offset >= chunk->length) {
            offset -= chunk->length;
            continue;
        }
        uint64_t part = chunk->length - offset < length ? chunk->length - offset : length;
        int rc = read_chunk(request, chunk, offset, part, sink, context);
        if (rc != 0)
            return rc;
        length -= part;
        offset = 0;
    }
    return length == 0
               ? 0
               : err_set(&request->err, ERR_CORRUPT, "an object's record has too few chunks");
}

/* ---- in from a body ---- */

static int receive_blocks(struct request *request, struct content *content) {
    struct body *body = &request->body;
    bool is_last;
    do {
        size_t room, got;
        void *block = content_block(content, &room);
        int rc = body_read(request, block, room, &got);
        if (rc != 0)
            return rc;
        is_last = body->is_ended;
        rc = content_write(content, got, is_last);
        if (rc != 0)
            return rc;
    } while (!is_last);
    content_end(content);
    return 0;
}

int object_receive(struct request *request, struct content *content, bool may_inline) {
    const struct http1_request *http = &request->http;
    int rc = content_open(content, request, request->body.length, may_inline);
    if (rc == 0 && !http->has_content_length && !http->is_chunked)
        rc = err_set(&request->err, ERR_MISSING_LENGTH, "%s", err_text(ERR_MISSING_LENGTH));
    if (rc == 0)
        rc = receive_blocks(request, content);
    if (rc == 0 && body_check_md5(request, content->md5) != 0)
        rc = err_set(&request->err, ERR_BAD_DIGEST, "%s", err_text(ERR_BAD_DIGEST));
    return rc;
}

/* ---- in from another object ---- */

/* "/bucket/key" or "bucket/key", encoded, perhaps with ?versionId=null. */
static int parse_source(struct request *request, struct object_source *source) {
    struct span text = http1_header(&request->http, "x-amz-copy-source"), path;
    const char *query = memchr(text.data, '?', text.size);
    if (query != NULL) {
        struct span rest = {query + 1, text.size - (size_t)(query - text.data) - 1};
        if (!span_is(rest, "versionId=null"))
            return err_set(&request->err, ERR_NOT_IMPLEMENTED,
                           "versions of a copy's source are not implemented here");
        text.size = (size_t)(query - text.data);
    }
    int rc = uri_decode(text, false, &request->arena, &path, &request->err);
    if (rc != 0)
        return rc;
    if (path.size > 0 && path.data[0] == '/')
        path = (struct span){path.data + 1, path.size - 1};
    const char *slash = path.size > 0 ? memchr(path.data, '/', path.size) : NULL;
    size_t bucket_size = slash != NULL ? (size_t)(slash - path.data) : 0;
    if (bucket_size == 0 || bucket_size + 1 == path.size || !utf8_is_valid(path))
        return err_set(&request->err, ERR_INVALID, "x-amz-copy-source does not name an object");
    source->bucket = request_string(request, (struct span){path.data, bucket_size});
    source->key = request_string(request, (struct span){slash + 1, path.size - bucket_size - 1});
    return request_memory(request);
}

static int check_source_conditions(struct request *request, const Pb__Object *object) {
    const struct http1_request *http = &request->http;
    struct conditions conditions = {
        .if_match = http1_header(http, "x-amz-copy-source-if-match"),
        .if_none_match = http1_header(http, "x-amz-copy-source-if-none-match"),
        .if_modified_since = http1_header(http, "x-amz-copy-source-if-modified-since"),
        .if_unmodified_since = http1_header(http, "x-amz-copy-source-if-unmodified-since"),
    };
    /* A copy has no 304: both outcomes are 412. */
    if (conditions_check(&conditions, object->etag, object->modified_ms) == 0)
        return 0;
    return err_set(&request->err, ERR_PRECONDITION_FAILED, "%s", err_text(ERR_PRECONDITION_FAILED));
}

int object_copy_source(struct request *request, struct object_source *ret_source) {
    struct object_source source = {0};
    struct span range;
    int rc = parse_source(request, &source);
    if (rc == 0)
        rc = catalogue_object(request, source.bucket, source.key, &source.object);
    if (rc == 0)
        rc = check_source_conditions(request, source.object);
    if (rc != 0)
        return rc;
    source.range = (struct range){.length = source.object->size};
    if (http1_find(&request->http, "x-amz-copy-source-range", &range) &&
        range_parse_copy(range, source.object->size, &source.range) != 0)
        return err_set(&request->err, ERR_INVALID,
                       "x-amz-copy-source-range is not bytes=FIRST-LAST of the source");
    *ret_source = source;
    return 0;
}

int object_copy_content(struct request *request, const struct object_source *source,
                        struct content *content, bool may_inline) {
    const struct range *range = &source->range;
    int rc = content_open(content, request, range->length, may_inline);
    if (rc != 0)
        return rc;
    if (range->length > 0) {
        rc = object_read(request, source->object, range->offset, range->length, content_copy,
                         content);
    } else {
        size_t room;
        content_block(content, &room);
        rc = content_write(content, 0, true /* last */);
    }
    if (rc == 0)
        content_end(content);
    return rc;
}
