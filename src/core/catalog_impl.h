/* Inside the catalogue: what its files share. */
#ifndef QUERN_CORE_CATALOG_IMPL_H
#define QUERN_CORE_CATALOG_IMPL_H

#include "base/arena.h"
#include "core/catalog.h"
#include "wire/pb.h"

#define CATALOG_BUCKET_BYTES_MAX 63u
#define CATALOG_KEY_BYTES_MAX 1024u
#define CATALOG_COMMAND_BYTES_MAX ((size_t)8 << 20)
#define CATALOG_REPLY_BYTES_MAX ((size_t)1 << 20) /* a list stops beyond it */
#define CATALOG_LIST_MAX 1000u
#define CATALOG_STEP_RECORDS_MAX 256u /* what one command settles or forgets */

/* ---- records that are kept in memory ---- */

#define CATALOG_RECORDS_KEPT 1024u /* at most */

/* What the applier asked the map for, and has written to it since. */
struct catalog_cache {
    struct catalog_kept *kept[CATALOG_RECORDS_KEPT]; /* by the key's hash; NULL: nothing */
};

/* False when it is not kept whether there is such a record; else *ret_code is 0, and its bytes are
 * appended, or ERR_NOT_FOUND. */
bool catalog_cache_get(struct catalog_cache *cache, struct span key, struct buf *ret_value,
                       int *ret_code);
/* value NULL: there is no such record. */
void catalog_cache_keep(struct catalog_cache *cache, struct span key, const struct span *value);
/* The like, of a key that was asked for: what is only written is not kept. */
void catalog_cache_change(struct catalog_cache *cache, struct span key, const struct span *value);
void catalog_cache_close(struct catalog_cache *cache);

/* ---- one command or query under way ---- */

/* broken is sticky: once reading the map has failed, what is read is absent, and the caller stops
 * the replica. Therefore nobody else needs to look at it, but for long loops. */
struct catalog_step {
    uint32_t group;
    const struct catalog_kv *kv;
    struct catalog_cache *cache; /* or NULL: nothing is kept */
    struct arena *arena;
    uint64_t now_ms;
    Pb__Reply *reply;
    int broken;
    struct err *err; /* of broken */
};

/* The command is refused: code and text go into the reply. To be called before anything is written.
 */
