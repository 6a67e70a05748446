/* Multipart uploads: begun, filled part by part, put together or thrown away. */
#include "gateway/multipart.h"

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
#define COMMAND_MS_MAX 30000

int multipart_upload_id(struct request *request, struct id128 *ret_id) {
    if (id128_parse(uri_param(&request->uri, "uploadId"), ret_id))
        return 0;
    return err_set(&request->err, ERR_NO_SUCH_UPLOAD, "%s", err_text(ERR_NO_SUCH_UPLOAD));
}

/* ---- begin ---- */

static int reply_begun(struct request *request, struct id128 id) {
    char hex[ID128_HEX_SIZE];
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "InitiateMultipartUploadResult");
    xml_string(&xml, "Bucket", request->bucket);
    xml_string(&xml, "Key", request->key);
    xml_string(&xml, "UploadId", id128_print(id, hex));
    xml_close(&xml, "InitiateMultipartUploadResult");
    return reply_xml(request, &xml);
}

int create_upload(struct request *request) {
    struct metadata metadata;
    struct id128 id = random_id128();
    Pb__Upload upload = PB__UPLOAD__INIT;
    Pb__CreateUpload create = PB__CREATE_UPLOAD__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    int rc = metadata_read(request, &metadata);
    if (rc != 0)
        return rc;
    upload.id = pb_id(&id);
    upload.started_ms = clock_wall_ms();
    upload.n_headers = metadata.header_count;
    upload.headers = metadata.headers;
    upload.n_metadata = metadata.pair_count;
    upload.metadata = metadata.pairs;
    create.bucket = (char *)(uintptr_t)request->bucket;
    create.key = (char *)(uintptr_t)request->key;
    create.upload = &upload;
    command.op_case = PB__COMMAND__OP_CREATE_UPLOAD;
    command.create_upload = &create;
    rc = catalogue_write(request, request->bucket, request->key, &command, &reply);
    return rc != 0 ? rc : reply_begun(request, id);
}

/* ---- parts ---- */

static int put_part_record(struct request *request, struct content *content, uint32_t number,
                           struct id128 upload, Pb__Part *part, char etag[ETAG_SIZE]) {
    Pb__PutPart put = PB__PUT_PART__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    pb__part__init(part);
    part->number = number;
    part->size = content->size;
    part->etag = object_etag(content->md5, etag);
    part->modified_ms = clock_wall_ms();
    part->n_chunks = content->chunk_count;
    part->chunks = content->chunks;
    part->crc32c = content->crc32c;
    put.bucket = (char *)(uintptr_t)request->bucket;
    put.key = (char *)(uintptr_t)request->key;
    put.upload = pb_id(&upload);
    put.part = part;
    command.op_case = PB__COMMAND__OP_PUT_PART;
    command.put_part = &put;
    request->deadline_ns =
        clock_deadline_ms(COMMAND_MS_MAX); /* anew: the body may have taken its time */
    int rc = catalogue_write(request, request->bucket, request->key, &command, &reply);
    content_settle(content, rc);
    return rc;
}

static int reply_part_copied(struct request *request, const Pb__Part *part) {
    char text[TIME_ISO8601_SIZE];
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "CopyPartResult");
    xml_string(&xml, "LastModified", time_print_iso8601((int64_t)part->modified_ms, text));
    object_xml_etag(&xml, part->etag);
    xml_close(&xml, "CopyPartResult");
    return reply_xml(request, &xml);
}

static int reply_part(struct request *request, const Pb__Part *part) {
    reply_start(request, 200);
    object_reply_etag(request, part->etag);
    body_reply_checksum(request);
    return reply_finish(request, NULL, 0);
}

static int read_part_number(struct request *request, uint32_t *ret_number) {
    uint64_t number;
    int rc = request_number(request, "partNumber", 0, PART_NUMBER_MAX, &number);
    if (rc != 0 || number == 0)
        return err_set(&request->err, ERR_INVALID,
                       "part number must be an integer between 1 and %u", PART_NUMBER_MAX);
    *ret_number = (uint32_t)number;
    return 0;
}

int put_part(struct request *request) {
    struct content content = {.request = request};
    struct object_source source;
    struct id128 upload;
    struct span text;
    uint32_t number = 0;
    Pb__Part part;
    char etag[ETAG_SIZE];
    bool is_copy = http1_find(&request->http, "x-amz-copy-source", &text);
    int rc = multipart_upload_id(request, &upload);
    if (rc == 0)
        rc = read_part_number(request, &number);
    if (rc == 0 && is_copy)
        rc = object_copy_source(request, &source);
    if (rc != 0)
        return rc;
    /* Never inline: the parts' chunks become the object's. */
    rc = is_copy ? object_copy_content(request, &source, &content, false)
                 : object_receive(request, &content, false);
    if (rc == 0)
        rc = put_part_record(request, &content, number, upload, &part, etag);
    content_close(&content);
    if (rc != 0)
        return rc;
    return is_copy ? reply_part_copied(request, &part) : reply_part(request, &part);
}

