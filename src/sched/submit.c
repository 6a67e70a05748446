/* A new job, proposed together with leases on its first tasks for the workers that wait. */
#include "base/cleanup.h"
#include "sched/impl.h"

/* The job as the catalogue will have it. */
static Pb__Job *make_record(struct job *job, Pb__JobSpec *spec) {
    Pb__Job *record = arena_new(&job->arena, Pb__Job);
    Pb__TaskUsage *usage = arena_new(&job->arena, Pb__TaskUsage);
    if (record == NULL || usage == NULL)
        return NULL;
    pb__job__init(record);
    pb__task_usage__init(usage);
    record->spec = spec;
    record->usage = usage;
    record->reduce_tasks = spec->reduce[0] != '\0';
    for (size_t i = 0; i < spec->n_inputs; i++)
        record->map_tasks += (uint32_t)catalog_plan_tasks(spec, spec->inputs[i]);
    return record;
}

static int unpack_job(const struct buf *body, struct job *job, struct err *err) {
    Pb__JobSubmit *request;
    int rc = pb_unpack(&pb__job_submit__descriptor, buf_span(body), &job->arena, &request, err);
    if (rc != 0)
        return rc;
    if (request->spec == NULL || request->spec->id.len != sizeof job->id)
        return err_set(err, ERR_PROTOCOL, "not a job");
    job->id = pb_id128(request->spec->id);
    return sched_job_set(job, make_record(job, request->spec), err);
}

static int take_name(struct job *job, const char *name, struct err *err) {
    job->job->spec->name = arena_strdup(&job->arena, name);
    return job->job->spec->name != NULL ? 0 : err_set(err, ERR_NOMEM, "no memory for a job");
}

/* The job gets the name that was free. Lock not held. */
static int propose(struct sched *sched, const struct choice *choice, struct arena *arena,
                   Pb__Reply **ret_reply, struct err *err) {
    Pb__SubmitJob op = PB__SUBMIT_JOB__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    op.spec = choice->only->job->spec;
    op.leases = sched_choice_leases(choice, arena);
    op.n_leases = choice->count;
    command.op_case = PB__COMMAND__OP_SUBMIT_JOB;
    command.submit_job = &op;
    int rc = sched_submit(sched, META_ROOT, &command, arena, ret_reply, err);
    if (rc == 0 && ((*ret_reply)->job == NULL || (*ret_reply)->job->spec == NULL))
        rc = err_set(err, ERR_PROTOCOL, "a job was taken without a reply");
    return rc == 0 ? take_name(choice->only, (*ret_reply)->job->spec->name, err) : rc;
}

/* Nothing of it was begun before, and nobody loaded it meanwhile. */
static bool is_ours(struct sched *sched, const Pb__Job *record) {
    return sched->leading && record->state == PB__JOB_STATE__JOB_RUNNING &&
           record->lease_epoch == 0 && sched_job_find(sched, record->spec->id) == NULL;
}

/* Lock held. Takes the reference to the job. */
static void note_submitted(struct choice *choice, const Pb__Reply *reply) {
    struct sched *sched = choice->sched;
    struct job *job = choice->only;
    bool ours = reply != NULL && is_ours(sched, reply->job);
    sched_note_granted(choice, reply);
    if (ours)
        sched_job_add(sched, job);
    else
        sched_job_unref(job);
    sched->reload |= !ours; /* if it is there, it is loaded */
    sched->wanted = true;
    pthread_cond_signal(&sched->work);
}

/* Takes the reference to the job. */
static int submit(struct sched *sched, struct job *job, struct arena *arena, struct buf *ret_news,
                  struct err *err) {
    struct choice choice;
    Pb__Reply *reply = NULL;
    pthread_mutex_lock(&sched->lock);
    if (!sched->leading) {
        sched_job_unref(job);
        pthread_mutex_unlock(&sched->lock);
        return ERR_NOT_LEADER;
    }
    sched_choose_work(sched, job, &choice);
    pthread_mutex_unlock(&sched->lock);
    int rc = propose(sched, &choice, arena, &reply, err);
    pthread_mutex_lock(&sched->lock);
    note_submitted(&choice, rc == 0 ? reply : NULL);
    pthread_mutex_unlock(&sched->lock);
    if (rc != 0)
        return rc;
    Pb__JobNews news = PB__JOB_NEWS__INIT;
    news.job = reply->job;
    pb_pack(ret_news, &news.base);
    return ret_news->failed ? err_set(err, ERR_NOMEM, "no memory for a job") : 0;
}

int sched_handle_submit(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    struct err err = {0};
    _cleanup_(arena_finip) struct arena arena;
    _cleanup_(buf_finip) struct buf news = {.limit = RPC_BODY_MAX};
    arena_init(&arena, REPLY_BYTES);
    struct job *job = sched_job_new((struct id128){{0}});
    int rc = unpack_job(body, job, &err);
    if (rc == 0)
        rc = submit(context, job, &arena, &news, &err);
    else
        sched_job_unref(job);
    return rc == 0 ? sched_answer_packed(conn, RPC_JOB_NEWS, &news)
                   : sched_answer_error(conn, rc, err_message(&err, rc));
}
