/* What the handlers of jobs share. Inside gateway/ only. */
#ifndef QUERN_GATEWAY_JOBS_H
#define QUERN_GATEWAY_JOBS_H

#include <jansson.h>

#include "sched/client.h"
#include "wire/pb.h"

struct request;

/* Fills spec->inputs with the objects that the patterns name, pinned, in the order of the patterns
 * and within one by key. A pattern is BUCKET, BUCKET/KEY, BUCKET/FOLDER/ (all below), or has * ? []
 * in its key, where * stands for slashes too. Errors: NOT_FOUND when one names nothing, LIMIT when
 * they are too many for one job, those of the catalogue. */
int job_inputs_expand(struct request *request, const json_t *patterns, Pb__JobSpec *spec);

/* Asks for the job again and again: one that waits for its changes. */
struct job_watch {
    struct request *request;
    struct id128 id;
    uint64_t seen;
    uint64_t failing_since_ns; /* 0: the scheduler answers */
    struct arena arena;        /* of the newest news */
};

/* NO_SUCH_JOB. Close it also when this failed. */
int job_watch_open(struct job_watch *watch, struct request *request, const char *name);
void job_watch_close(struct job_watch *watch);
/* The job as it is now, at the first call; later once it has changed, or after about a second. It
 * lives until the next call. Errors: CLOSED (the client has gone), SHUTDOWN, NO_SUCH_JOB, and those
 * of the scheduler once it has been away for long. */
int job_watch_next(struct job_watch *watch, Pb__Job **ret_job);

/* The job by its name, or by its id in 32 hex digits. NO_SUCH_JOB. */
int job_query(struct request *request, const char *name, bool with_inputs, Pb__Job **ret_job);

/* One page of the records of a job's tasks, from the number first on. */
int job_list_tasks(struct request *request, struct id128 job, uint32_t phase, uint32_t first,
                   uint32_t limit, struct arena *arena, Pb__Reply **ret_reply);

/* The scheduler looks for jobs when it is asked for one; a failure costs only a moment. */
void job_wake_scheduler(struct request *request, struct id128 id);

json_t *job_json(const Pb__Job *job);
/* Any bytes as a JSON string: what is not UTF-8 becomes '?'. */
json_t *job_text_json(struct span text);

/* GET .../output and .../errors. */
int job_reply_output(struct request *request, const char *name);
int job_reply_errors(struct request *request, const char *name);

#endif
