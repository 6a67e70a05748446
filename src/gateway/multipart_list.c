/* ListParts and ListMultipartUploads. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/multipart.h"
#include "gateway/object.h"
#include "gateway/ops.h"
#include "gateway/request.h"
#include "wire/time.h"
#include "wire/xml.h"

#define PAGE_MAX 1000u

struct names { /* how keys are printed */
    bool is_url_encoded;
};

static int names_init(struct names *names, struct request *request) {
    struct span encoding = uri_param(&request->uri, "encoding-type");
    names->is_url_encoded = span_is(encoding, "url");
    if (encoding.size > 0 && !names->is_url_encoded)
        return err_set(&request->err, ERR_INVALID, "invalid encoding method");
    return 0;
}

static void print_name(const struct names *names, struct buf *xml, const char *element,
                       const char *name) {
    _cleanup_(buf_finip) struct buf encoded = BUF_INIT;
    if (!names->is_url_encoded) {
        xml_string(xml, element, name);
        return;
    }
    uri_encode(&encoded, span_of(name), true /* keep slashes */);
    xml_text(xml, element, buf_span(&encoded));
}

static void print_person(struct buf *xml, const char *element, const char *name) {
    xml_open(xml, element);
    xml_string(xml, "ID", name);
    xml_string(xml, "DisplayName", name);
    xml_close(xml, element);
}

static void print_people(struct request *request, struct buf *xml) {
    print_person(xml, "Initiator", request->gateway->options.access_key);
    print_person(xml, "Owner", request->gateway->options.access_key);
    xml_string(xml, "StorageClass", "STANDARD");
}

/* ---- parts ---- */

static void print_part(struct buf *xml, const Pb__Part *part) {
    char text[TIME_ISO8601_SIZE];
    xml_open(xml, "Part");
    xml_number(xml, "PartNumber", part->number);
    xml_string(xml, "LastModified", time_print_iso8601((int64_t)part->modified_ms, text));
    object_xml_etag(xml, part->etag);
    xml_number(xml, "Size", part->size);
    xml_close(xml, "Part");
}

static int reply_parts(struct request *request, const struct names *names,
                       const Pb__ListParts *list, const Pb__Reply *reply) {
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "ListPartsResult");
    xml_string(&xml, "Bucket", request->bucket);
    print_name(names, &xml, "Key", request->key);
    xml_text(&xml, "UploadId", uri_param(&request->uri, "uploadId"));
    print_people(request, &xml);
    xml_number(&xml, "PartNumberMarker", list->part_marker);
    if (reply->n_parts > 0)
        xml_number(&xml, "NextPartNumberMarker", reply->parts[reply->n_parts - 1]->number);
    xml_number(&xml, "MaxParts", list->limit);
    xml_bool(&xml, "IsTruncated", reply->truncated);
    for (size_t i = 0; i < reply->n_parts; i++)
        print_part(&xml, reply->parts[i]);
    xml_close(&xml, "ListPartsResult");
    return reply_xml(request, &xml);
}

int list_parts(struct request *request) {
    Pb__ListParts list = PB__LIST_PARTS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    struct names names;
    struct id128 upload;
    uint64_t limit, marker;
    int rc = multipart_upload_id(request, &upload);
    if (rc == 0)
        rc = names_init(&names, request);
    if (rc == 0)
        rc = request_number(request, "max-parts", PAGE_MAX, INT32_MAX, &limit);
    if (rc == 0)
        rc = request_number(request, "part-number-marker", 0, INT32_MAX, &marker);
    if (rc != 0)
        return rc;
    list.bucket = (char *)(uintptr_t)request->bucket;
    list.key = (char *)(uintptr_t)request->key;
    list.upload = pb_id(&upload);
    list.limit = (uint32_t)(limit > 0 && limit < PAGE_MAX ? limit : PAGE_MAX);
    list.part_marker = (uint32_t)marker;
    query.op_case = PB__QUERY__OP_LIST_PARTS;
    query.list_parts = &list;
    rc = catalogue_query(request, catalogue_shard_of(request, request->bucket, request->key),
                         &query, &reply);
    return rc != 0 ? rc : reply_parts(request, &names, &list, reply);
}

/* ---- uploads ---- */

struct uploads {
    Pb__ListedUpload **items;
    size_t count;
    bool is_truncated;
};

static int compare_uploads(const void *a, const void *b) {
    const Pb__ListedUpload *first = *(Pb__ListedUpload *const *)a,
                           *second = *(Pb__ListedUpload *const *)b;
    int order = strcmp(first->key, second->key);
    return order != 0 ? order
                      : span_compare(pb_span(first->upload->id), pb_span(second->upload->id));
}

