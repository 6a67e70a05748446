/* Workers ask for work and say what they run. */
#include "base/cleanup.h"
#include "sched/impl.h"

#define SLOTS_MAX 8192u

/* Renews what runs; the rest goes to ret_lost (as many as leases). Lock held. */
static size_t renew(struct sched *sched, uint32_t worker, Pb__TaskLease **leases, size_t count,
                    Pb__TaskLease **ret_lost) {
    uint64_t now_ns = clock_now_ns();
    size_t lost = 0;
    sched->worker_seen_ns[worker] = now_ns;
    for (size_t i = 0; i < count; i++) {
        struct lease *lease = sched_lease_find(sched, leases[i]);
        if (lease != NULL && lease->worker == worker)
            lease->renewed_ns = now_ns;
        else
            ret_lost[lost++] = leases[i];
    }
    return lost;
}

int sched_handle_renew(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    struct sched *sched = context;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, POLL_BYTES);
    Pb__TaskRenew *request;
    Pb__TaskRenewed reply = PB__TASK_RENEWED__INIT;
    int rc = pb_unpack(&pb__task_renew__descriptor, buf_span(body), &arena, &request, NULL);
    if (rc != 0 || request->node >= WORKERS_MAX)
        return sched_answer_error(conn, ERR_PROTOCOL, "not a renewal");
    reply.lost = arena_array(&arena, Pb__TaskLease *, request->n_running + 1);
    if (reply.lost == NULL)
        return sched_answer_error(conn, ERR_NOMEM, NULL);
    pthread_mutex_lock(&sched->lock);
    bool leading = sched->leading;
    if (leading)
        reply.n_lost =
            renew(sched, request->node, request->running, request->n_running, reply.lost);
    pthread_mutex_unlock(&sched->lock);
    return leading ? sched_answer(conn, RPC_TASK_RENEWED, &reply.base)
                   : sched_answer_error(conn, ERR_NOT_LEADER, NULL);
}

/* Waits in the list of those who want work. Lock held. */
static void wait_for_work(struct sched *sched, struct poller *poller) {
    uint64_t until_ns = clock_deadline_ms(SCHED_POLL_MS);
    list_add_tail(&sched->pollers, &poller->node);
    sched->wanted = true;
    pthread_cond_signal(&sched->work);
    bool in_time = true;
    while (poller->pending || (!poller->answered && in_time && !sched->stopping))
        in_time = clock_cond_wait(&sched->changed, &sched->lock,
                                  poller->pending ? DEADLINE_NONE : until_ns);
    list_remove(&poller->node);
}

static int poll(struct sched *sched, struct rpc_conn *conn, const Pb__TaskPoll *request,
                Pb__TaskGrant *grant) {
    struct poller poller = {.worker = request->node,
                            .slots = request->slots < SLOTS_MAX ? request->slots : SLOTS_MAX,
                            .sandbox_level = request->sandbox_level,
                            .reply = {.limit = RPC_BODY_MAX}};
    pthread_mutex_lock(&sched->lock);
    if (!sched->leading) {
        pthread_mutex_unlock(&sched->lock);
        return sched_answer_error(conn, ERR_NOT_LEADER, NULL);
    }
    grant->n_lost = renew(sched, request->node, request->running, request->n_running, grant->lost);
    if (grant->n_lost == 0 && poller.slots > 0)
        wait_for_work(sched, &poller);
    pthread_mutex_unlock(&sched->lock);
    int rc = poller.code != 0        ? sched_answer_error(conn, poller.code, NULL)
             : poller.reply.size > 0 ? sched_answer_packed(conn, RPC_TASK_GRANT, &poller.reply)
                                     : sched_answer(conn, RPC_TASK_GRANT, &grant->base);
    buf_fini(&poller.reply);
    return rc;
}

int sched_handle_poll(void *context, struct rpc_conn *conn, uint16_t type, struct buf *body) {
    (void)type;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, POLL_BYTES);
    Pb__TaskPoll *request;
    Pb__TaskGrant grant = PB__TASK_GRANT__INIT;
    int rc = pb_unpack(&pb__task_poll__descriptor, buf_span(body), &arena, &request, NULL);
    if (rc != 0 || request->node >= WORKERS_MAX)
        return sched_answer_error(conn, ERR_PROTOCOL, "not a request for work");
    grant.lost = arena_array(&arena, Pb__TaskLease *, request->n_running + 1);
    return grant.lost != NULL ? poll(context, conn, request, &grant)
                              : sched_answer_error(conn, ERR_NOMEM, NULL);
}

void sched_grant_refuse_all(struct sched *sched, int code) {
    if (list_is_empty(&sched->pollers))
        return;
    LIST_FOR_EACH(node, &sched->pollers) {
        struct poller *poller = LIST_ENTRY(node, struct poller, node);
        poller->answered = true;
        poller->code = code;
    }
    pthread_cond_broadcast(&sched->changed);
}
