/* Finding jobs and waiting for their changes. */
#include <poll.h>
#include <string.h>

#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/jobs.h"
#include "gateway/request.h"
#include "os/clock.h"

#define NEWS_BYTES_MAX ((size_t)8 << 20)
#define CALL_MS (2 * SCHED_POLL_MS)
#define AWAY_MS_MAX 30000 /* a cluster without a scheduler for so long is said to be so */
#define QUERY_MS_MAX 30000

int job_query(struct request *request, const char *name, bool with_inputs, Pb__Job **ret_job) {
    Pb__GetJob get = PB__GET_JOB__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    struct id128 id;
    if (id128_parse(span_of(name), &id))
        get.job = pb_id(&id);
    get.name = (char *)(uintptr_t)name;
    get.with_inputs = with_inputs;
    query.op_case = PB__QUERY__OP_GET_JOB;
    query.get_job = &get;
    request->deadline_ns = clock_deadline_ms(QUERY_MS_MAX);
    int rc = catalogue_query(request, META_ROOT, &query, &reply);
    if (rc == ERR_NO_SUCH_JOB || (rc == 0 && (reply->job == NULL || reply->job->spec == NULL)))
        return err_set(&request->err, ERR_NO_SUCH_JOB, "there is no job '%.80s'", name);
    if (rc == 0)
        *ret_job = reply->job;
    return rc;
}

int job_list_tasks(struct request *request, struct id128 job, uint32_t phase, uint32_t first,
                   uint32_t limit, struct arena *arena, Pb__Reply **ret_reply) {
    Pb__ListTasks list = PB__LIST_TASKS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    list.job = pb_id(&job);
    list.phase = phase;
    list.first = first;
    list.limit = limit;
    query.op_case = PB__QUERY__OP_LIST_TASKS;
    query.list_tasks = &list;
    return meta_query(request->gateway->options.meta, META_ROOT, &query,
                      clock_deadline_ms(QUERY_MS_MAX), arena, ret_reply, &request->err);
}

int job_watch_open(struct job_watch *watch, struct request *request, const char *name) {
    Pb__Job *job;
    *watch = (struct job_watch){.request = request};
    arena_init(&watch->arena, NEWS_BYTES_MAX);
    int rc = job_query(request, name, false, &job);
    if (rc == 0)
        watch->id = pb_id128(job->spec->id);
    return rc;
}

void job_watch_close(struct job_watch *watch) {
    arena_fini(&watch->arena);
}

/* A client that has gone is told by its socket; one that only sends the next request is not. */
static bool client_has_gone(const struct request *request) {
    struct pollfd poll_fd = {request->conn->fd, POLLRDHUP, 0};
    return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static int check_wanted(const struct request *request) {
    if (client_has_gone(request))
        return ERR_CLOSED;
    return server_is_stopping(request->conn->server) ? ERR_SHUTDOWN : 0;
}

/* Whether to go on asking after this answer. */
static bool is_patient(struct job_watch *watch, int rc) {
    uint64_t now_ns = clock_now_ns();
    if (rc == 0)
        watch->failing_since_ns = 0;
    else if (watch->failing_since_ns == 0)
        watch->failing_since_ns = now_ns;
    return rc != 0 && err_is_transient(rc) &&
           now_ns - watch->failing_since_ns < AWAY_MS_MAX * NS_PER_MS;
}

int job_watch_next(struct job_watch *watch, Pb__Job **ret_job) {
    Pb__JobWatch message = PB__JOB_WATCH__INIT;
    message.job = pb_id(&watch->id);
    message.seen = watch->seen;
    Pb__JobNews *news;
    int rc;
    do {
        int wanted = check_wanted(watch->request);
        if (wanted != 0)
            return err_set(&watch->request->err, wanted, "%s", err_text(wanted));
        arena_reset(&watch->arena);
        rc =
            sched_client_watch(watch->request->gateway->sched, &message, clock_deadline_ms(CALL_MS),
                               &watch->arena, &news, &watch->request->err);
    } while (is_patient(watch, rc));
    if (rc == 0 && news->job == NULL)
        rc = err_set(&watch->request->err, ERR_PROTOCOL, "news of a job without the job");
    if (rc != 0)
        return rc;
    watch->request->err = (struct err){0};
    watch->seen = news->seen;
    *ret_job = news->job;
    return 0;
}

void job_wake_scheduler(struct request *request, struct id128 id) {
    Pb__JobWatch watch = PB__JOB_WATCH__INIT;
    Pb__JobNews *news;
    watch.job = pb_id(&id);
    sched_client_watch(request->gateway->sched, &watch, clock_deadline_ms(CALL_MS), &request->arena,
                       &news, NULL);
}
