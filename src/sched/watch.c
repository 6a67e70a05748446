/* News of a job, for those who wait for its end or its output. */
#include "base/cleanup.h"
#include "sched/impl.h"

#define WATCH_BYTES ((size_t)64 << 20)
#define ENDED UINT64_MAX /* seen: of a job that is not here any more */

/* Without the inputs. Lock held. */
static int pack_job(const struct job *job, struct buf *ret_news) {
    Pb__JobSpec spec = *job->job->spec;
    Pb__Job copy = *job->job;
    Pb__JobNews news = PB__JOB_NEWS__INIT;
    spec.n_inputs = 0;
    copy.spec = &spec;
    news.job = &copy;
    news.seen = job->news;
    pb_pack(ret_news, &news.base);
    return ret_news->failed ? ERR_NOMEM : 0;
}

bool sched_lacks_news(const struct sched *sched, const struct job *job, uint64_t seen) {
    return job != NULL && job->news == seen && sched->leading && !sched->stopping;
}

/* Waits for the job's news; nothing is packed when it is not here, or has gone meanwhile. */
static int wait_for_news(struct sched *sched, const Pb__JobWatch *watch, struct buf *ret_news) {
    uint64_t until_ns = clock_deadline_ms(SCHED_POLL_MS);
    const struct job *job = sched_job_find(sched, watch->job);
    while (sched_lacks_news(sched, job, watch->seen) &&
           clock_cond_wait(&sched->changed, &sched->lock, until_ns))
        job = sched_job_find(sched, watch->job);
    return job != NULL ? pack_job(job, ret_news) : 0;
}

/* From the catalogue: a job that has ended long ago, or one that is not known here yet. */
static int answer_from_catalogue(struct sched *sched, struct rpc_conn *conn,
                                 const Pb__JobWatch *watch) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, WATCH_BYTES);
    Pb__GetJob get = PB__GET_JOB__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    struct err err = {0};
    get.job = watch->job;
    query.op_case = PB__QUERY__OP_GET_JOB;
    query.get_job = &get;
    int rc = sched_query(sched, META_ROOT, &query, &arena, &reply, &err);
    if (rc != 0)
        return sched_answer_error(conn, rc, err_message(&err, rc));
    Pb__JobNews news = PB__JOB_NEWS__INIT;
    news.job = reply->job;
    news.seen = ENDED;
    return sched_answer(conn, RPC_JOB_NEWS, &news.base);
}

int sched_handle_watch(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    struct sched *sched = context;
    _cleanup_(arena_finip) struct arena arena;
    _cleanup_(buf_finip) struct buf news = {.limit = RPC_BODY_MAX};
    arena_init(&arena, WATCH_BYTES);
    Pb__JobWatch *watch;
    if (pb_unpack(&pb__job_watch__descriptor, buf_span(body), &arena, &watch, NULL) != 0 ||
        watch->job.len != 16)
        return sched_answer_error(conn, ERR_PROTOCOL, "not a watch");
    pthread_mutex_lock(&sched->lock);
    if (!sched->leading) {
        pthread_mutex_unlock(&sched->lock);
        return sched_answer_error(conn, ERR_NOT_LEADER, NULL);
    }
    if (watch->seen == 0 || watch->seen == ENDED) {
        sched->reload = true;
        pthread_cond_signal(&sched->work);
    }
    int rc = wait_for_news(sched, watch, &news);
    pthread_mutex_unlock(&sched->lock);
    if (rc != 0)
        return sched_answer_error(conn, rc, NULL);
    return news.size > 0 ? sched_answer_packed(conn, RPC_JOB_NEWS, &news)
                         : answer_from_catalogue(sched, conn, watch);
}
