/* Multipart uploads: made, given parts, then completed into an object or aborted. */
#include <stdio.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/crc.h"
#include "base/digest.h"
#include "core/catalog_impl.h"

#define PART_NUMBER_MAX 10000u
#define PART_BYTES_MIN ((uint64_t)5 << 20) /* of all but the last */

/* ---- keys and records ---- */

static struct catalog_key upload_key(const struct catalog_step *step, enum catalog_table table,
                                     const char *bucket, const char *key,
                                     ProtobufCBinaryData upload) {
    struct catalog_key full = catalog_key(step->group, table);
    catalog_key_string(&full, bucket);
    catalog_key_string(&full, key);
    catalog_key_bytes(&full, upload.data, upload.len);
    return full;
}

static struct catalog_key part_key(const struct catalog_step *step, const char *bucket,
                                   const char *key, ProtobufCBinaryData upload, uint32_t number) {
    struct catalog_key full = upload_key(step, TABLE_PART, bucket, key, upload);
    catalog_key_number(&full, number, 4);
    return full;
}

/* The upload, or NULL and refused. */
static Pb__Upload *find_upload(struct catalog_step *step, const char *bucket, const char *key,
                               ProtobufCBinaryData id) {
    if (!catalog_check_name(step, bucket, key))
        return NULL;
    Pb__Upload *upload = NULL;
    if (id.len == sizeof(struct id128)) {
        struct catalog_key full = upload_key(step, TABLE_UPLOAD, bucket, key, id);
        upload = catalog_load(step, &full, &pb__upload__descriptor);
    }
    if (upload == NULL)
        catalog_refuse(step, ERR_NO_SUCH_UPLOAD, "there is no such upload");
    return upload;
}

static struct catalog_chunks chunks_of(const Pb__Part *part) {
    return part != NULL ? (struct catalog_chunks){part->chunks, part->n_chunks}
                        : (struct catalog_chunks){0};
}

/* ---- create and put ---- */

void catalog_create_upload(struct catalog_step *step, const Pb__CreateUpload *op) {
    if (op->upload == NULL) {
        catalog_refuse(step, ERR_PROTOCOL, "an upload is missing");
        return;
    }
    if (!catalog_check_id(step, op->upload->id, "upload id") ||
        !catalog_check_writable(step, op->bucket, op->key))
        return;
    struct catalog_key key = upload_key(step, TABLE_UPLOAD, op->bucket, op->key, op->upload->id);
    if (!catalog_has(step, &key))
        catalog_store(step, &key, &op->upload->base);
}

static bool check_part(struct catalog_step *step, const Pb__Part *part) {
    uint64_t bytes;
    uint8_t hash[MD5_SIZE];
    if (part == NULL) {
        catalog_refuse(step, ERR_PROTOCOL, "a part is missing");
        return false;
    }
    if (!catalog_check_chunks(step, part->chunks, part->n_chunks, &bytes))
        return false;
    if (part->number == 0 || part->number > PART_NUMBER_MAX)
        catalog_refuse(step, ERR_INVALID, "part numbers go from 1 to %u", PART_NUMBER_MAX);
    else if (!hex_decode(span_of(part->etag), hash, sizeof hash))
        catalog_refuse(step, ERR_INVALID, "a part's etag is not an MD5");
    else if (part->n_chunks > 0 && part->inline_data.len > 0)
        catalog_refuse(step, ERR_INVALID, "a part has chunks or inline data, not both");
    else if (bytes + part->inline_data.len != part->size)
        catalog_refuse(step, ERR_INVALID, "a part's size is not that of its data");
    return step->reply->code == 0;
}

void catalog_put_part(struct catalog_step *step, const Pb__PutPart *op) {
    if (!check_part(step, op->part) || !catalog_check_writable(step, op->bucket, op->key) ||
        find_upload(step, op->bucket, op->key, op->upload) == NULL)
        return;
    struct catalog_key key = part_key(step, op->bucket, op->key, op->upload, op->part->number);
    const Pb__Part *before = catalog_load(step, &key, &pb__part__descriptor);
    catalog_queue_chunks(step, chunks_of(before), chunks_of(op->part));
    catalog_store(step, &key, &op->part->base);
}

/* ---- complete ---- */

