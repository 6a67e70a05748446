/* ListObjects, both versions. */
#include <string.h>

#include "base/codec.h"
#include "base/cleanup.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/merge.h"
#include "gateway/object.h"
#include "gateway/ops.h"
#include "gateway/request.h"
#include "wire/time.h"
#include "wire/xml.h"

#define MAX_KEYS 1000u
#define JOBS_MAX 16 /* outcomes remembered within a listing */

struct listing {
    struct request *request;
    bool is_v2;
    bool is_url_encoded;
    bool with_owner;
    const char *prefix;
    const char *delimiter;
    const char *marker;      /* as the client gave it: marker, start-after or continuation-token */
    const char *start_after; /* what it means */
    uint64_t max_keys;
    /* Jobs of provisional records. */
    struct {
        struct id128 id;
        bool committed;
    } jobs[JOBS_MAX];
    unsigned job_count;
    /* The result: items in order, one more than asked for tells that there are more. */
    Pb__Reply nothing;
    struct merge_item *items;
    size_t count;
};

/* ---- what is asked ---- */

/* Behind everything that begins with the prefix: 0xff is in no UTF-8. */
static const char *after_prefix(struct request *request, const char *prefix) {
    const char *after = arena_printf(&request->arena, "%s\xff", prefix);
    return after != NULL ? after : "";
}

/* A marker that is itself a common prefix (NextMarker was one) goes on behind all that it stands
 * for. */
static const char *start_after_marker(const struct listing *listing, const char *marker) {
    size_t prefix_size = strlen(listing->prefix), size = strlen(marker),
           delimiter_size = strlen(listing->delimiter);
    if (delimiter_size == 0 || strncmp(marker, listing->prefix, prefix_size) != 0)
        return marker;
    const char *found = strstr(marker + prefix_size, listing->delimiter);
    return found != NULL && (size_t)(found - marker) + delimiter_size == size
               ? after_prefix(listing->request, marker)
               : marker;
}

static int read_token(struct listing *listing, struct span token) {
    char *start = arena_alloc(&listing->request->arena, token.size / 2 + 1);
    if (start == NULL)
        return request_memory(listing->request);
    if (token.size == 0 || token.size % 2 != 0 || !hex_decode(token, start, token.size / 2))
        return err_set(&listing->request->err, ERR_INVALID,
                       "the continuation token provided is incorrect");
    listing->start_after = start;
    return 0;
}

static int read_encoding(struct listing *listing) {
    struct span encoding;
    if (!uri_find(&listing->request->uri, "encoding-type", &encoding) || encoding.size == 0)
        return 0;
    listing->is_url_encoded = span_is(encoding, "url");
    return listing->is_url_encoded
               ? 0
               : err_set(&listing->request->err, ERR_INVALID, "invalid encoding method");
}

static int listing_init(struct listing *listing, struct request *request) {
    const struct uri *uri = &request->uri;
    struct span token, type;
    *listing = (struct listing){.request = request, .start_after = "", .nothing = PB__REPLY__INIT};
    if (uri_find(uri, "list-type", &type) && !span_is(type, "2"))
        return err_set(&request->err, ERR_INVALID, "list-type is 2 or absent");
    listing->is_v2 = uri_has(uri, "list-type");
    listing->with_owner = !listing->is_v2 || span_is(uri_param(uri, "fetch-owner"), "true");
    listing->prefix = request_string(request, uri_param(uri, "prefix"));
    listing->delimiter = request_string(request, uri_param(uri, "delimiter"));
    listing->marker =
        request_string(request, uri_param(uri, listing->is_v2 ? "start-after" : "marker"));
    int rc = read_encoding(listing);
    if (rc == 0)
        rc = request_number(request, "max-keys", MAX_KEYS, INT32_MAX, &listing->max_keys);
    if (listing->max_keys > MAX_KEYS)
        listing->max_keys = MAX_KEYS;
    if (rc == 0 && listing->is_v2 && uri_find(uri, "continuation-token", &token))
        return read_token(listing, token);
    listing->start_after =
        listing->is_v2 ? listing->marker : start_after_marker(listing, listing->marker);
    return rc != 0 ? rc : request_memory(request);
}

