/* The scheduler's life, and its loop: whether it leads, which jobs there are, and then leases. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "sched/impl.h"

#define TICK_MS 25u     /* how soon leadership is noticed */
#define REFRESH_MS 250u /* how soon a job is that nobody told of */
#define RELOAD_MS 50u   /* between tries to load */

/* ---- commands and queries ---- */

int sched_submit(struct sched *sched, uint32_t group, Pb__Command *command, struct arena *arena,
                 Pb__Reply **ret_reply, struct err *err) {
    return meta_submit(sched->meta, group, command, clock_deadline_ms(SUBMIT_MS), arena, ret_reply,
                       err);
}

int sched_query(struct sched *sched, uint32_t group, Pb__Query *query, struct arena *arena,
                Pb__Reply **ret_reply, struct err *err) {
    return meta_query(sched->meta, group, query, clock_deadline_ms(QUERY_MS), arena, ret_reply,
                      err);
}

/* ---- jobs come and go ---- */

/* One job of the catalogue's list, with the lock held; true when it has to be loaded. */
static bool note_listed(struct sched *sched, const Pb__Job *listed) {
    struct job *job = sched_job_find(sched, listed->spec->id);
    if (job == NULL)
        return true;
    job->listed = true;
    bool ended = listed->state != PB__JOB_STATE__JOB_RUNNING &&
                 job->job->state == PB__JOB_STATE__JOB_RUNNING;
    if (ended)
        sched_job_end(sched, job, listed);
    return false;
}

static int load_job(struct sched *sched, const Pb__Job *listed, struct err *err) {
    struct job *job;
    int rc = sched_job_load(sched, pb_id128(listed->spec->id), &job, err);
    if (rc == ERR_NO_SUCH_JOB)
        return 0; /* gone since */
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&sched->lock);
    if (sched_job_find(sched, listed->spec->id) == NULL)
        sched_job_add(sched, job);
    else
        sched_job_unref(job); /* it was submitted here meanwhile */
    pthread_cond_signal(&sched->finish);
    pthread_mutex_unlock(&sched->lock);
    return 0;
}

static int list_page(struct sched *sched, struct id128 *after, bool *ret_more, struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__ListJobs list = PB__LIST_JOBS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    list.only_unfinished = list.only_unsettled = true;
    if (!id128_is_zero(*after))
        list.after = pb_id(after);
    query.op_case = PB__QUERY__OP_LIST_JOBS;
    query.list_jobs = &list;
    int rc = sched_query(sched, META_ROOT, &query, &arena, &reply, err);
    for (size_t i = 0; rc == 0 && i < reply->n_jobs; i++) {
        pthread_mutex_lock(&sched->lock);
        bool unknown = note_listed(sched, reply->jobs[i]);
        pthread_mutex_unlock(&sched->lock);
        if (unknown)
            rc = load_job(sched, reply->jobs[i], err);
        *after = pb_id128(reply->jobs[i]->spec->id);
    }
    *ret_more = rc == 0 && reply->truncated && reply->n_jobs > 0;
    return rc;
}

/* Makes the list of jobs what the catalogue says. The lock is not held. */
static int refresh(struct sched *sched, struct err *err) {
    struct id128 after = {{0}};
    bool more = true;
    int rc = 0;
    pthread_mutex_lock(&sched->lock);
    LIST_FOR_EACH(node, &sched->jobs)
    LIST_ENTRY(node, struct job, node)->listed = false;
    pthread_mutex_unlock(&sched->lock);
    while (rc == 0 && more)
        rc = list_page(sched, &after, &more, err);
    pthread_mutex_lock(&sched->lock);
    for (struct list *node = sched->jobs.next, *next; rc == 0 && node != &sched->jobs;
         node = next) {
        next = node->next;
        struct job *job = LIST_ENTRY(node, struct job, node);
        if (!job->listed)
            sched_job_drop(sched, job);
    }
    pthread_mutex_unlock(&sched->lock);
    return rc;
}

static void drop_all(struct sched *sched) {
    while (!list_is_empty(&sched->jobs))
        sched_job_drop(sched, LIST_ENTRY(sched->jobs.next, struct job, node));
    sched->leading = false;
}

/* ---- the loop ---- */

/* With the lock held, let go meanwhile. */
static void take_over(struct sched *sched) {
    struct err err = {0};
    drop_all(sched);
    sched->stale = sched->reload = false;
    pthread_mutex_unlock(&sched->lock);
    int rc = refresh(sched, &err);
    pthread_mutex_lock(&sched->lock);
    sched->leading = rc == 0;
    pthread_cond_signal(&sched->finish); /* there may be jobs to end */
    sched->refresh_ns = clock_deadline_ms(rc == 0 ? REFRESH_MS : RELOAD_MS);
    if (rc != 0 && !err_is_transient(rc))
        log_warn("sched: cannot load the jobs: %s", err_message(&err, rc));
}

static void look_for_jobs(struct sched *sched) {
    struct err err = {0};
    sched->reload = false;
    pthread_mutex_unlock(&sched->lock);
    int rc = refresh(sched, &err);
    pthread_mutex_lock(&sched->lock);
    sched->refresh_ns = clock_deadline_ms(REFRESH_MS);
    if (rc != 0 && !err_is_transient(rc))
        log_warn("sched: cannot list the jobs: %s", err_message(&err, rc));
}