void catalog_refuse(struct catalog_step *step, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Cut from the step's arena, zeroed; the process ends when there is no memory. */
void *catalog_alloc(struct catalog_step *step, size_t size);

/* ---- keys: group, table, then the parts in order ---- */

enum catalog_table {
    TABLE_COUNTER = 'c',     /* u8 -> u64 */
    TABLE_GATE = 'b',        /* bucket -> Gate */
    TABLE_OBJECT = 'o',      /* bucket NUL key -> Object */
    TABLE_PROVISIONAL = 'p', /* bucket NUL key NUL job -> Object */
    TABLE_BY_JOB = 'j',      /* job bucket NUL key -> nothing: what is in TABLE_PROVISIONAL */
    TABLE_SETTLED = 's',    /* job, u8 committed -> nothing: it takes no more provisional records */
    TABLE_UPLOAD = 'u',     /* bucket NUL key NUL upload -> Upload */
    TABLE_PART = 'P',       /* bucket NUL key NUL upload number -> Part */
    TABLE_GARBAGE = 'g',    /* sequence -> Garbage */
    TABLE_WINDOW = 'w',     /* slot -> ids and replies; 0 -> the newest that is forgotten */
    TABLE_BUCKET = 'B',     /* bucket -> Bucket */
    TABLE_MAP = 'M',        /* -> ClusterMap */
    TABLE_LOCK = 'L',       /* name -> Lock */
    TABLE_JOB = 'J',        /* job -> Job, its spec without inputs */
    TABLE_JOB_INPUTS = 'I', /* job -> JobSpec, only inputs */
    TABLE_JOB_NAME = 'N',   /* name -> job */
    TABLE_JOB_ACTIVE = 'A', /* job -> nothing: not finished, or not settled */
    TABLE_TASK = 'T',       /* job phase index -> Task, when it is not as at the beginning */
};

struct catalog_key {
    size_t size;
    char data[3 + CATALOG_BUCKET_BYTES_MAX + 1 + CATALOG_KEY_BYTES_MAX + 1 + 16 + 8];
};

struct catalog_key catalog_key(uint32_t group, enum catalog_table table);
void catalog_key_bytes(struct catalog_key *key, const void *data,
                       size_t size);                                  /* asserts that it fits */
void catalog_key_string(struct catalog_key *key, const char *string); /* with its NUL */
void catalog_key_text(struct catalog_key *key, const char *string);   /* without */
void catalog_key_number(struct catalog_key *key, uint64_t number, unsigned size); /* big-endian */
struct span catalog_key_span(const struct catalog_key *key);

struct catalog_key catalog_key_object(const struct catalog_step *step, const char *bucket,
                                      const char *key);
enum catalog_counter { COUNTER_BUCKET_EPOCH = 1, COUNTER_GARBAGE = 2, COUNTER_FENCE = 3 };
uint64_t catalog_count(struct catalog_step *step,
                       enum catalog_counter counter); /* the next number, from 1 */

/* ---- records ---- */

/* The record in the step's arena, or NULL. */
void *catalog_load(struct catalog_step *step, const struct catalog_key *key,
                   const ProtobufCMessageDescriptor *descriptor);
bool catalog_has(struct catalog_step *step, const struct catalog_key *key);
void catalog_store(struct catalog_step *step, const struct catalog_key *key,
                   const ProtobufCMessage *record);
void catalog_store_bytes(struct catalog_step *step, const struct catalog_key *key, const void *data,
                         size_t size);
void catalog_erase(struct catalog_step *step, const struct catalog_key *key);

/* Over the records whose keys begin with a prefix; nothing is written meanwhile. */
struct catalog_scan {
    struct catalog_step *step;
    void *iter;
    struct catalog_key prefix;
};
void catalog_scan_open(struct catalog_scan *scan, struct catalog_step *step,
                       const struct catalog_key *prefix);
void catalog_scan_close(struct catalog_scan *scan);
void catalog_scan_seek(struct catalog_scan *scan, const struct catalog_key *key);
bool catalog_scan_valid(struct catalog_scan *scan);
void catalog_scan_next(struct catalog_scan *scan);
struct span catalog_scan_rest(struct catalog_scan *scan); /* of the key, behind the prefix */
struct span catalog_scan_value(struct catalog_scan *scan);
void *catalog_scan_record(struct catalog_scan *scan, const ProtobufCMessageDescriptor *descriptor);

/* ---- remembered commands ---- */

struct catalog_window {
    struct catalog_seen *ring; /* positions [oldest, next) modulo room */
    uint64_t *heads;           /* by hash: newest position + 1 of that chain */
    uint64_t oldest;
    uint64_t next;
    uint64_t room;      /* a power of two, or 0 */
    uint64_t forgotten; /* commands up to this slot are not remembered, those after it are */
    struct buf record;  /* of the slot under way */
    uint64_t slot;
};

int catalog_window_open(struct catalog_window *window, uint32_t group, const struct catalog_kv *kv,
                        struct err *err);
void catalog_window_close(struct catalog_window *window);
/* Forgets the oldest slots until count more fit. */
void catalog_window_begin(struct catalog_window *window, struct catalog_step *step, uint64_t slot,
                          unsigned count);
/* The remembered reply appended to ret_reply; false when the id is unknown. */
bool catalog_window_find(struct catalog_window *window, struct catalog_step *step,
                         ProtobufCBinaryData id, struct buf *ret_reply);
void catalog_window_add(struct catalog_window *window, struct catalog_step *step,
                        ProtobufCBinaryData id, struct span reply);
void catalog_window_end(struct catalog_window *window, struct catalog_step *step);

/* ---- checks that several commands share; each refuses and returns false ---- */

bool catalog_check_name(struct catalog_step *step, const char *bucket, const char *key);
bool catalog_check_id(struct catalog_step *step, ProtobufCBinaryData id, const char *what);
bool catalog_check_chunks(struct catalog_step *step, Pb__ChunkRef **chunks, size_t count,
                          uint64_t *ret_bytes);
/* Name in order and the bucket's gate open. */
bool catalog_check_writable(struct catalog_step *step, const char *bucket, const char *key);
bool catalog_check_conditions(struct catalog_step *step, const Pb__Conditions *conditions,
                              const Pb__Object *current);

/* ---- garbage ---- */

/* Queues the chunks of `dropped` but for those that `kept` (may be NULL) names. */
struct catalog_chunks {
    Pb__ChunkRef **chunks;
    size_t count;
};
void catalog_queue_chunks(struct catalog_step *step, struct catalog_chunks dropped,
                          struct catalog_chunks kept);
/* Makes object the visible one of its key: the one before becomes garbage. */
void catalog_replace_object(struct catalog_step *step, const char *bucket, const char *key,
                            const Pb__Object *before, const Pb__Object *object);
void catalog_reply_object(struct catalog_step *step, const Pb__Object *object);
bool catalog_bucket_is_open(struct catalog_step *step, const char *bucket);

/* ---- jobs ---- */

Pb__Job *catalog_load_job(struct catalog_step *step, ProtobufCBinaryData id); /* or NULL */
void catalog_store_job(struct catalog_step *step, Pb__Job *job);
bool catalog_job_is_complete(const Pb__Job *job); /* every task is done */
/* Also settles it when there is nothing to be done for that. The caller stores it. */
void catalog_end_job(struct catalog_step *step, Pb__Job *job, Pb__JobState state, char *reason,
                     uint64_t finished_ms);
struct catalog_key catalog_key_task(const struct catalog_step *step, ProtobufCBinaryData job);

/* ---- commands ---- */

void catalog_put_object(struct catalog_step *step, const Pb__PutObject *op);
void catalog_delete_object(struct catalog_step *step, const Pb__DeleteObject *op);
void catalog_settle_job(struct catalog_step *step, const Pb__SettleJob *op);
void catalog_create_upload(struct catalog_step *step, const Pb__CreateUpload *op);
void catalog_put_part(struct catalog_step *step, const Pb__PutPart *op);
void catalog_complete_upload(struct catalog_step *step, const Pb__CompleteUpload *op);
void catalog_abort_upload(struct catalog_step *step, const Pb__AbortUpload *op);
void catalog_set_gate(struct catalog_step *step, const Pb__SetGate *op);
void catalog_drop_garbage(struct catalog_step *step, const Pb__DropGarbage *op);
void catalog_queue_garbage(struct catalog_step *step, const Pb__QueueGarbage *op);
void catalog_create_bucket(struct catalog_step *step, const Pb__CreateBucket *op);
void catalog_begin_delete_bucket(struct catalog_step *step, const Pb__BeginDeleteBucket *op);
void catalog_end_delete_bucket(struct catalog_step *step, const Pb__EndDeleteBucket *op);
void catalog_init_cluster(struct catalog_step *step, const Pb__InitCluster *op);
void catalog_set_node_down(struct catalog_step *step, const Pb__SetNodeDown *op);
void catalog_add_node(struct catalog_step *step, const Pb__AddNode *op);
void catalog_set_voter(struct catalog_step *step, const Pb__SetVoter *op);
void catalog_acquire_lock(struct catalog_step *step, const Pb__AcquireLock *op);
void catalog_renew_lock(struct catalog_step *step, const Pb__RenewLock *op);
void catalog_end_lock(struct catalog_step *step, const Pb__EndLock *op);
void catalog_list_locks(struct catalog_step *step, const Pb__ListLocks *query);
void catalog_submit_job(struct catalog_step *step, const Pb__SubmitJob *op);
void catalog_finish_job(struct catalog_step *step, const Pb__FinishJob *op);
void catalog_mark_settled(struct catalog_step *step, const Pb__MarkSettled *op);
void catalog_forget_job(struct catalog_step *step, const Pb__ForgetJob *op);
void catalog_grant_leases(struct catalog_step *step, const Pb__GrantLeases *op);
/* Of tasks: false and refused when they are too many for one command. */
bool catalog_check_batch(struct catalog_step *step, size_t count);
/* What submitting and granting share. */
void catalog_grant(struct catalog_step *step, Pb__TaskLease **leases, size_t count);
void catalog_release_leases(struct catalog_step *step, const Pb__ReleaseLeases *op);
void catalog_commit_tasks(struct catalog_step *step, const Pb__CommitTasks *op);

/* ---- queries ---- */

void catalog_get_object(struct catalog_step *step, const Pb__GetObject *query);
void catalog_list_objects(struct catalog_step *step, const Pb__ListObjects *query);
void catalog_list_uploads(struct catalog_step *step, const Pb__ListUploads *query);
void catalog_list_parts(struct catalog_step *step, const Pb__ListParts *query);
void catalog_list_garbage(struct catalog_step *step, const Pb__ListGarbage *query);
void catalog_get_bucket(struct catalog_step *step, const Pb__GetBucket *query);
void catalog_list_buckets(struct catalog_step *step, const Pb__ListBuckets *query);
void catalog_get_cluster_map(struct catalog_step *step, const Pb__GetClusterMap *query);
void catalog_get_job(struct catalog_step *step, const Pb__GetJob *query);
void catalog_list_jobs(struct catalog_step *step, const Pb__ListJobs *query);
void catalog_list_tasks(struct catalog_step *step, const Pb__ListTasks *query);

#endif