/* ---- what is there ---- */

static int fetch_page(void *context, uint32_t shard, const char *start_after,
                      Pb__Reply **ret_page) {
    struct listing *listing = context;
    uint32_t shards = catalogue_shard_count(listing->request);
    Pb__ListObjects list = PB__LIST_OBJECTS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    uint64_t limit = listing->max_keys * 3 / 2 / shards + 32; /* its share and some luck */
    list.bucket = (char *)(uintptr_t)listing->request->bucket;
    list.prefix = (char *)(uintptr_t)listing->prefix;
    list.delimiter = (char *)(uintptr_t)listing->delimiter;
    list.start_after = (char *)(uintptr_t)start_after;
    list.limit = (uint32_t)(limit < listing->max_keys + 1 ? limit : listing->max_keys + 1);
    query.op_case = PB__QUERY__OP_LIST_OBJECTS;
    query.list_objects = &list;
    int rc = catalogue_query(listing->request, shard, &query, ret_page);
    if (rc != ERR_NO_SUCH_BUCKET)
        return rc;
    *ret_page =
        &listing->nothing; /* the bucket is there, but this shard has never seen a write to it */
    return 0;
}

static int job_is_committed(struct listing *listing, ProtobufCBinaryData job, bool *ret_committed) {
    struct id128 id = pb_id128(job);
    for (unsigned i = 0; i < listing->job_count; i++)
        if (id128_equal(listing->jobs[i].id, id)) {
            *ret_committed = listing->jobs[i].committed;
            return 0;
        }
    int rc = catalogue_job_is_committed(listing->request, job, ret_committed);
    if (rc == 0 && listing->job_count < JOBS_MAX) {
        listing->jobs[listing->job_count].id = id;
        listing->jobs[listing->job_count++].committed = *ret_committed;
    }
    return rc;
}

/* Adds the item unless it is an output of a job that is not committed; a committed one takes the
 * ordinary one's place. */
static int add_item(struct listing *listing, struct merge_item item) {
    bool is_provisional = item.object != NULL && item.object->object->job.len > 0, committed = true;
    int rc = is_provisional ? job_is_committed(listing, item.object->object->job, &committed) : 0;
    if (rc != 0 || !committed)
        return rc;
    struct merge_item *last = listing->count > 0 ? &listing->items[listing->count - 1] : NULL;
    if (last != NULL && item.object != NULL && last->object != NULL &&
        strcmp(last->name, item.name) == 0) {
        if (is_provisional)
            *last = item;
        return 0;
    }
    listing->items[listing->count++] = item;
    return 0;
}

static int gather(struct listing *listing) {
    struct request *request = listing->request;
    struct merge merge;
    struct merge_item item;
    listing->items = arena_array(&request->arena, struct merge_item, MAX_KEYS + 2);
    int rc = merge_init(&merge, catalogue_shard_count(request), listing->start_after,
                        &request->arena, fetch_page, listing);
    if (rc != 0 || listing->items == NULL)
        return request_memory(request);
    while (listing->max_keys > 0 && listing->count <= listing->max_keys) {
        rc = merge_next(&merge, &item);
        if (rc == 0 && item.name != NULL)
            rc = add_item(listing, item);
        if (rc != 0 || item.name == NULL)
            return rc;
    }
    return 0;
}

/* ---- the reply ---- */

static void print_name(const struct listing *listing, struct buf *xml, const char *element,
                       const char *name) {
    _cleanup_(buf_finip) struct buf encoded = BUF_INIT;
    if (!listing->is_url_encoded) {
        xml_string(xml, element, name);
        return;
    }
    uri_encode(&encoded, span_of(name), true /* keep slashes */);
    xml_text(xml, element, buf_span(&encoded));
}

