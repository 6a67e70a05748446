/* Commands and queries as the handlers need them. */
#include "gateway/catalogue.h"

#include "core/place.h"
#include "gateway/gateway_impl.h"
#include "gateway/request.h"

#define GATE_TRIES 3

uint32_t catalogue_shard_count(struct request *request) {
    struct place_map *map = meta_map(request->gateway->options.meta);
    uint32_t shards = map->shards;
    place_map_unref(map);
    return shards;
}

uint32_t catalogue_shard_of(struct request *request, const char *bucket, const char *key) {
    struct place_map *map = meta_map(request->gateway->options.meta);
    uint32_t shard = place_shard_of(map, bucket, key);
    place_map_unref(map);
    return shard;
}

int catalogue_query(struct request *request, uint32_t group, const Pb__Query *query,
                    Pb__Reply **ret_reply) {
    return meta_query(request->gateway->options.meta, group, query, request->deadline_ns,
                      &request->arena, ret_reply, &request->err);
}

int catalogue_submit(struct request *request, uint32_t group, Pb__Command *command,
                     Pb__Reply **ret_reply) {
    return meta_submit(request->gateway->options.meta, group, command, request->deadline_ns,
                       &request->arena, ret_reply, &request->err);
}

/* ---- buckets and their gates ---- */

int catalogue_bucket(struct request *request, const char *bucket, Pb__Bucket **ret_bucket) {
    Pb__GetBucket get = PB__GET_BUCKET__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    get.name = (char *)(uintptr_t)bucket;
    query.op_case = PB__QUERY__OP_GET_BUCKET;
    query.get_bucket = &get;
    int rc = catalogue_query(request, META_ROOT, &query, &reply);
    if (rc == ERR_NO_SUCH_BUCKET || rc == ERR_NOT_FOUND || (rc == 0 && reply->bucket == NULL))
        return err_set(&request->err, ERR_NO_SUCH_BUCKET, "%s", err_text(ERR_NO_SUCH_BUCKET));
    if (rc == 0)
        *ret_bucket = reply->bucket;
    return rc;
}

int catalogue_set_gate(struct request *request, uint32_t shard, const char *bucket, uint64_t epoch,
                       bool open) {
    Pb__SetGate gate = PB__SET_GATE__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    gate.bucket = (char *)(uintptr_t)bucket;
    gate.epoch = epoch;
    gate.open = open;
    gate.only_if_empty = !open;
    command.op_case = PB__COMMAND__OP_SET_GATE;
    command.set_gate = &gate;
    return catalogue_submit(request, shard, &command, &reply);
}

int catalogue_end_delete(struct request *request, const Pb__Bucket *bucket, bool rollback,
                         Pb__Bucket **ret_bucket) {
    Pb__EndDeleteBucket end = PB__END_DELETE_BUCKET__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    end.name = bucket->name;
    end.epoch = bucket->epoch;
    end.rollback = rollback;
    command.op_case = PB__COMMAND__OP_END_DELETE_BUCKET;
    command.end_delete_bucket = &end;
    int rc = catalogue_submit(request, META_ROOT, &command, &reply);
    if (rc == 0 && rollback && reply->bucket == NULL)
        return err_set(&request->err, ERR_CONFLICT, "%s", err_text(ERR_CONFLICT));
    if (rc == 0)
        *ret_bucket = reply->bucket;
    return rc;
}

/* A write found the gate shut. Either the bucket is gone, or its creation did not get to this
 * shard, or a delete is under way (perhaps of a gateway that died): a bucket that is written to is
 * not empty, so the delete gives way. */
static int open_gate(struct request *request, uint32_t shard, const char *name) {
    Pb__Bucket *bucket;
    int rc = catalogue_bucket(request, name, &bucket);
    if (rc == 0 && bucket->deleting)
        rc = catalogue_end_delete(request, bucket, true /* roll back */, &bucket);
    if (rc == ERR_NO_SUCH_BUCKET || rc == ERR_NOT_FOUND)
        return err_set(&request->err, ERR_NO_SUCH_BUCKET, "%s", err_text(ERR_NO_SUCH_BUCKET));
    return rc != 0 ? rc : catalogue_set_gate(request, shard, name, bucket->epoch, true /* open */);
}

int catalogue_write(struct request *request, const char *bucket, const char *key,
                    Pb__Command *command, Pb__Reply **ret_reply) {
    uint32_t shard = catalogue_shard_of(request, bucket, key);
    int rc = catalogue_submit(request, shard, command, ret_reply);
    for (int i = 0; i < GATE_TRIES && rc == ERR_NO_SUCH_BUCKET; i++) {
        rc = open_gate(request, shard, bucket);
        if (rc == 0)
            rc = catalogue_submit(request, shard, command, ret_reply);
    }
    return rc;
}

/* ---- objects ---- */

int catalogue_job_is_committed(struct request *request, ProtobufCBinaryData job,
                               bool *ret_committed) {
    Pb__GetJob get = PB__GET_JOB__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    get.job = job;
    query.op_case = PB__QUERY__OP_GET_JOB;
    query.get_job = &get;
    int rc = catalogue_query(request, META_ROOT, &query, &reply);
    if (rc != 0 && rc != ERR_NO_SUCH_JOB && rc != ERR_NOT_FOUND)
        return rc;
    *ret_committed =
        rc == 0 && reply->job != NULL && reply->job->state == PB__JOB_STATE__JOB_COMMITTED;
    return 0;
}

/* A miss: the key, or the bucket too? */
static int explain_miss(struct request *request, const char *bucket) {
    Pb__Bucket *found;
    int rc = catalogue_bucket(request, bucket, &found);
    return rc != 0 ? rc : err_set(&request->err, ERR_NO_SUCH_KEY, "%s", err_text(ERR_NO_SUCH_KEY));
}

/* A job's output counts from the moment its job is committed, even before its record is settled. */
static int find_committed(struct request *request, const Pb__Reply *reply, Pb__Object **object) {
    for (size_t i = 0; i < reply->n_objects; i++) {
        bool committed;
        Pb__Object *provisional = reply->objects[i]->object;
        int rc = catalogue_job_is_committed(request, provisional->job, &committed);
        if (rc != 0)
            return rc;
        if (committed)
            *object = provisional;
    }
    return 0;
}

int catalogue_object(struct request *request, const char *bucket, const char *key,
                     Pb__Object **ret_object) {
    Pb__GetObject get = PB__GET_OBJECT__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply = NULL;
    get.bucket = (char *)(uintptr_t)bucket;
    get.key = (char *)(uintptr_t)key;
    get.with_provisional = true;
    query.op_case = PB__QUERY__OP_GET_OBJECT;
    query.get_object = &get;
    int rc = catalogue_query(request, catalogue_shard_of(request, bucket, key), &query, &reply);
    bool is_miss = rc == ERR_NO_SUCH_KEY || rc == ERR_NOT_FOUND || rc == ERR_NO_SUCH_BUCKET;
    if (rc != 0 && !is_miss)
        return rc;
    Pb__Object *object = is_miss || reply == NULL ? NULL : reply->object;
    rc = reply != NULL ? find_committed(request, reply, &object) : 0;
    if (rc != 0)
        return rc;
    if (object == NULL)
        return explain_miss(request, bucket);
    *ret_object = object;
    return 0;
}
