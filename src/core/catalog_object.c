/* Objects of a shard: put, delete, get, and the checks that writes share. */
#include "base/assert.h"
#include "core/catalog_impl.h"

/* ---- checks ---- */

bool catalog_check_name(struct catalog_step *step, const char *bucket, const char *key) {
    size_t bucket_size = strlen(bucket), key_size = strlen(key);
    if (bucket_size == 0 || bucket_size > CATALOG_BUCKET_BYTES_MAX)
        catalog_refuse(step, ERR_INVALID_BUCKET_NAME, "a bucket's name of %zu bytes", bucket_size);
    else if (key_size == 0)
        catalog_refuse(step, ERR_INVALID_KEY, "an empty key");
    else if (key_size > CATALOG_KEY_BYTES_MAX)
        catalog_refuse(step, ERR_KEY_TOO_LONG, "a key of %zu bytes", key_size);
    return step->reply->code == 0;
}

bool catalog_check_id(struct catalog_step *step, ProtobufCBinaryData id, const char *what) {
    if (id.len != sizeof(struct id128))
        catalog_refuse(step, ERR_INVALID, "the %s has %zu bytes, not 16", what, id.len);
    return step->reply->code == 0;
}

bool catalog_check_chunks(struct catalog_step *step, Pb__ChunkRef **chunks, size_t count,
                          uint64_t *ret_bytes) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (!catalog_check_id(step, chunks[i]->id, "chunk id"))
            return false;
        if (chunks[i]->length == 0 || chunks[i]->length > UINT64_MAX - bytes) {
            catalog_refuse(step, ERR_INVALID, "a chunk of %llu bytes",
                           (unsigned long long)chunks[i]->length);
            return false;
        }
        bytes += chunks[i]->length;
    }
    *ret_bytes = bytes;
    return true;
}

bool catalog_check_writable(struct catalog_step *step, const char *bucket, const char *key) {
    if (!catalog_check_name(step, bucket, key))
        return false;
    if (!catalog_bucket_is_open(step, bucket))
        catalog_refuse(step, ERR_NO_SUCH_BUCKET, "there is no bucket %s", bucket);
    return step->reply->code == 0;
}

static bool etag_matches(const char *wanted, const Pb__Object *current) {
    return current != NULL && (strcmp(wanted, "*") == 0 || strcmp(wanted, current->etag) == 0);
}

bool catalog_check_conditions(struct catalog_step *step, const Pb__Conditions *conditions,
                              const Pb__Object *current) {
    if (conditions == NULL)
        return true;
    if (conditions->if_match[0] != '\0' && current == NULL)
        catalog_refuse(step, ERR_NO_SUCH_KEY, "If-Match on a key that does not exist");
    else if (conditions->if_match[0] != '\0' && !etag_matches(conditions->if_match, current))
        catalog_refuse(step, ERR_PRECONDITION_FAILED, "If-Match does not hold");
    else if (conditions->if_none_match[0] != '\0' &&
             etag_matches(conditions->if_none_match, current))
        catalog_refuse(step, ERR_PRECONDITION_FAILED, "If-None-Match does not hold");
    return step->reply->code == 0;
}

static bool check_object(struct catalog_step *step, const Pb__Object *object) {
    if (object == NULL) {
        catalog_refuse(step, ERR_PROTOCOL, "a put without an object");
        return false;
    }
    uint64_t bytes;
    if (!catalog_check_id(step, object->version, "version") ||
        !catalog_check_chunks(step, object->chunks, object->n_chunks, &bytes))
        return false;
    if (object->n_chunks > 0 && object->inline_data.len > 0)
        catalog_refuse(step, ERR_INVALID, "an object has chunks or inline data, not both");
    else if (bytes + object->inline_data.len != object->size)
        catalog_refuse(step, ERR_INVALID, "an object's size is not that of its data");
    else if (object->job.len > 0)
        catalog_check_id(step, object->job, "job");
    return step->reply->code == 0;
}

/* ---- put ---- */

static bool same_version(const Pb__Object *a, const Pb__Object *b) {
    return a != NULL && span_equal(pb_span(a->version), pb_span(b->version));
}

static struct catalog_chunks chunks_of(const Pb__Object *object) {
    return object != NULL ? (struct catalog_chunks){object->chunks, object->n_chunks}
                          : (struct catalog_chunks){0};
}

