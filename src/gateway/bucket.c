/* Buckets: the root group knows which exist; each shard has a gate for each, through which writes
 * go.
 *
 * Creation: the root group's record first, then the gates; a gate that was not opened is opened by
 * the first write that finds it shut. Deletion: the record is marked (with a new epoch), the gates
 * are shut one by one, each only if its shard holds nothing, and the record goes when all are shut.
 * If one is not empty, the mark is taken back (with a newer epoch) and the gates are opened again.
 * A gate only moves to a larger epoch, so a slow gateway cannot undo what came later. */
#include "base/cleanup.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/ops.h"
#include "gateway/request.h"
#include "os/clock.h"
#include "wire/time.h"
#include "wire/xml.h"

#define CREATE_BODY_BYTES_MAX 65536u

/* Best effort: see above. */
static void open_gates(struct request *request, const char *name, uint64_t epoch) {
    uint32_t shards = catalogue_shard_count(request);
    for (uint32_t shard = 1; shard <= shards; shard++)
        (void)catalogue_set_gate(request, shard, name, epoch, true /* open */);
    request->err = (struct err){0};
}

int create_bucket(struct request *request) {
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct span location;
    Pb__CreateBucket create = PB__CREATE_BUCKET__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    int rc = body_read_whole(request, CREATE_BODY_BYTES_MAX, &body);
    if (rc == 0)
        rc = xml_read_create_bucket(buf_span(&body), &request->arena, &location, &request->err);
    if (rc != 0)
        return rc;
    create.name = (char *)(uintptr_t)request->bucket;
    create.created_ms = clock_wall_ms();
    command.op_case = PB__COMMAND__OP_CREATE_BUCKET;
    command.create_bucket = &create;
    rc = catalogue_submit(request, META_ROOT, &command, &reply);
    if (rc != 0)
        return rc;
    if (reply->bucket != NULL)
        open_gates(request, request->bucket, reply->bucket->epoch);
    reply_start(request, 200);
    reply_header(request, "Location", request_string(request, request->uri.path));
    return reply_finish(request, NULL, 0);
}

int head_bucket(struct request *request) {
    Pb__Bucket *bucket;
    int rc = catalogue_bucket(request, request->bucket, &bucket);
    if (rc != 0)
        return rc;
    reply_start(request, 200);
    reply_header(request, "x-amz-bucket-region", "us-east-1");
    return reply_finish(request, NULL, 0);
}

/* ---- deletion ---- */

static int begin_delete(struct request *request, Pb__Bucket **ret_bucket) {
    Pb__BeginDeleteBucket begin = PB__BEGIN_DELETE_BUCKET__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    begin.name = (char *)(uintptr_t)request->bucket;
    command.op_case = PB__COMMAND__OP_BEGIN_DELETE_BUCKET;
    command.begin_delete_bucket = &begin;
    int rc = catalogue_submit(request, META_ROOT, &command, &reply);
    if (rc == ERR_NOT_FOUND)
        return err_set(&request->err, ERR_NO_SUCH_BUCKET, "%s", err_text(ERR_NO_SUCH_BUCKET));
    if (rc == 0 && reply->bucket == NULL)
        return err_set(&request->err, ERR_INTERNAL, "the catalogue gave no bucket to delete");
    if (rc == 0)
        *ret_bucket = reply->bucket;
    return rc;
}

static int shut_gates(struct request *request, const Pb__Bucket *bucket) {
    uint32_t shards = catalogue_shard_count(request);
    int rc = 0;
    for (uint32_t shard = 1; shard <= shards && rc == 0; shard++)
        rc = catalogue_set_gate(request, shard, request->bucket, bucket->epoch, false /* shut */);
    return rc;
}

static void roll_back(struct request *request, const Pb__Bucket *bucket) {
    struct err reason = request->err;
    Pb__Bucket *again;
    if (catalogue_end_delete(request, bucket, true /* roll back */, &again) == 0)
        open_gates(request, request->bucket, again->epoch);
    request->err = reason;
}

int delete_bucket(struct request *request) {
    Pb__Bucket *bucket, *gone;
    int rc = begin_delete(request, &bucket);
    if (rc != 0)
        return rc;
    rc = shut_gates(request, bucket);
    if (rc == 0)
        rc = catalogue_end_delete(request, bucket, false /* really */, &gone);
    else
        roll_back(request, bucket);
    return rc != 0 ? rc : reply_empty(request, 204);
}

/* ---- the service ---- */

int list_buckets(struct request *request) {
    Pb__ListBuckets list = PB__LIST_BUCKETS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    query.op_case = PB__QUERY__OP_LIST_BUCKETS;
    query.list_buckets = &list;
    int rc = catalogue_query(request, META_ROOT, &query, &reply);
    if (rc != 0)
        return rc;
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    xml_begin(&xml);
    xml_open_root(&xml, "ListAllMyBucketsResult");
    xml_open(&xml, "Owner");
    xml_string(&xml, "ID", request->gateway->options.access_key);
    xml_string(&xml, "DisplayName", request->gateway->options.access_key);
    xml_close(&xml, "Owner");
    xml_open(&xml, "Buckets");
    for (size_t i = 0; i < reply->n_buckets; i++) {
        char text[TIME_ISO8601_SIZE];
        xml_open(&xml, "Bucket");
        xml_string(&xml, "Name", reply->buckets[i]->name);
        xml_string(&xml, "CreationDate",
                   time_print_iso8601((int64_t)reply->buckets[i]->created_ms, text));
        xml_close(&xml, "Bucket");
    }
    xml_close(&xml, "Buckets");
    xml_close(&xml, "ListAllMyBucketsResult");
    return reply_xml(request, &xml);
}
