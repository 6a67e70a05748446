/* Locks over HTTP: acquire (and wait), renew, release, list, break. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "gateway/api.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/request.h"
#include "os/clock.h"

#define PATH "/-/api/v1/locks/"
#define BODY_BYTES_MAX ((size_t)4 << 10)
#define TTL_MS 30000
#define WAIT_MS_MAX 20000 /* of one request; who wants to wait longer asks again */
#define PAUSE_MS_MIN 20   /* between looks at a lock that is held, doubled each time */
#define PAUSE_MS_MAX 300
#define CALL_MS 10000 /* for the catalogue to answer */

static json_t *lock_json(const Pb__Lock *lock) {
    char holder[ID128_HEX_SIZE];
    return json_pack("{s:s, s:I, s:s, s:I, s:I}", "name", lock->name, "fence",
                     (json_int_t)lock->fence, "holder", id128_print(pb_id128(lock->holder), holder),
                     "ttl_ms", (json_int_t)lock->ttl_ms, "renewals", (json_int_t)lock->renewals);
}

static int query_locks(struct request *request, const char *name, Pb__Reply **ret_reply) {
    Pb__ListLocks list = PB__LIST_LOCKS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    list.name = pb_text(name);
    query.op_case = PB__QUERY__OP_LIST_LOCKS;
    query.list_locks = &list;
    return catalogue_query(request, META_ROOT, &query, ret_reply);
}

int api_locks(struct request *request) {
    Pb__Reply *reply;
    int rc = query_locks(request, "", &reply);
    if (rc != 0)
        return rc;
    json_t *list = json_array();
    for (size_t i = 0; i < reply->n_locks; i++)
        json_array_append_new(list, lock_json(reply->locks[i]));
    return api_reply(request, 200, json_pack("{s:o}", "locks", list));
}

/* ---- acquire ---- */

static int try_acquire(struct request *request, const Pb__AcquireLock *op, Pb__Reply **ret_reply) {
    Pb__AcquireLock acquire = *op;
    Pb__Command command = PB__COMMAND__INIT;
    command.op_case = PB__COMMAND__OP_ACQUIRE_LOCK;
    command.acquire_lock = &acquire;
    request->deadline_ns = clock_deadline_ms(CALL_MS);
    return catalogue_submit(request, META_ROOT, &command, ret_reply);
}

/* Looking costs no entry of the log. Until the lock is free, or the deadline. */
static int wait_free(struct request *request, const char *name, uint64_t deadline_ns) {
    for (uint64_t pause_ms = PAUSE_MS_MIN;;
         pause_ms = pause_ms < PAUSE_MS_MAX ? 2 * pause_ms : pause_ms) {
        Pb__Reply *reply;
        request->deadline_ns = clock_deadline_ms(CALL_MS);
        int rc = query_locks(request, name, &reply);
        if (rc != 0 || reply->n_locks == 0)
            return rc;
        uint64_t next_ns = clock_deadline_ms(pause_ms);
        if (next_ns > deadline_ns || server_is_stopping(request->conn->server))
            return err_set(&request->err, ERR_LOCKED, "the lock %s is held", name);
        clock_sleep_until(next_ns);
    }
}

static int acquire(struct request *request, const Pb__AcquireLock *op, uint64_t wait_ms) {
    uint64_t deadline_ns = clock_deadline_ms(wait_ms);
    for (;;) {
        Pb__Reply *reply;
        int rc = try_acquire(request, op, &reply);
        if (rc == 0)
            return api_reply(request, 200, lock_json(reply->lock));
        if (rc == ERR_LOCKED && clock_now_ns() < deadline_ns)
            rc = wait_free(request, op->name, deadline_ns);
        if (rc != 0)
            return rc;
    }
}