/* Returns when to look again. */
static uint64_t turn(struct sched *sched) {
    uint64_t now_ns = clock_now_ns(), again_ns = now_ns + TICK_MS * NS_PER_MS;
    bool leads = meta_leads(sched->meta, META_ROOT);
    if (!leads) {
        drop_all(sched);
        sched_grant_refuse_all(sched, ERR_NOT_LEADER);
        return again_ns;
    }
    if (sched->stale || (!sched->leading && now_ns >= sched->refresh_ns))
        take_over(sched);
    else if (sched->leading && (sched->reload || now_ns >= sched->refresh_ns))
        look_for_jobs(sched);
    if (!sched->leading)
        return again_ns;
    sched_release_lost(sched);
    uint64_t grant_ns = sched_grant_work(sched);
    return grant_ns < again_ns ? grant_ns : again_ns;
}

static void *loop_main(void *context) {
    struct sched *sched = context;
    pthread_mutex_lock(&sched->lock);
    while (!sched->stopping) {
        uint64_t again_ns = turn(sched);
        if (!sched->stopping && !sched->stale && !sched->reload && !sched->wanted)
            clock_cond_wait(&sched->work, &sched->lock, again_ns);
        sched->wanted = false;
    }
    drop_all(sched);
    sched_grant_refuse_all(sched, ERR_SHUTDOWN);
    pthread_mutex_unlock(&sched->lock);
    return NULL;
}

/* ---- answers ---- */

#define SEND_MS 5000u

int sched_answer(struct rpc_conn *conn, uint16_t type, const ProtobufCMessage *message) {
    _cleanup_(buf_finip) struct buf packed = {.limit = RPC_BODY_MAX};
    pb_pack(&packed, message);
    return packed.failed ? sched_answer_error(conn, ERR_LIMIT, "the answer is too large")
                         : sched_answer_packed(conn, type, &packed);
}

int sched_answer_packed(struct rpc_conn *conn, uint16_t type, const struct buf *packed) {
    struct iovec iov = {packed->data, packed->size};
    return rpc_send(conn, type, &iov, 1, clock_deadline_ms(SEND_MS), NULL);
}

int sched_answer_error(struct rpc_conn *conn, int code, const char *text) {
    return rpc_send_error(conn, code, text != NULL ? text : err_text(code),
                          clock_deadline_ms(SEND_MS), NULL);
}

/* ---- start and stop ---- */

static int start_threads(struct sched *sched, struct err *err) {
    static void *(*const mains[])(void *) = {loop_main, sched_finish_main, sched_collect_main};
    for (size_t i = 0; i < sizeof mains / sizeof *mains; i++) {
        int errno_value = pthread_create(&sched->threads[i], NULL, mains[i], sched);
        if (errno_value != 0)
            return err_errno(err, errno_value, "cannot start a thread of the scheduler");
        sched->thread_count++;
    }
    return 0;
}

int sched_start(struct meta_client *meta, struct store_client *store, struct rpc_server *server,
                struct sched **ret_sched, struct err *err) {
    struct sched *sched = calloc(1, sizeof *sched);
    if (sched == NULL)
        return err_set(err, ERR_NOMEM, "no memory for the scheduler");
    sched->meta = meta;
    sched->store = store;
    pthread_mutex_init(&sched->lock, NULL);
    clock_cond_init(&sched->changed);
    clock_cond_init(&sched->work);
    clock_cond_init(&sched->finish);
    clock_cond_init(&sched->collect);
    list_init(&sched->jobs);
    list_init(&sched->leases);
    list_init(&sched->pollers);
    list_init(&sched->results);
    int rc = start_threads(sched, err);
    if (rc != 0) {
        sched_stop(sched);
        return rc;
    }
    rpc_server_handle(server, RPC_JOB_SUBMIT, sched_handle_submit, sched);
    rpc_server_handle(server, RPC_TASK_POLL, sched_handle_poll, sched);
    rpc_server_handle(server, RPC_TASK_RENEW, sched_handle_renew, sched);
    rpc_server_handle(server, RPC_TASK_COMMIT, sched_handle_commit, sched);
    rpc_server_handle(server, RPC_JOB_WATCH, sched_handle_watch, sched);
    *ret_sched = sched;
    return 0;
}

struct sched *sched_stop(struct sched *sched) {
    if (sched == NULL)
        return NULL;
    pthread_mutex_lock(&sched->lock);
    sched->stopping = true;
    pthread_cond_t *const conds[] = {&sched->changed, &sched->work, &sched->finish,
                                     &sched->collect};
    for (size_t i = 0; i < sizeof conds / sizeof *conds; i++)
        pthread_cond_broadcast(conds[i]);
    pthread_mutex_unlock(&sched->lock);
    for (unsigned i = 0; i < sched->thread_count; i++)
        pthread_join(sched->threads[i], NULL);
    ASSERT(list_is_empty(&sched->pollers) && list_is_empty(&sched->results));
    for (size_t i = 0; i < sizeof conds / sizeof *conds; i++)
        pthread_cond_destroy(conds[i]);
    pthread_mutex_destroy(&sched->lock);
    free(sched);
    return NULL;
}
