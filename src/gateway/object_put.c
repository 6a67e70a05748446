/* PUT, copy and DELETE of an object. */
#include "base/cleanup.h"
#include "gateway/catalogue.h"
#include "gateway/conditions.h"
#include "gateway/object.h"
#include "gateway/ops.h"
#include "gateway/request.h"
#include "os/clock.h"
#include "os/random.h"
#include "wire/time.h"
#include "wire/xml.h"

#define ETAG_SIZE 33
#define EARLY_CHECK_BYTES_MIN ((uint64_t)1 << 20)
#define COMMAND_MS_MAX 30000

static void fill_conditions(struct request *request, Pb__Conditions *conditions) {
    pb__conditions__init(conditions);
    conditions->if_match = (char *)(uintptr_t)request_string(
        request, conditions_etag(http1_header(&request->http, "if-match")));
    conditions->if_none_match = (char *)(uintptr_t)request_string(
        request, conditions_etag(http1_header(&request->http, "if-none-match")));
}

static void fill_object(Pb__Object *object, const struct content *content,
                        const struct metadata *metadata, const struct id128 *version,
                        char etag[ETAG_SIZE]) {
    pb__object__init(object);
    object->version = pb_id(version);
    object->size = content->size;
    object->etag = object_etag(content->md5, etag);
    object->modified_ms = clock_wall_ms();
    if (content->inline_data != NULL)
        object->inline_data = pb_bytes(content->inline_data, content->size);
    object->n_chunks = content->chunk_count;
    object->chunks = content->chunks;
    object->n_headers = metadata->header_count;
    object->headers = metadata->headers;
    object->n_metadata = metadata->pair_count;
    object->metadata = metadata->pairs;
    object->crc32c = content->crc32c;
}

/* Names the content in the catalogue: from then on it is the object. */
static int put_record(struct request *request, struct content *content,
                      const struct metadata *metadata, Pb__Object *object, char etag[ETAG_SIZE]) {
    struct id128 version = random_id128();
    Pb__PutObject put = PB__PUT_OBJECT__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Conditions conditions;
    Pb__Reply *reply;
    fill_object(object, content, metadata, &version, etag);
    fill_conditions(request, &conditions);
    put.bucket = (char *)(uintptr_t)request->bucket;
    put.key = (char *)(uintptr_t)request->key;
    put.object = object;
    put.conditions = &conditions;
    command.op_case = PB__COMMAND__OP_PUT_OBJECT;
    command.put_object = &put;
    /* Anew: the body may have taken its time. */
    request->deadline_ns = clock_deadline_ms(COMMAND_MS_MAX);
    int rc = request_memory(request);
    if (rc == 0)
        rc = catalogue_write(request, request->bucket, request->key, &command, &reply);
    content_settle(content, rc);
    return rc;
}

/* ---- PUT ---- */

/* Before much is received that would be thrown away; for the rest the record's check will do. */
static int check_bucket_early(struct request *request) {
    Pb__Bucket *bucket;
    return request->body.length > EARLY_CHECK_BYTES_MIN
               ? catalogue_bucket(request, request->bucket, &bucket)
               : 0;
}

static int put_body(struct request *request) {
    struct metadata metadata;
    struct content content = {.request = request};
    Pb__Object object;
    char etag[ETAG_SIZE];
    int rc = metadata_read(request, &metadata);
    if (rc == 0)
        rc = check_bucket_early(request);
    if (rc != 0)
        return rc;
    rc = object_receive(request, &content, true /* may be inline */);
    if (rc == 0)
        rc = put_record(request, &content, &metadata, &object, etag);
    content_close(&content);
    if (rc != 0)
        return rc;
    reply_start(request, 200);
    object_reply_etag(request, etag);
    body_reply_checksum(request);
    return reply_finish(request, NULL, 0);
}

/* ---- copy ---- */

static int copy_metadata(struct request *request, const struct object_source *source,
                         struct metadata *ret_metadata) {
    struct span directive = http1_header(&request->http, "x-amz-metadata-directive");
    if (span_is(directive, "REPLACE"))
        return metadata_read(request, ret_metadata);
    if (directive.size > 0 && !span_is(directive, "COPY"))
        return err_set(&request->err, ERR_INVALID, "x-amz-metadata-directive is COPY or REPLACE");
    if (strcmp(source->bucket, request->bucket) == 0 && strcmp(source->key, request->key) == 0)
        return err_set(&request->err, ERR_PROTOCOL,
                       "an object is copied onto itself only to replace its metadata");
    int rc = metadata_read(request, ret_metadata); /* for what it refuses */
    *ret_metadata = (struct metadata){source->object->headers, source->object->n_headers,
                                      source->object->metadata, source->object->n_metadata};
    return rc;
}

static int reply_copied(struct request *request, const Pb__Object *object) {
    char text[TIME_ISO8601_SIZE];
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "CopyObjectResult");
    xml_string(&xml, "LastModified", time_print_iso8601((int64_t)object->modified_ms, text));
    object_xml_etag(&xml, object->etag);
    xml_close(&xml, "CopyObjectResult");
    return reply_xml(request, &xml);
}

static int put_copy(struct request *request) {
    struct object_source source;
    struct metadata metadata;
    struct content content = {.request = request};
    Pb__Object object;
    char etag[ETAG_SIZE];
    int rc = object_copy_source(request, &source);
    if (rc == 0)
        rc = copy_metadata(request, &source, &metadata);
    if (rc != 0)
        return rc;
    rc = object_copy_content(request, &source, &content, true /* may be inline */);
    if (rc == 0)
        rc = put_record(request, &content, &metadata, &object, etag);
    content_close(&content);
    return rc != 0 ? rc : reply_copied(request, &object);
}

int put_object(struct request *request) {
    struct span source;
    return http1_find(&request->http, "x-amz-copy-source", &source) ? put_copy(request)
                                                                    : put_body(request);
}

/* ---- DELETE ---- */

int object_delete(struct request *request, const char *key, const Pb__Conditions *conditions) {
    Pb__DeleteObject delete = PB__DELETE_OBJECT__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    delete.bucket = (char *)(uintptr_t)request->bucket;
    delete.key = (char *)(uintptr_t)key;
    delete.conditions = (Pb__Conditions *)(uintptr_t)conditions;
    command.op_case = PB__COMMAND__OP_DELETE_OBJECT;
    command.delete_object = &delete;
    return catalogue_write(request, request->bucket, key, &command, &reply);
}

int delete_object(struct request *request) {
    Pb__Conditions conditions;
    struct span version;
    if (uri_find(&request->uri, "versionId", &version) && !span_is(version, "null"))
        return err_set(&request->err, ERR_INVALID, "there are no versions but \"null\" here");
    fill_conditions(request, &conditions);
    int rc = request_memory(request);
    if (rc == 0)
        rc = object_delete(request, request->key, &conditions);
    return rc != 0 ? rc : reply_empty(request, 204);
}
