/* Buckets, in the root group, and their gates in the shards.
 *
 * A bucket is made at the root, which gives an epoch; then every shard's gate is opened with it. To
 * delete it, the root marks it (a new epoch), every gate is closed if the shard holds nothing of
 * it, and the root removes it; or, when a shard holds something, takes the mark back (a new epoch
 * again) and the gates are opened with that. Any of this may be cut off by a lost gateway: the next
 * delete takes over with a newer epoch, and gates only follow larger epochs. Closed gates stay, so
 * that an old opening cannot come true later. */
#include "core/catalog_impl.h"

static struct catalog_key bucket_key(const struct catalog_step *step, const char *name) {
    struct catalog_key key = catalog_key(step->group, TABLE_BUCKET);
    catalog_key_text(&key, name);
    return key;
}

static bool check_bucket_name(struct catalog_step *step, const char *name) {
    return catalog_check_name(step, name, "-");
}

static Pb__Bucket *load_bucket(struct catalog_step *step, const char *name) {
    if (!check_bucket_name(step, name))
        return NULL;
    struct catalog_key key = bucket_key(step, name);
    return catalog_load(step, &key, &pb__bucket__descriptor);
}

static void store_bucket(struct catalog_step *step, Pb__Bucket *bucket) {
    struct catalog_key key = bucket_key(step, bucket->name);
    bucket->epoch = catalog_count(step, COUNTER_BUCKET_EPOCH);
    catalog_store(step, &key, &bucket->base);
    step->reply->bucket = bucket;
}

void catalog_create_bucket(struct catalog_step *step, const Pb__CreateBucket *op) {
    if (!check_bucket_name(step, op->name))
        return;
    Pb__Bucket *bucket = load_bucket(step, op->name);
    if (bucket != NULL) {
        step->reply->bucket = bucket;
        if (bucket->deleting)
            catalog_refuse(step, ERR_CONFLICT, "the bucket is being deleted");
        else
            catalog_refuse(step, ERR_BUCKET_EXISTS, "the bucket %s exists", op->name);
        return;
    }
    bucket = catalog_alloc(step, sizeof *bucket);
    pb__bucket__init(bucket);
    bucket->name = op->name;
    bucket->created_ms = op->created_ms;
    store_bucket(step, bucket);
}

/* Also takes over a delete that was cut off: whoever began that one finds its epoch gone. */
void catalog_begin_delete_bucket(struct catalog_step *step, const Pb__BeginDeleteBucket *op) {
    Pb__Bucket *bucket = load_bucket(step, op->name);
    if (step->reply->code != 0)
        return;
    if (bucket == NULL) {
        catalog_refuse(step, ERR_NO_SUCH_BUCKET, "there is no bucket %s", op->name);
        return;
    }
    bucket->deleting = true;
    store_bucket(step, bucket);
}

void catalog_end_delete_bucket(struct catalog_step *step, const Pb__EndDeleteBucket *op) {
    Pb__Bucket *bucket = load_bucket(step, op->name);
    if (step->reply->code != 0)
        return;
    if (bucket == NULL) {
        catalog_refuse(step, ERR_NO_SUCH_BUCKET, "there is no bucket %s", op->name);
    } else if (!bucket->deleting || bucket->epoch != op->epoch) {
        step->reply->bucket = bucket;
        catalog_refuse(step, ERR_CONFLICT, "somebody else changed the bucket meanwhile");
    } else if (op->rollback) {
        bucket->deleting = false;
        store_bucket(step, bucket);
    } else {
        struct catalog_key key = bucket_key(step, op->name);
        catalog_erase(step, &key);
    }
}

void catalog_get_bucket(struct catalog_step *step, const Pb__GetBucket *query) {
    step->reply->bucket = load_bucket(step, query->name);
    if (step->reply->code == 0 && step->reply->bucket == NULL)
        catalog_refuse(step, ERR_NO_SUCH_BUCKET, "there is no bucket %s", query->name);
}

void catalog_list_buckets(struct catalog_step *step, const Pb__ListBuckets *query) {
    (void)query;
    struct catalog_key prefix = catalog_key(step->group, TABLE_BUCKET);
    struct catalog_scan scan;
    Pb__Bucket **buckets = NULL;
    size_t count = 0, room = 0;
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        if (count == room) {
            Pb__Bucket **larger =
                catalog_alloc(step, (room = room * 2 + 16) * sizeof(Pb__Bucket *));
            if (count > 0)
                memcpy(larger, buckets, count * sizeof *larger);
            buckets = larger;
        }
        Pb__Bucket *bucket = catalog_scan_record(&scan, &pb__bucket__descriptor);
        if (bucket != NULL)
            buckets[count++] = bucket;
    }
    catalog_scan_close(&scan);
    step->reply->buckets = buckets;
    step->reply->n_buckets = count;
}

/* ---- gates ---- */

static bool holds_any(struct catalog_step *step, enum catalog_table table, const char *bucket) {
    struct catalog_key prefix = catalog_key(step->group, table);
    catalog_key_string(&prefix, bucket);
    struct catalog_scan scan;
    catalog_scan_open(&scan, step, &prefix);
    bool any = catalog_scan_valid(&scan);
    catalog_scan_close(&scan);
    return any;
}

static bool is_empty(struct catalog_step *step, const char *bucket) {
    return !holds_any(step, TABLE_OBJECT, bucket) && !holds_any(step, TABLE_PROVISIONAL, bucket) &&
           !holds_any(step, TABLE_UPLOAD, bucket);
}

static struct catalog_key gate_key(const struct catalog_step *step, const char *bucket) {
    struct catalog_key key = catalog_key(step->group, TABLE_GATE);
    catalog_key_text(&key, bucket);
    return key;
}

bool catalog_bucket_is_open(struct catalog_step *step, const char *bucket) {
    struct catalog_key key = gate_key(step, bucket);
    const Pb__Gate *gate = catalog_load(step, &key, &pb__gate__descriptor);
    return gate != NULL && gate->open;
}

void catalog_set_gate(struct catalog_step *step, const Pb__SetGate *op) {
    if (!check_bucket_name(step, op->bucket))
        return;
    struct catalog_key key = gate_key(step, op->bucket);
    const Pb__Gate *before = catalog_load(step, &key, &pb__gate__descriptor);
    if (before != NULL && before->epoch == op->epoch && before->open == op->open)
        return; /* sent again */
    if (op->epoch == 0 || (before != NULL && before->epoch >= op->epoch)) {
        catalog_refuse(step, ERR_CONFLICT, "the gate has moved on");
        return;
    }
    if (op->only_if_empty && !is_empty(step, op->bucket)) {
        catalog_refuse(step, ERR_BUCKET_NOT_EMPTY, "the bucket %s is not empty", op->bucket);
        return;
    }
    Pb__Gate gate = PB__GATE__INIT;
    gate.epoch = op->epoch;
    gate.open = op->open;
    catalog_store(step, &key, &gate.base);
}