/* All parts of an upload, by number. */
struct parts {
    Pb__Part **parts;
    size_t count;
    size_t chunk_count;
};

static struct parts load_parts(struct catalog_step *step, const char *bucket, const char *key,
                               ProtobufCBinaryData upload) {
    struct catalog_key prefix = upload_key(step, TABLE_PART, bucket, key, upload);
    struct parts all = {.parts = catalog_alloc(step, PART_NUMBER_MAX * sizeof *all.parts)};
    struct catalog_scan scan;
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        Pb__Part *part = catalog_scan_record(&scan, &pb__part__descriptor);
        if (part == NULL)
            break;
        ASSERT(all.count < PART_NUMBER_MAX);
        all.parts[all.count++] = part;
        all.chunk_count += part->n_chunks;
    }
    catalog_scan_close(&scan);
    return all;
}

static Pb__Part *find_part(const struct parts *all, const Pb__CompletePart *named, size_t *from) {
    while (*from < all->count && all->parts[*from]->number < named->number)
        (*from)++;
    if (*from == all->count || all->parts[*from]->number != named->number ||
        strcmp(all->parts[*from]->etag, named->etag) != 0)
        return NULL;
    return all->parts[(*from)++];
}

/* The named ones out of all, or refused. */
static bool choose_parts(struct catalog_step *step, const Pb__CompleteUpload *op,
                         const struct parts *all, struct parts *ret_chosen) {
    struct parts chosen = {.parts = catalog_alloc(step, (op->n_parts + 1) * sizeof *chosen.parts)};
    size_t from = 0;
    for (size_t i = 0; i < op->n_parts; i++) {
        Pb__Part *part = find_part(all, op->parts[i], &from);
        if (part == NULL) {
            catalog_refuse(step, ERR_INVALID_PART, "part %u does not exist or has another etag",
                           op->parts[i]->number);
            return false;
        }
        if (i + 1 < op->n_parts && part->size < PART_BYTES_MIN) {
            catalog_refuse(step, ERR_ENTITY_TOO_SMALL, "part %u has %llu bytes", part->number,
                           (unsigned long long)part->size);
            return false;
        }
        if (part->inline_data.len > 0 && op->n_parts > 1) {
            catalog_refuse(step, ERR_INVALID, "part %u is inline but not the only one",
                           part->number);
            return false;
        }
        chosen.parts[chosen.count++] = part;
        chosen.chunk_count += part->n_chunks;
    }
    *ret_chosen = chosen;
    return true;
}

static bool check_order(struct catalog_step *step, const Pb__CompleteUpload *op) {
    if (op->n_parts == 0)
        catalog_refuse(step, ERR_INVALID_PART, "no parts are named");
    for (size_t i = 1; i < op->n_parts && step->reply->code == 0; i++) {
        if (op->parts[i]->number <= op->parts[i - 1]->number)
            catalog_refuse(step, ERR_INVALID_PART_ORDER, "part %u comes after part %u",
                           op->parts[i]->number, op->parts[i - 1]->number);
    }
    return step->reply->code == 0;
}

/* The MD5 of the parts' binary MD5s, and their number. */
static char *combined_etag(struct catalog_step *step, const struct parts *parts) {
    size_t room = 2 * MD5_SIZE + 16;
    char *etag = catalog_alloc(step, room);
    uint8_t hash[MD5_SIZE];
    struct digest digest;
    digest_init(&digest, DIGEST_MD5);
    for (size_t i = 0; i < parts->count; i++) {
        bool hex = hex_decode(span_of(parts->parts[i]->etag), hash, sizeof hash);
        ASSERT(hex); /* checked when the part was put */
        digest_update(&digest, hash, sizeof hash);
    }
    digest_final(&digest, hash);
    digest_fini(&digest);
    hex_encode(hash, sizeof hash, etag);
    snprintf(etag + 2 * MD5_SIZE, room - 2 * MD5_SIZE, "-%zu", parts->count);
    return etag;
}

