/* The gateway's view of the catalogue: which group to ask, buckets and their gates, provisional
 * records of jobs. Inside gateway/ only. Replies lie in the request's arena. */
#ifndef QUERN_GATEWAY_CATALOGUE_H
#define QUERN_GATEWAY_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/pb.h"

struct request;

uint32_t catalogue_shard_count(struct request *request);
uint32_t catalogue_shard_of(struct request *request, const char *bucket, const char *key);

/* The epoch of the bucket's shard gates and its age, from the root group. NO_SUCH_BUCKET. */
int catalogue_bucket(struct request *request, const char *bucket, Pb__Bucket **ret_bucket);

/* Fills in the command's id and time, and proposes it. A record that failed on a shut gate is tried
 * again once the gate was opened: catalogue_write() asks the root group why it is shut. A delete in
 * progress is rolled back for it. NO_SUCH_BUCKET when there is no such bucket. */
int catalogue_submit(struct request *request, uint32_t group, Pb__Command *command,
                     Pb__Reply **ret_reply);
int catalogue_write(struct request *request, const char *bucket, const char *key,
                    Pb__Command *command, Pb__Reply **ret_reply);

int catalogue_query(struct request *request, uint32_t group, const Pb__Query *query,
                    Pb__Reply **ret_reply);

/* The visible object. NO_SUCH_KEY, NO_SUCH_BUCKET. */
int catalogue_object(struct request *request, const char *bucket, const char *key,
                     Pb__Object **ret_object);

/* Whether the job was committed, so that its provisional records count. */
int catalogue_job_is_committed(struct request *request, ProtobufCBinaryData job,
                               bool *ret_committed);

/* Opens or shuts the bucket's gate on one shard. Shutting: only while the shard holds nothing of
 * it; BUCKET_NOT_EMPTY. */
int catalogue_set_gate(struct request *request, uint32_t shard, const char *bucket, uint64_t epoch,
                       bool open);

/* Ends a delete that has begun, one way or the other. CONFLICT when somebody else ended it before.
 */
int catalogue_end_delete(struct request *request, const Pb__Bucket *bucket, bool rollback,
                         Pb__Bucket **ret_bucket);

#endif