void catalog_replace_object(struct catalog_step *step, const char *bucket, const char *key,
                            const Pb__Object *before, const Pb__Object *object) {
    struct catalog_key full = catalog_key_object(step, bucket, key);
    catalog_queue_chunks(step, chunks_of(before), chunks_of(object));
    catalog_store(step, &full, &object->base);
}

void catalog_reply_object(struct catalog_step *step, const Pb__Object *object) {
    Pb__Object *short_object = catalog_alloc(step, sizeof *short_object);
    pb__object__init(short_object);
    short_object->version = object->version;
    short_object->size = object->size;
    short_object->etag = object->etag;
    short_object->modified_ms = object->modified_ms;
    short_object->crc32c = object->crc32c;
    short_object->job = object->job;
    step->reply->object = short_object;
}

static struct catalog_key provisional_key(const struct catalog_step *step, const char *bucket,
                                          const char *key, ProtobufCBinaryData job) {
    struct catalog_key full = catalog_key(step->group, TABLE_PROVISIONAL);
    catalog_key_string(&full, bucket);
    catalog_key_string(&full, key);
    catalog_key_bytes(&full, job.data, job.len);
    return full;
}

static struct catalog_key by_job_key(const struct catalog_step *step, ProtobufCBinaryData job) {
    struct catalog_key full = catalog_key(step->group, TABLE_BY_JOB);
    catalog_key_bytes(&full, job.data, job.len);
    return full;
}

static struct catalog_key settled_key(const struct catalog_step *step, ProtobufCBinaryData job,
                                      bool committed) {
    struct catalog_key full = catalog_key(step->group, TABLE_SETTLED);
    catalog_key_bytes(&full, job.data, job.len);
    catalog_key_number(&full, committed, 1);
    return full;
}

static bool is_settled(struct catalog_step *step, ProtobufCBinaryData job, bool committed) {
    struct catalog_key key = settled_key(step, job, committed);
    return catalog_has(step, &key);
}

static void put_provisional(struct catalog_step *step, const Pb__PutObject *op) {
    if (op->conditions != NULL) {
        catalog_refuse(step, ERR_INVALID, "an object of a job takes no conditions");
        return;
    }
    if (is_settled(step, op->object->job, true) || is_settled(step, op->object->job, false)) {
        catalog_refuse(step, ERR_CONFLICT, "the job is settled");
        return;
    }
    struct catalog_key key = provisional_key(step, op->bucket, op->key, op->object->job);
    struct catalog_key by_job = by_job_key(step, op->object->job);
    catalog_key_string(&by_job, op->bucket);
    catalog_key_text(&by_job, op->key);
    const Pb__Object *before = catalog_load(step, &key, &pb__object__descriptor);
    catalog_queue_chunks(step, chunks_of(before), chunks_of(op->object));
    catalog_store(step, &key, &op->object->base);
    catalog_store_bytes(step, &by_job, NULL, 0);
    catalog_reply_object(step, op->object);
}

void catalog_put_object(struct catalog_step *step, const Pb__PutObject *op) {
    if (!check_object(step, op->object) || !catalog_check_writable(step, op->bucket, op->key))
        return;
    if (op->object->job.len > 0) {
        put_provisional(step, op);
        return;
    }
    struct catalog_key key = catalog_key_object(step, op->bucket, op->key);
    const Pb__Object *before = catalog_load(step, &key, &pb__object__descriptor);
    if (same_version(before, op->object)) {
        catalog_reply_object(step, before);
        return;
    }
    if (!catalog_check_conditions(step, op->conditions, before))
        return;
    catalog_replace_object(step, op->bucket, op->key, before, op->object);
    catalog_reply_object(step, op->object);
}

void catalog_delete_object(struct catalog_step *step, const Pb__DeleteObject *op) {
    if (!catalog_check_writable(step, op->bucket, op->key))
        return;
    struct catalog_key key = catalog_key_object(step, op->bucket, op->key);
    const Pb__Object *before = catalog_load(step, &key, &pb__object__descriptor);
    if (!catalog_check_conditions(step, op->conditions, before))
        return;
    step->reply->existed = before != NULL;
    if (before == NULL)
        return;
    catalog_queue_chunks(step, chunks_of(before), (struct catalog_chunks){0});
    catalog_erase(step, &key);
}

/* ---- the end of a job ---- */

