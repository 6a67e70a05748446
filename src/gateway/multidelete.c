/* DeleteObjects: up to 1000 keys in one request, each with its own outcome. */
#include "base/cleanup.h"
#include "gateway/catalogue.h"
#include "gateway/object.h"
#include "gateway/ops.h"
#include "gateway/request.h"
#include "os/clock.h"
#include "wire/utf8.h"
#include "wire/xml.h"

#define KEY_MS_MAX 30000

static int delete_one(struct request *request, const struct xml_delete_object *object) {
    const char *key = request_string(request, object->key);
    request->err = (struct err){0};
    request->deadline_ns = clock_deadline_ms(KEY_MS_MAX);
    if (object->version_id.size > 0 && !span_is(object->version_id, "null"))
        return err_set(&request->err, ERR_INVALID, "there are no versions but \"null\" here");
    if (object->key.size == 0 || object->key.size > 1024 || !utf8_is_valid(object->key))
        return err_set(&request->err, ERR_INVALID_KEY, "the key is not valid");
    int rc = request_memory(request);
    return rc != 0 ? rc : object_delete(request, key, NULL);
}

static void print_outcome(struct request *request, struct buf *xml, struct span key, int rc,
                          bool is_quiet) {
    if (rc == 0 && is_quiet)
        return;
    const char *element = rc == 0 ? "Deleted" : "Error";
    xml_open(xml, element);
    xml_text(xml, "Key", key);
    if (rc != 0) {
        xml_string(xml, "Code", err_s3_code(rc));
        xml_string(xml, "Message", err_message(&request->err, rc));
    }
    xml_close(xml, element);
}

int delete_objects(struct request *request) {
    _cleanup_(buf_finip) struct buf body = BUF_INIT, xml = BUF_INIT;
    struct xml_delete delete;
    Pb__Bucket *bucket;
    int rc = body_read_whole(request, XML_BODY_BYTES_MAX, &body);
    if (rc == 0)
        rc = xml_read_delete(buf_span(&body), &request->arena, &delete, &request->err);
    if (rc == 0)
        rc = catalogue_bucket(request, request->bucket, &bucket);
    if (rc != 0)
        return rc;
    xml_begin(&xml);
    xml_open_root(&xml, "DeleteResult");
    for (size_t i = 0; i < delete.object_count; i++) {
        rc = delete_one(request, &delete.objects[i]);
        print_outcome(request, &xml, delete.objects[i].key, rc, delete.is_quiet);
    }
    xml_close(&xml, "DeleteResult");
    return reply_xml(request, &xml);
}
