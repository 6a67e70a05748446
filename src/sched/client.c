/* Finds the scheduler that acts and exchanges one packed message with it. */
#include "sched/client.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"

#define RETRY_MS 20u                    /* between rounds over the voters while there is no leader */
#define ATTEMPT_MS (2 * SCHED_POLL_MS) /* a node silent for so long is left for another */

struct sched_client {
    struct meta_client *meta;
    struct rpc_client *rpc;
    atomic_uint leader; /* node that answered last; a hint */
};

struct sched_client *sched_client_new(struct meta_client *meta, struct rpc_client *rpc) {
    struct sched_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->meta = meta;
    client->rpc = rpc;
    atomic_init(&client->leader, 0);
    return client;
}

struct sched_client *sched_client_free(struct sched_client *client) {
    free(client);
    return NULL;
}

/* Whether another node, or the same one later, may do better. */
static bool tries_elsewhere(int rc) {
    return rc == ERR_NOT_LEADER || rc == ERR_NO_LEADER || rc == ERR_CLOSED || rc == ERR_REFUSED || rc == ERR_SHUTDOWN ||
           rc == ERR_NOT_FOUND || rc == ERR_TIMEOUT;
}

static void unref_map(struct place_map **map) {
    place_map_unref(*map);
}

static int ask(struct sched_client *client, uint32_t node, uint16_t type, struct span request, uint64_t deadline_ns,
               struct buf *reply, struct err *err) {
    uint64_t attempt_ns = clock_deadline_ms(ATTEMPT_MS);
    buf_clear(reply);
    return rpc_call(client->rpc, node, type, request, true /* idempotent */,
                    attempt_ns < deadline_ns ? attempt_ns : deadline_ns, reply, err);
}

/* The node that answered last, then the other voters. */
static int ask_round(struct sched_client *client, uint16_t type, struct span request, uint64_t deadline_ns,
                     struct buf *reply, struct err *err) {
    uint32_t hint = atomic_load(&client->leader);
    int rc = hint != 0 ? ask(client, hint, type, request, deadline_ns, reply, err) : ERR_NO_LEADER;
    if (!tries_elsewhere(rc))
        return rc;
    _cleanup_(unref_map) struct place_map *map = meta_map(client->meta);
    for (uint32_t i = 0; i < map->voter_count; i++) {
        if (map->voters[i] == hint)
            continue;
        rc = ask(client, map->voters[i], type, request, deadline_ns, reply, err);
        if (!tries_elsewhere(rc)) {
            atomic_store(&client->leader, map->voters[i]);
            return rc;
        }
    }
    return map->voter_count > 0 ? rc : err_set(err, ERR_NO_LEADER, "no voter is known");
}

static int call(struct sched_client *client, uint16_t type, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *answer, uint64_t deadline_ns, struct arena *arena, void *ret_answer,
                struct err *err) {
    _cleanup_(buf_finip) struct buf packed = BUF_INIT, reply = BUF_INIT;
    packed.limit = RPC_BODY_MAX;
    pb_pack(&packed, request);
    if (packed.failed)
        return err_set(err, ERR_LIMIT, "a %s message is too large", request->descriptor->short_name);
    for (;;) {
        int rc = ask_round(client, type, buf_span(&packed), deadline_ns, &reply, err);
        if (rc == 0)
            return pb_unpack(answer, buf_span(&reply), arena, ret_answer, err);
        uint64_t retry_ns = clock_deadline_ms(RETRY_MS);
        if (!tries_elsewhere(rc) || retry_ns >= deadline_ns)
            return rc;
        clock_sleep_until(retry_ns);
    }
}

int sched_client_poll(struct sched_client *client, const Pb__TaskPoll *poll, uint64_t deadline_ns, struct arena *arena,
                      Pb__TaskGrant **ret_grant, struct err *err) {
    return call(client, RPC_TASK_POLL, &poll->base, &pb__task_grant__descriptor, deadline_ns, arena, ret_grant, err);
}

int sched_client_renew(struct sched_client *client, const Pb__TaskRenew *renew, uint64_t deadline_ns, struct arena *arena,
                       Pb__TaskRenewed **ret_renewed, struct err *err) {
    return call(client, RPC_TASK_RENEW, &renew->base, &pb__task_renewed__descriptor, deadline_ns, arena, ret_renewed, err);
}

int sched_client_commit(struct sched_client *client, const Pb__TaskCommits *commits, uint64_t deadline_ns,
                        struct arena *arena, Pb__TaskCommitted **ret_committed, struct err *err) {
    return call(client, RPC_TASK_COMMIT, &commits->base, &pb__task_committed__descriptor, deadline_ns, arena,
                ret_committed, err);
}

int sched_client_watch(struct sched_client *client, const Pb__JobWatch *watch, uint64_t deadline_ns, struct arena *arena,
                       Pb__JobNews **ret_news, struct err *err) {
    return call(client, RPC_JOB_WATCH, &watch->base, &pb__job_news__descriptor, deadline_ns, arena, ret_news, err);
}