static int reply_acquire(struct request *request, const char *name, json_t *body) {
    const char *holder;
    json_int_t ttl_ms = TTL_MS, wait_ms = 0;
    struct id128 id;
    Pb__AcquireLock op = PB__ACQUIRE_LOCK__INIT;
    json_error_t why;
    if (json_unpack_ex(body, &why, JSON_STRICT, "{s:s, s?I, s?I}", "holder", &holder, "ttl_ms",
                       &ttl_ms, "wait_ms", &wait_ms) != 0)
        return err_set(&request->err, ERR_INVALID, "not a wish for a lock: %s", why.text);
    if (!id128_parse(span_of(holder), &id))
        return err_set(&request->err, ERR_INVALID, "a holder is 32 hex digits");
    if (ttl_ms < 0 || wait_ms < 0 || wait_ms > WAIT_MS_MAX)
        return err_set(&request->err, ERR_INVALID, "wait_ms is at most %d", WAIT_MS_MAX);
    op.name = pb_text(name);
    op.holder = pb_id(&id);
    op.ttl_ms = (uint64_t)ttl_ms;
    return acquire(request, &op, (uint64_t)wait_ms);
}

/* ---- what its holder does with it ---- */

static int read_fence(struct request *request, json_t *body, uint64_t *ret_fence) {
    json_int_t fence;
    json_error_t why;
    if (json_unpack_ex(body, &why, JSON_STRICT, "{s:I}", "fence", &fence) != 0 || fence <= 0)
        return err_set(&request->err, ERR_INVALID, "say {\"fence\": NUMBER}");
    *ret_fence = (uint64_t)fence;
    return 0;
}

static int reply_renew(struct request *request, const char *name, json_t *body) {
    Pb__RenewLock renew = PB__RENEW_LOCK__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    int rc = read_fence(request, body, &renew.fence);
    renew.name = pb_text(name);
    command.op_case = PB__COMMAND__OP_RENEW_LOCK;
    command.renew_lock = &renew;
    if (rc == 0)
        rc = catalogue_submit(request, META_ROOT, &command, &reply);
    return rc != 0 ? rc : api_reply(request, 200, lock_json(reply->lock));
}

static int end_lock(struct request *request, const char *name, uint64_t fence) {
    Pb__EndLock end = PB__END_LOCK__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    end.name = pb_text(name);
    end.fence = fence;
    command.op_case = PB__COMMAND__OP_END_LOCK;
    command.end_lock = &end;
    int rc = catalogue_submit(request, META_ROOT, &command, &reply);
    return rc != 0 ? rc : api_reply(request, 200, lock_json(reply->lock));
}

static int reply_release(struct request *request, const char *name, json_t *body) {
    uint64_t fence;
    int rc = read_fence(request, body, &fence);
    return rc != 0 ? rc : end_lock(request, name, fence);
}

/* Whoever holds it: an administrator's. */
static int reply_break(struct request *request, const char *name, json_t *body) {
    (void)body;
    Pb__Reply *reply;
    int rc = query_locks(request, name, &reply);
    if (rc == 0 && reply->n_locks == 0)
        rc = err_set(&request->err, ERR_LOCK_LOST, "nobody holds the lock %s", name);
    return rc != 0 ? rc : end_lock(request, name, reply->locks[0]->fence);
}

/* ---- NAME, NAME/renew, NAME/release, NAME/break ---- */

static const struct {
    const char *name;
    int (*reply)(struct request *request, const char *name, json_t *body);
} actions[] = {{"", reply_acquire},
               {"renew", reply_renew},
               {"release", reply_release},
               {"break", reply_break}};

static int run_action(struct request *request, const char *name, const char *action, json_t *body) {
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, action) == 0)
            return actions[i].reply(request, name, body);
    return err_set(&request->err, ERR_NOT_FOUND, "a lock has no '%.40s'", action);
}

int api_lock_post(struct request *request) {
    json_t *body;
    int rc = api_read_body(request, BODY_BYTES_MAX, &body);
    if (rc != 0)
        return rc;
    const char *action, *name = api_path_item(request, PATH, &action);
    rc = run_action(request, name, action, body);
    json_decref(body);
    return rc;
}