/* The first page of every shard, sorted; what lies beyond limit comes with the next request. */
static int gather_uploads(struct request *request, Pb__ListUploads *list, struct uploads *uploads) {
    uint32_t shards = catalogue_shard_count(request);
    Pb__Query query = PB__QUERY__INIT;
    query.op_case = PB__QUERY__OP_LIST_UPLOADS;
    query.list_uploads = list;
    uploads->items = arena_array(&request->arena, Pb__ListedUpload *, (size_t)shards * list->limit);
    if (uploads->items == NULL)
        return request_memory(request);
    for (uint32_t shard = 1; shard <= shards; shard++) {
        Pb__Reply *reply;
        int rc = catalogue_query(request, shard, &query, &reply);
        if (rc == ERR_NO_SUCH_BUCKET)
            continue; /* the bucket is there, but this shard has never seen a write to it */
        if (rc != 0)
            return rc;
        for (size_t i = 0; i < reply->n_uploads && i < list->limit; i++)
            uploads->items[uploads->count++] = reply->uploads[i];
        uploads->is_truncated |= reply->truncated;
    }
    if (uploads->count > 0)
        qsort(uploads->items, uploads->count, sizeof *uploads->items, compare_uploads);
    if (uploads->count > list->limit) {
        uploads->count = list->limit;
        uploads->is_truncated = true;
    }
    return 0;
}

static void print_upload(struct request *request, const struct names *names, struct buf *xml,
                         const Pb__ListedUpload *listed) {
    char id[ID128_HEX_SIZE], text[TIME_ISO8601_SIZE];
    xml_open(xml, "Upload");
    print_name(names, xml, "Key", listed->key);
    xml_string(xml, "UploadId", id128_print(pb_id128(listed->upload->id), id));
    print_people(request, xml);
    xml_string(xml, "Initiated", time_print_iso8601((int64_t)listed->upload->started_ms, text));
    xml_close(xml, "Upload");
}

static int reply_uploads(struct request *request, const struct names *names,
                         const Pb__ListUploads *list, const struct uploads *uploads) {
    char id[ID128_HEX_SIZE];
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "ListMultipartUploadsResult");
    xml_string(&xml, "Bucket", request->bucket);
    print_name(names, &xml, "KeyMarker", list->key_marker);
    xml_text(&xml, "UploadIdMarker", uri_param(&request->uri, "upload-id-marker"));
    if (uploads->is_truncated && uploads->count > 0) {
        const Pb__ListedUpload *last = uploads->items[uploads->count - 1];
        print_name(names, &xml, "NextKeyMarker", last->key);
        xml_string(&xml, "NextUploadIdMarker", id128_print(pb_id128(last->upload->id), id));
    }
    print_name(names, &xml, "Prefix", list->prefix);
    if (names->is_url_encoded)
        xml_string(&xml, "EncodingType", "url");
    xml_number(&xml, "MaxUploads", list->limit);
    xml_bool(&xml, "IsTruncated", uploads->is_truncated);
    for (size_t i = 0; i < uploads->count; i++)
        print_upload(request, names, &xml, uploads->items[i]);
    xml_close(&xml, "ListMultipartUploadsResult");
    return reply_xml(request, &xml);
}

int list_uploads(struct request *request) {
    Pb__ListUploads list = PB__LIST_UPLOADS__INIT;
    Pb__Bucket *bucket;
    struct uploads uploads = {0};
    struct names names;
    struct id128 marker;
    uint64_t limit;
    int rc = names_init(&names, request);
    if (rc == 0)
        rc = request_number(request, "max-uploads", PAGE_MAX, INT32_MAX, &limit);
    if (rc == 0)
        rc = catalogue_bucket(request, request->bucket, &bucket);
    if (rc != 0)
        return rc;
    list.bucket = (char *)(uintptr_t)request->bucket;
    list.prefix = (char *)(uintptr_t)request_string(request, uri_param(&request->uri, "prefix"));
    list.key_marker =
        (char *)(uintptr_t)request_string(request, uri_param(&request->uri, "key-marker"));
    if (id128_parse(uri_param(&request->uri, "upload-id-marker"), &marker))
        list.upload_marker = pb_id(&marker);
    list.limit = (uint32_t)(limit < PAGE_MAX ? limit : PAGE_MAX);
    rc = list.limit > 0 ? gather_uploads(request, &list, &uploads) : request_memory(request);
    return rc != 0 ? rc : reply_uploads(request, &names, &list, &uploads);
}