static Pb__Object *join(struct catalog_step *step, const Pb__CompleteUpload *op,
                        const Pb__Upload *upload, const struct parts *parts) {
    Pb__Object *object = catalog_alloc(step, sizeof *object);
    pb__object__init(object);
    object->version = op->version;
    object->modified_ms = op->modified_ms;
    object->etag = combined_etag(step, parts);
    object->headers = upload->headers;
    object->n_headers = upload->n_headers;
    object->metadata = upload->metadata;
    object->n_metadata = upload->n_metadata;
    object->chunks = catalog_alloc(step, (parts->chunk_count + 1) * sizeof *object->chunks);
    object->part_chunks = catalog_alloc(step, parts->count * sizeof *object->part_chunks);
    for (size_t i = 0; i < parts->count; i++) {
        const Pb__Part *part = parts->parts[i];
        object->crc32c =
            i == 0 ? part->crc32c : crc32c_combine(object->crc32c, part->crc32c, part->size);
        object->size += part->size;
        object->part_chunks[object->n_part_chunks++] = (uint32_t)part->n_chunks;
        for (size_t j = 0; j < part->n_chunks; j++)
            object->chunks[object->n_chunks++] = part->chunks[j];
        if (part->inline_data.len > 0)
            object->inline_data = part->inline_data;
    }
    return object;
}

/* Removes the upload; chunks of its parts that kept does not name become garbage. */
static void drop_upload(struct catalog_step *step, const char *bucket, const char *key,
                        ProtobufCBinaryData upload, const struct parts *all,
                        struct catalog_chunks kept) {
    struct catalog_key full = upload_key(step, TABLE_UPLOAD, bucket, key, upload);
    catalog_erase(step, &full);
    struct catalog_chunks dropped = {
        .chunks = catalog_alloc(step, (all->chunk_count + 1) * sizeof *dropped.chunks)};
    for (size_t i = 0; i < all->count; i++) {
        const Pb__Part *part = all->parts[i];
        struct catalog_key part_full = part_key(step, bucket, key, upload, part->number);
        catalog_erase(step, &part_full);
        for (size_t j = 0; j < part->n_chunks; j++)
            dropped.chunks[dropped.count++] = part->chunks[j];
    }
    catalog_queue_chunks(step, dropped, kept);
}

/* True when the object is there with this version: the upload was completed before. */
static bool was_completed(struct catalog_step *step, const Pb__CompleteUpload *op,
                          const Pb__Object *current) {
    if (current == NULL || !span_equal(pb_span(current->version), pb_span(op->version)))
        return false;
    catalog_reply_object(step, current);
    return true;
}

void catalog_complete_upload(struct catalog_step *step, const Pb__CompleteUpload *op) {
    if (!catalog_check_id(step, op->version, "version") ||
        !catalog_check_writable(step, op->bucket, op->key))
        return;
    struct catalog_key key = catalog_key_object(step, op->bucket, op->key);
    const Pb__Object *before = catalog_load(step, &key, &pb__object__descriptor);
    if (was_completed(step, op, before))
        return;
    const Pb__Upload *upload = find_upload(step, op->bucket, op->key, op->upload);
    struct parts chosen;
    if (upload == NULL || !check_order(step, op))
        return;
    struct parts all = load_parts(step, op->bucket, op->key, op->upload);
    if (!choose_parts(step, op, &all, &chosen) ||
        !catalog_check_conditions(step, op->conditions, before))
        return;
    Pb__Object *object = join(step, op, upload, &chosen);
    drop_upload(step, op->bucket, op->key, op->upload, &all,
                (struct catalog_chunks){object->chunks, object->n_chunks});
    catalog_replace_object(step, op->bucket, op->key, before, object);
    catalog_reply_object(step, object);
}

void catalog_abort_upload(struct catalog_step *step, const Pb__AbortUpload *op) {
    if (find_upload(step, op->bucket, op->key, op->upload) == NULL)
        return;
    struct parts all = load_parts(step, op->bucket, op->key, op->upload);
    drop_upload(step, op->bucket, op->key, op->upload, &all, (struct catalog_chunks){0});
}

/* ---- lists ---- */

