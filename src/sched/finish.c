/* The ends of jobs: outputs are put under the job, the job ends in one entry of the root group, and
 * then what was put becomes visible or goes. Every step may be done again by whoever leads later.
 */
#include <stdio.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/log.h"
#include "sched/impl.h"

#define RETRY_MS 200u
#define KEY_BYTES_MAX 1024u

/* ---- outputs of a job as objects ---- */

/* Whose results are the job's: the reduce task's, else the map tasks'. */
static uint32_t output_phase(const struct job *job) {
    return job->job->reduce_tasks > 0 ? PHASE_REDUCE : PHASE_MAP;
}

static int output_key(const struct job *job, uint32_t index, char key[KEY_BYTES_MAX + 1],
                      struct err *err) {
    const Pb__JobSpec *spec = job->job->spec;
    size_t chunk;
    int size = spec->each_object && output_phase(job) == PHASE_MAP
                   ? snprintf(key, KEY_BYTES_MAX + 1, "%s%s", spec->output_prefix,
                              sched_job_input(job, index, &chunk)->key)
                   : snprintf(key, KEY_BYTES_MAX + 1, "%spart-%05u", spec->output_prefix, index);
    return size <= (int)KEY_BYTES_MAX
               ? 0
               : err_set(err, ERR_KEY_TOO_LONG, "the key of output %u is too long", index);
}

/* The same for every try, so that putting again changes nothing. */
static struct id128 output_version(const struct job *job, uint32_t index) {
    uint8_t hash[SHA256_SIZE];
    char text[ID128_HEX_SIZE + 32];
    char id[ID128_HEX_SIZE];
    int size =
        snprintf(text, sizeof text, "%s/%u/%u", id128_print(job->id, id), output_phase(job), index);
    digest_of(DIGEST_SHA256, (struct span){text, (size_t)size}, hash);
    struct id128 version;
    memcpy(version.bytes, hash, sizeof version.bytes);
    return version;
}

static int put_output(struct sched *sched, const struct job *job, const Pb__Task *task,
                      struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__Object object = PB__OBJECT__INIT;
    Pb__PutObject op = PB__PUT_OBJECT__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    const Pb__TaskResult *result = task->result;
    struct id128 version = output_version(job, task->address->index);
    char key[KEY_BYTES_MAX + 1], etag[ID128_HEX_SIZE + 16], hex[ID128_HEX_SIZE];
    int rc = output_key(job, task->address->index, key, err);
    if (rc != 0)
        return rc;
    /* Not an MD5, and says so by its form: as of a multipart upload. */
    snprintf(etag, sizeof etag, "%s-%zu", id128_print(version, hex), result->n_output + 1);
    object.version = pb_id(&version);
    object.etag = etag;
    object.size = result->output_bytes;
    object.modified_ms = clock_wall_ms();
    object.inline_data = result->inline_output;
    object.chunks = result->output;
    object.n_chunks = result->n_output;
    object.crc32c = result->output_crc32c;
    object.job = pb_id(&job->id);
    op.bucket = job->job->spec->output_bucket;
    op.key = key;
    op.object = &object;
    command.op_case = PB__COMMAND__OP_PUT_OBJECT;
    command.put_object = &op;
    struct place_map *map = meta_map(sched->meta);
    uint32_t shard = place_shard_of(map, op.bucket, op.key);
    place_map_unref(map);
    return sched_submit(sched, shard, &command, &arena, &reply, err);
}

/* Calls visit for every task of the phase that is done. */
typedef int visit_task(struct sched *sched, const struct job *job, const Pb__Task *task,
                       struct err *err);

static int for_each_done(struct sched *sched, const struct job *job, uint32_t phase,
                         visit_task *visit, struct err *err) {
    uint32_t first = 0;
    for (bool more = true; more;) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, REPLY_BYTES);
        Pb__Reply *reply;
        int rc = sched_list_tasks(sched, job->id, phase, first, &arena, &reply, err);
        for (size_t i = 0; rc == 0 && i < reply->n_tasks; i++) {
            if (reply->tasks[i]->state == PB__TASK_STATE__TASK_DONE &&
                reply->tasks[i]->result != NULL)
                rc = visit(sched, job, reply->tasks[i], err);
        }
        if (rc != 0)
            return rc;
        more = reply->truncated && reply->n_tasks > 0;
        if (more)
            first = reply->tasks[reply->n_tasks - 1]->address->index + 1;
    }
    return 0;
}