/* ---- end ---- */

static int fill_parts(struct request *request, const struct xml_complete *complete,
                      Pb__CompleteUpload *ret_upload) {
    Pb__CompletePart **parts =
        arena_array(&request->arena, Pb__CompletePart *, complete->part_count);
    for (size_t i = 0; i < complete->part_count && parts != NULL; i++) {
        if (i > 0 && complete->parts[i].number <= complete->parts[i - 1].number)
            return err_set(&request->err, ERR_INVALID_PART_ORDER, "%s",
                           err_text(ERR_INVALID_PART_ORDER));
        parts[i] = arena_new(&request->arena, Pb__CompletePart);
        if (parts[i] == NULL)
            break;
        pb__complete_part__init(parts[i]);
        parts[i]->number = complete->parts[i].number;
        parts[i]->etag = (char *)(uintptr_t)request_string(request, complete->parts[i].etag);
    }
    ret_upload->n_parts = complete->part_count;
    ret_upload->parts = parts;
    return request_memory(request);
}

static int reply_complete(struct request *request, const Pb__Object *object) {
    _cleanup_(buf_finip) struct buf xml = BUF_INIT, location = BUF_INIT;
    buf_puts(&location, "http://");
    buf_append(&location, request->http.host.data, request->http.host.size);
    uri_encode(&location, request->uri.path, true /* keep slashes */);
    xml_begin(&xml);
    xml_open_root(&xml, "CompleteMultipartUploadResult");
    xml_text(&xml, "Location", buf_span(&location));
    xml_string(&xml, "Bucket", request->bucket);
    xml_string(&xml, "Key", request->key);
    object_xml_etag(&xml, object->etag);
    xml_close(&xml, "CompleteMultipartUploadResult");
    return reply_xml(request, &xml);
}

static int submit_complete(struct request *request, const struct xml_complete *complete,
                           struct id128 upload, Pb__Reply **ret_reply) {
    struct id128 version = random_id128();
    Pb__Conditions conditions = PB__CONDITIONS__INIT;
    Pb__CompleteUpload end = PB__COMPLETE_UPLOAD__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    int rc = fill_parts(request, complete, &end);
    if (rc != 0)
        return rc;
    conditions.if_match = (char *)(uintptr_t)request_string(
        request, conditions_etag(http1_header(&request->http, "if-match")));
    conditions.if_none_match = (char *)(uintptr_t)request_string(
        request, conditions_etag(http1_header(&request->http, "if-none-match")));
    end.bucket = (char *)(uintptr_t)request->bucket;
    end.key = (char *)(uintptr_t)request->key;
    end.upload = pb_id(&upload);
    end.version = pb_id(&version);
    end.modified_ms = clock_wall_ms();
    end.conditions = &conditions;
    command.op_case = PB__COMMAND__OP_COMPLETE_UPLOAD;
    command.complete_upload = &end;
    return catalogue_write(request, request->bucket, request->key, &command, ret_reply);
}

int complete_upload(struct request *request) {
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct xml_complete complete;
    struct id128 upload;
    Pb__Reply *reply;
    int rc = multipart_upload_id(request, &upload);
    if (rc == 0)
        rc = body_read_whole(request, XML_BODY_BYTES_MAX, &body);
    if (rc == 0)
        rc = xml_read_complete(buf_span(&body), &request->arena, &complete, &request->err);
    if (rc == 0)
        rc = submit_complete(request, &complete, upload, &reply);
    if (rc != 0)
        return rc;
    if (reply->object == NULL)
        return err_set(&request->err, ERR_INTERNAL, "the catalogue gave no object for the upload");
    return reply_complete(request, reply->object);
}

int abort_upload(struct request *request) {
    struct id128 upload;
    Pb__AbortUpload end = PB__ABORT_UPLOAD__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    int rc = multipart_upload_id(request, &upload);
    if (rc != 0)
        return rc;
    end.bucket = (char *)(uintptr_t)request->bucket;
    end.key = (char *)(uintptr_t)request->key;
    end.upload = pb_id(&upload);
    command.op_case = PB__COMMAND__OP_ABORT_UPLOAD;
    command.abort_upload = &end;
    rc = catalogue_write(request, request->bucket, request->key, &command, &reply);
    return rc != 0 ? rc : reply_empty(request, 204);
}