static void print_object(const struct listing *listing, struct buf *xml,
                         const struct merge_item *item) {
    const Pb__Object *object = item->object->object;
    const char *owner = listing->request->gateway->options.access_key;
    char text[TIME_ISO8601_SIZE];
    xml_open(xml, "Contents");
    print_name(listing, xml, "Key", item->name);
    xml_string(xml, "LastModified", time_print_iso8601((int64_t)object->modified_ms, text));
    object_xml_etag(xml, object->etag);
    xml_number(xml, "Size", object->size);
    if (listing->with_owner) {
        xml_open(xml, "Owner");
        xml_string(xml, "ID", owner);
        xml_string(xml, "DisplayName", owner);
        xml_close(xml, "Owner");
    }
    xml_string(xml, "StorageClass", "STANDARD");
    xml_close(xml, "Contents");
}

static void print_items(const struct listing *listing, struct buf *xml, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (listing->items[i].object != NULL)
            print_object(listing, xml, &listing->items[i]);
    for (size_t i = 0; i < count; i++) {
        if (listing->items[i].object != NULL)
            continue;
        xml_open(xml, "CommonPrefixes");
        print_name(listing, xml, "Prefix", listing->items[i].name);
        xml_close(xml, "CommonPrefixes");
    }
}

static void print_token(const struct listing *listing, struct buf *xml,
                        const struct merge_item *last) {
    const char *start =
        last->object != NULL ? last->name : after_prefix(listing->request, last->name);
    size_t size = strlen(start);
    char *hex = arena_alloc(&listing->request->arena, 2 * size + 1);
    if (hex != NULL)
        xml_string(xml, "NextContinuationToken", hex_encode(start, size, hex));
}

static void print_next(const struct listing *listing, struct buf *xml, size_t count) {
    const struct merge_item *last = &listing->items[count - 1];
    if (listing->is_v2)
        print_token(listing, xml, last);
    else
        print_name(listing, xml, "NextMarker", last->name);
}

static void print_parameters(const struct listing *listing, struct buf *xml, size_t count) {
    xml_string(xml, "Name", listing->request->bucket);
    print_name(listing, xml, "Prefix", listing->prefix);
    if (!listing->is_v2) {
        print_name(listing, xml, "Marker", listing->marker);
    } else {
        xml_number(xml, "KeyCount", count);
        if (listing->marker[0] != '\0')
            print_name(listing, xml, "StartAfter", listing->marker);
        if (uri_has(&listing->request->uri, "continuation-token"))
            xml_text(xml, "ContinuationToken",
                     uri_param(&listing->request->uri, "continuation-token"));
    }
    xml_number(xml, "MaxKeys", listing->max_keys);
    if (listing->delimiter[0] != '\0')
        print_name(listing, xml, "Delimiter", listing->delimiter);
    if (listing->is_url_encoded)
        xml_string(xml, "EncodingType", "url");
}

static int reply_listing(const struct listing *listing) {
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    bool is_truncated = listing->count > listing->max_keys;
    size_t count = is_truncated ? (size_t)listing->max_keys : listing->count;
    xml_begin(&xml);
    xml_open_root(&xml, "ListBucketResult");
    print_parameters(listing, &xml, count);
    xml_bool(&xml, "IsTruncated", is_truncated);
    if (is_truncated)
        print_next(listing, &xml, count);
    print_items(listing, &xml, count);
    xml_close(&xml, "ListBucketResult");
    int rc = request_memory(listing->request);
    return rc != 0 ? rc : reply_xml(listing->request, &xml);
}

int list_objects(struct request *request) {
    struct listing *listing = arena_new(&request->arena, struct listing);
    Pb__Bucket *bucket;
    if (listing == NULL)
        return request_memory(request);
    int rc = listing_init(listing, request);
    if (rc == 0)
        rc = catalogue_bucket(request, request->bucket, &bucket);
    if (rc == 0)
        rc = gather(listing);
    return rc != 0 ? rc : reply_listing(listing);
}