/* ---- the one entry ---- */

/* Ends the job in the catalogue, or learns how it ended. Lock not held. */
static int end_in_catalogue(struct sched *sched, struct job *job, Pb__JobState state,
                            const char *reason, struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__FinishJob op = PB__FINISH_JOB__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply = NULL;
    op.job = pb_id(&job->id);
    op.state = state;
    op.reason = pb_text(reason);
    op.finished_ms = clock_wall_ms();
    command.op_case = PB__COMMAND__OP_FINISH_JOB;
    command.finish_job = &op;
    int rc = sched_submit(sched, META_ROOT, &command, &arena, &reply, err);
    bool ended = (rc == 0 || rc == ERR_CONFLICT) && reply != NULL && reply->job != NULL &&
                 reply->job->state != PB__JOB_STATE__JOB_RUNNING;
    if (!ended)
        return rc != 0 ? rc : err_set(err, ERR_CORRUPT, "the job has not ended");
    pthread_mutex_lock(&sched->lock);
    sched_job_end(sched, job, reply->job);
    pthread_mutex_unlock(&sched->lock);
    return 0;
}

/* Puts the outputs, then commits; an output that cannot be put fails the job. */
static int commit_job(struct sched *sched, struct job *job, struct err *err) {
    int rc = 0;
    if (job->job->spec->output_bucket[0] != '\0')
        rc = for_each_done(sched, job, output_phase(job), put_output, err);
    if (rc == 0)
        return end_in_catalogue(sched, job, PB__JOB_STATE__JOB_COMMITTED, "", err);
    if (err_is_transient(rc) ||
        rc == ERR_CONFLICT) /* CONFLICT: settled by another leader; it will be learnt */
        return rc;
    char reason[300];
    snprintf(reason, sizeof reason, "cannot store the output: %s", err_message(err, rc));
    return end_in_catalogue(sched, job, PB__JOB_STATE__JOB_FAILED, reason, err);
}

/* ---- settling ---- */

static int settle_shard(struct sched *sched, const struct job *job, uint32_t shard,
                        struct err *err) {
    for (bool more = true; more;) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, REPLY_BYTES);
        Pb__SettleJob op = PB__SETTLE_JOB__INIT;
        Pb__Command command = PB__COMMAND__INIT;
        Pb__Reply *reply;
        op.job = pb_bytes(job->id.bytes, sizeof job->id.bytes);
        op.committed = job->job->state == PB__JOB_STATE__JOB_COMMITTED;
        command.op_case = PB__COMMAND__OP_SETTLE_JOB;
        command.settle_job = &op;
        int rc = sched_submit(sched, shard, &command, &arena, &reply, err);
        if (rc != 0)
            return rc;
        more = reply->truncated;
    }
    return 0;
}

int sched_queue_garbage(struct sched *sched, Pb__ChunkRef *const *chunks, size_t count,
                        struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__QueueGarbage op = PB__QUEUE_GARBAGE__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    op.chunks = arena_array(&arena, ProtobufCBinaryData, count + 1);
    if (op.chunks == NULL)
        return err_set(err, ERR_NOMEM, "no memory for garbage");
    for (; op.n_chunks < count; op.n_chunks++)
        op.chunks[op.n_chunks] = chunks[op.n_chunks]->id;
    command.op_case = PB__COMMAND__OP_QUEUE_GARBAGE;
    command.queue_garbage = &op;
    return sched_submit(sched, GARBAGE_SHARD, &command, &arena, &reply, err);
}

static int drop_output(struct sched *sched, const struct job *job, const Pb__Task *task,
                       struct err *err) {
    (void)job;
    const Pb__TaskResult *result = task->result;
    return result->n_output > 0 ? sched_queue_garbage(sched, result->output, result->n_output, err)
                                : 0;
}