/* One provisional record; name = bucket NUL key, as in the index. */
static void settle_one(struct catalog_step *step, const Pb__SettleJob *op, const char *name) {
    const char *bucket = name, *key = name + strlen(name) + 1;
    struct catalog_key provisional = provisional_key(step, bucket, key, op->job),
                       by_job = by_job_key(step, op->job);
    catalog_key_string(&by_job, bucket);
    catalog_key_text(&by_job, key);
    Pb__Object *object = catalog_load(step, &provisional, &pb__object__descriptor);
    catalog_erase(step, &by_job);
    catalog_erase(step, &provisional);
    if (object == NULL)
        return;
    if (!op->committed) {
        catalog_queue_chunks(step, chunks_of(object), (struct catalog_chunks){0});
        return;
    }
    struct catalog_key visible = catalog_key_object(step, bucket, key);
    object->job = pb_bytes(NULL, 0);
    catalog_replace_object(step, bucket, key, catalog_load(step, &visible, &pb__object__descriptor),
                           object);
}

/* At most CATALOG_STEP_RECORDS_MAX names of the job's records, each bucket NUL key NUL. */
static unsigned collect_names(struct catalog_step *step, ProtobufCBinaryData job,
                              const char **names) {
    struct catalog_key prefix = by_job_key(step, job);
    struct catalog_scan scan;
    unsigned count = 0;
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        if (count == CATALOG_STEP_RECORDS_MAX) {
            step->reply->truncated = true;
            break;
        }
        struct span name = catalog_scan_rest(&scan);
        names[count++] = memcpy(catalog_alloc(step, name.size + 1), name.data, name.size);
    }
    catalog_scan_close(&scan);
    return count;
}

/* Which way the job went is kept, so that a put that comes late is refused. */
void catalog_settle_job(struct catalog_step *step, const Pb__SettleJob *op) {
    if (!catalog_check_id(step, op->job, "job"))
        return;
    if (is_settled(step, op->job, !op->committed)) {
        catalog_refuse(step, ERR_CONFLICT, "the job was settled the other way");
        return;
    }
    const char *names[CATALOG_STEP_RECORDS_MAX];
    unsigned count = collect_names(step, op->job, names);
    for (unsigned i = 0; i < count; i++)
        settle_one(step, op, names[i]);
    struct catalog_key key = settled_key(step, op->job, op->committed);
    catalog_store_bytes(step, &key, NULL, 0);
}

/* ---- get ---- */

static Pb__ListedObject *listed(struct catalog_step *step, const char *key, Pb__Object *object) {
    Pb__ListedObject *listed = catalog_alloc(step, sizeof *listed);
    pb__listed_object__init(listed);
    listed->key = pb_text(key);
    listed->object = object;
    return listed;
}

static void get_provisional(struct catalog_step *step, const Pb__GetObject *query) {
    struct catalog_key prefix = provisional_key(step, query->bucket, query->key, pb_bytes(NULL, 0));
    Pb__ListedObject **objects = catalog_alloc(step, CATALOG_STEP_RECORDS_MAX * sizeof *objects);
    struct catalog_scan scan;
    size_t count = 0;
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan) && count < CATALOG_STEP_RECORDS_MAX;
         catalog_scan_next(&scan)) {
        Pb__Object *object = catalog_scan_record(&scan, &pb__object__descriptor);
        if (object != NULL)
            objects[count++] = listed(step, query->key, object);
    }
    catalog_scan_close(&scan);
    if (count == 0)
        return;
    step->reply->provisional = objects[0]->object;
    step->reply->objects = objects;
    step->reply->n_objects = count;
}

void catalog_get_object(struct catalog_step *step, const Pb__GetObject *query) {
    if (!catalog_check_name(step, query->bucket, query->key))
        return;
    struct catalog_key key = catalog_key_object(step, query->bucket, query->key);
    step->reply->object = catalog_load(step, &key, &pb__object__descriptor);
    if (query->with_provisional)
        get_provisional(step, query);
    if (step->reply->object != NULL || step->reply->provisional != NULL)
        return;
    if (catalog_bucket_is_open(step, query->bucket))
        catalog_refuse(step, ERR_NO_SUCH_KEY, "there is no key %.200s", query->key);
    else
        catalog_refuse(step, ERR_NO_SUCH_BUCKET, "there is no bucket %s", query->bucket);
}