void catalog_list_parts(struct catalog_step *step, const Pb__ListParts *query) {
    Pb__Reply *reply = step->reply;
    reply->upload = find_upload(step, query->bucket, query->key, query->upload);
    if (reply->upload == NULL)
        return;
    size_t limit =
        query->limit > 0 && query->limit < CATALOG_LIST_MAX ? query->limit : CATALOG_LIST_MAX;
    reply->parts = catalog_alloc(step, limit * sizeof *reply->parts);
    struct catalog_key prefix =
        upload_key(step, TABLE_PART, query->bucket, query->key, query->upload);
    struct catalog_key first = prefix;
    catalog_key_number(&first, (uint64_t)query->part_marker + 1, 4);
    struct catalog_scan scan;
    catalog_scan_open(&scan, step, &prefix);
    catalog_scan_seek(&scan, &first);
    for (; query->part_marker < PART_NUMBER_MAX && catalog_scan_valid(&scan);
         catalog_scan_next(&scan)) {
        Pb__Part *part = catalog_scan_record(&scan, &pb__part__descriptor);
        if (part == NULL)
            break;
        if (reply->n_parts == limit) {
            reply->truncated = true;
            break;
        }
        part->n_chunks = 0;
        part->inline_data = pb_bytes(NULL, 0);
        reply->parts[reply->n_parts++] = part;
    }
    catalog_scan_close(&scan);
}

/* rest = key NUL upload id: what stands behind the bucket. */
static Pb__ListedUpload *list_upload(struct catalog_scan *scan, struct span rest) {
    Pb__ListedUpload *listed = catalog_alloc(scan->step, sizeof *listed);
    pb__listed_upload__init(listed);
    listed->key = memcpy(catalog_alloc(scan->step, rest.size + 1), rest.data, rest.size);
    listed->upload = catalog_scan_record(scan, &pb__upload__descriptor);
    return listed;
}

/* Behind the marker: behind the upload it names, or behind all of its key. */
static void pass_marker(struct catalog_key *first, const Pb__ListUploads *query) {
    catalog_key_text(first, query->key_marker);
    bool named = query->upload_marker.len == sizeof(struct id128);
    catalog_key_number(first, named ? 0 : 1,
                       1); /* keys hold no byte 0: 1 is behind all that go on with it */
    if (!named)
        return;
    catalog_key_bytes(first, query->upload_marker.data, query->upload_marker.len);
    catalog_key_number(first, 0, 1);
}

static bool check_list(struct catalog_step *step, const Pb__ListUploads *query) {
    if (!catalog_check_name(step, query->bucket, "-"))
        return false;
    if (strlen(query->prefix) > CATALOG_KEY_BYTES_MAX ||
        strlen(query->key_marker) > CATALOG_KEY_BYTES_MAX)
        catalog_refuse(step, ERR_KEY_TOO_LONG, "a prefix or marker is too long");
    else if (!catalog_bucket_is_open(step, query->bucket))
        catalog_refuse(step, ERR_NO_SUCH_BUCKET, "there is no bucket %s", query->bucket);
    return step->reply->code == 0;
}

void catalog_list_uploads(struct catalog_step *step, const Pb__ListUploads *query) {
    if (!check_list(step, query))
        return;
    size_t limit =
        query->limit > 0 && query->limit < CATALOG_LIST_MAX ? query->limit : CATALOG_LIST_MAX;
    Pb__Reply *reply = step->reply;
    reply->uploads = catalog_alloc(step, limit * sizeof *reply->uploads);
    struct catalog_key bucket = catalog_key(step->group, TABLE_UPLOAD);
    catalog_key_string(&bucket, query->bucket);
    struct catalog_key first = bucket, prefix = bucket;
    catalog_key_text(&prefix, query->prefix);
    if (query->key_marker[0] != '\0')
        pass_marker(&first, query);
    struct catalog_scan scan;
    catalog_scan_open(&scan, step, &bucket);
    catalog_scan_seek(&scan, span_compare(catalog_key_span(&first), catalog_key_span(&prefix)) > 0
                                 ? &first
                                 : &prefix);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        struct span rest = catalog_scan_rest(&scan);
        if (!span_starts_with(rest, span_of(query->prefix)))
            break;
        if (reply->n_uploads == limit) {
            reply->truncated = true;
            break;
        }
        Pb__ListedUpload *listed = list_upload(&scan, rest);
        reply->uploads[reply->n_uploads++] = listed;
        reply->next = listed->key;
    }
    catalog_scan_close(&scan);
}