/* Results that are no output: all of a job that failed, those of map tasks that were reduced. */
static int drop_outputs(struct sched *sched, const struct job *job, struct err *err) {
    bool committed = job->job->state == PB__JOB_STATE__JOB_COMMITTED;
    int rc = 0;
    for (uint32_t phase = 0; phase < PHASES && rc == 0; phase++) {
        if (job->phases[phase].count > 0 && (!committed || phase != output_phase(job)))
            rc = for_each_done(sched, job, phase, drop_output, err);
    }
    return rc;
}

static int mark_settled(struct sched *sched, const struct job *job, struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__MarkSettled op = PB__MARK_SETTLED__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    op.job = pb_bytes(job->id.bytes, sizeof job->id.bytes);
    command.op_case = PB__COMMAND__OP_MARK_SETTLED;
    command.mark_settled = &op;
    return sched_submit(sched, META_ROOT, &command, &arena, &reply, err);
}

static int settle_job(struct sched *sched, struct job *job, struct err *err) {
    int rc = 0;
    if (job->job->spec->output_bucket[0] != '\0') {
        struct place_map *map = meta_map(sched->meta);
        uint32_t shards = map->shards;
        place_map_unref(map);
        for (uint32_t shard = 1; shard <= shards && rc == 0; shard++)
            rc = settle_shard(sched, job, shard, err);
    }
    if (rc == 0)
        rc = drop_outputs(sched, job, err);
    return rc == 0 ? mark_settled(sched, job, err) : rc;
}

/* ---- the finisher ---- */

/* Jobs that ended come before those that have only to be settled: somebody waits for them. */
static struct job *next_job(struct sched *sched, uint64_t *ret_again_ns) {
    struct job *unsettled = NULL;
    uint64_t now_ns = clock_now_ns();
    *ret_again_ns = DEADLINE_NONE;
    LIST_FOR_EACH(node, &sched->jobs) {
        struct job *job = LIST_ENTRY(node, struct job, node);
        bool running = job->job->state == PB__JOB_STATE__JOB_RUNNING;
        if (running ? job->failure[0] == '\0' && !sched_job_is_complete(job) : job->job->settled)
            continue;
        if (job->retry_ns > now_ns) {
            *ret_again_ns = job->retry_ns < *ret_again_ns ? job->retry_ns : *ret_again_ns;
            continue;
        }
        if (running)
            return job;
        unsettled = unsettled == NULL ? job : unsettled;
    }
    return unsettled;
}

static int finish(struct sched *sched, struct job *job, bool ended, struct err *err) {
    if (ended)
        return settle_job(sched, job, err);
    if (job->failure[0] != '\0')
        return end_in_catalogue(sched, job, PB__JOB_STATE__JOB_FAILED, job->failure, err);
    return commit_job(sched, job, err);
}

/* One step of one job; the lock is let go meanwhile. */
static void finish_one(struct sched *sched, struct job *job) {
    struct err err = {0};
    bool ended = job->job->state != PB__JOB_STATE__JOB_RUNNING;
    job->refs++;
    pthread_mutex_unlock(&sched->lock);
    int rc = finish(sched, job, ended, &err);
    if (rc != 0 && !err_is_transient(rc) && rc != ERR_CONFLICT)
        log_warn("sched: cannot end job %s: %s", job->job->spec->name, err_message(&err, rc));
    pthread_mutex_lock(&sched->lock);
    if (rc != 0)
        job->retry_ns = clock_deadline_ms(RETRY_MS);
    sched->stale |= rc == ERR_CONFLICT; /* the catalogue knows better */
    if (rc == 0 && ended)
        job->job->settled = true;
    sched_job_unref(job);
}

void *sched_finish_main(void *context) {
    struct sched *sched = context;
    pthread_mutex_lock(&sched->lock);
    while (!sched->stopping) {
        uint64_t again_ns;
        struct job *job = sched->leading ? next_job(sched, &again_ns) : NULL;
        if (job != NULL)
            finish_one(sched, job);
        else
            clock_cond_wait(&sched->finish, &sched->lock,
                            sched->leading ? again_ns : DEADLINE_NONE);
    }
    pthread_mutex_unlock(&sched->lock);
    return NULL;
}
