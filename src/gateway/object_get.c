/* GET and HEAD of an object: conditions, a range, its headers, its bytes. */
#include "gateway/catalogue.h"
#include "gateway/conditions.h"
#include "gateway/object.h"
#include "gateway/ops.h"
#include "gateway/request.h"
#include "base/codec.h"
#include "base/le.h"

#include <stdio.h>

static int check_conditions(struct request *request, const Pb__Object *object) {
    const struct http1_request *http = &request->http;
    struct conditions conditions = {
        .if_match = http1_header(http, "if-match"),
        .if_none_match = http1_header(http, "if-none-match"),
        .if_modified_since = http1_header(http, "if-modified-since"),
        .if_unmodified_since = http1_header(http, "if-unmodified-since"),
    };
    return conditions_check(&conditions, object->etag, object->modified_ms);
}

static int reply_not_modified(struct request *request, const Pb__Object *object) {
    reply_start(request, 304);
    object_reply_etag(request, object->etag);
    reply_header_time(request, "Last-Modified", object->modified_ms);
    return reply_finish(request, NULL, 0);
}

/* If-Range: the range counts only for the object that the client has the rest of. */
static int find_range(struct request *request, const Pb__Object *object, struct range *ret_range) {
    struct span header = http1_header(&request->http, "range"), etag;
    if (http1_find(&request->http, "if-range", &etag) &&
        !span_is(conditions_etag(etag), object->etag))
        header = (struct span){0};
    int rc = range_parse(header, object->size, ret_range);
    return rc == 0 ? 0 : err_set(&request->err, rc, "%s", err_text(rc));
}

static void reply_checksum(struct request *request, const Pb__Object *object) {
    uint8_t bytes[4];
    char text[BASE64_SIZE(4)];
    if (!http1_name_equal(http1_header(&request->http, "x-amz-checksum-mode"),
                          SPAN_LITERAL("ENABLED")))
        return;
    le32_put(bytes, __builtin_bswap32(object->crc32c)); /* big-endian on the wire */
    reply_header(request, "x-amz-checksum-crc32c", base64_encode(bytes, sizeof bytes, text));
    reply_header(request, "x-amz-checksum-type", "FULL_OBJECT");
}

static void reply_head(struct request *request, const Pb__Object *object,
                       const struct range *range) {
    reply_start(request, range->is_partial ? 206 : 200);
    object_reply_etag(request, object->etag);
    reply_header_time(request, "Last-Modified", object->modified_ms);
    reply_header(request, "Accept-Ranges", "bytes");
    if (range->is_partial) {
        char text[80];
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)range->offset,
                 (unsigned long long)(range->offset + range->length - 1),
                 (unsigned long long)object->size);
        reply_header(request, "Content-Range", text);
    } else {
        reply_checksum(request, object);
    }
    metadata_reply(request, object);
}

static int send_block(void *context, const void *data, size_t size) {
    return reply_body(context, data, size);
}

static int reply_object(struct request *request, const Pb__Object *object,
                        const struct range *range) {
    reply_head(request, object, range);
    int rc = reply_begin_body(request, range->length);
    if (rc == 0 && request->http.method != HTTP1_HEAD)
        rc = object_read(request, object, range->offset, range->length, send_block, request);
    return rc != 0 ? rc : reply_end_body(request);
}

static int check_version(struct request *request) {
    struct span version;
    if (!uri_find(&request->uri, "versionId", &version) || span_is(version, "null"))
        return 0;
    return err_set(&request->err, ERR_INVALID, "there are no versions but \"null\" here");
}

int get_object(struct request *request) {
    Pb__Object *object;
    struct range range;
    int rc = check_version(request);
    if (rc == 0)
        rc = catalogue_object(request, request->bucket, request->key, &object);
    if (rc != 0)
        return rc;
    rc = check_conditions(request, object);
    if (rc == ERR_NOT_MODIFIED)
        return reply_not_modified(request, object);
    if (rc == 0)
        rc = find_range(request, object, &range);
    else
        rc = err_set(&request->err, rc, "%s", err_text(rc));
    return rc != 0 ? rc : reply_object(request, object, &range);
}
