/* Finds the scheduler that acts and exchanges one packed message with it. */
#include "sched/client.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "core/catalog_plan.h"
#include "os/clock.h"

#define FILL_MS 1500u /* for the input of reduce tasks: well within a lease */
#define RETRY_MS 20u  /* between rounds over the voters while there is no leader */
#define ATTEMPT_MS (SCHED_POLL_MS + 300) /* a node silent for so long is left for another */

struct sched_client {
    struct meta_client *meta;
    struct rpc_client *rpc;
    atomic_uint leader; /* the node to ask first; 0: any */
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
    return rc == ERR_NOT_LEADER || rc == ERR_NO_LEADER || rc == ERR_CLOSED || rc == ERR_REFUSED ||
           rc == ERR_SHUTDOWN || rc == ERR_NOT_FOUND || rc == ERR_TIMEOUT;
}

static void unref_map(struct place_map **map) {
    place_map_unref(*map);
}

static int ask(struct sched_client *client, uint32_t node, uint16_t type, struct span request,
               uint64_t deadline_ns, struct buf *reply, struct err *err) {
    uint64_t attempt_ns = clock_deadline_ms(ATTEMPT_MS);
    buf_clear(reply);
    return rpc_call(client->rpc, node, type, request, true /* idempotent */,
                    attempt_ns < deadline_ns ? attempt_ns : deadline_ns, reply, err);
}

/* Who may lead the root group: the node after this one (or the first, after a stranger) that is up;
 * any, when none is. */
static uint32_t next_node(const struct place_map *map, uint32_t node) {
    const struct place_group *root = &map->groups[META_ROOT];
    uint32_t at = 0;
    for (uint32_t i = 0; i < root->count; i++)
        if (root->nodes[i] == node)
            at = i + 1;
    for (uint32_t i = 0; i < root->count; i++) {
        uint32_t next = root->nodes[(at + i) % root->count];
        const struct place_node *known = place_node(map, next);
        if (known == NULL || !known->down)
            return next;
    }
    return root->nodes[at % root->count];
}

/* The node that answered last, then the others. One that does not answer is left at once, so that a
 * call whose deadline it used up is not the rule for those that follow. */
static int ask_round(struct sched_client *client, uint16_t type, struct span request,
                     uint64_t deadline_ns, struct buf *reply, struct err *err) {
    _cleanup_(unref_map) struct place_map *map = meta_map(client->meta);
    uint32_t count = map->groups[META_ROOT].count;
    if (count == 0)
        return err_set(err, ERR_NO_LEADER, "the map places the root group nowhere");
    uint32_t node = atomic_load(&client->leader);
    if (node == 0)
        node = next_node(map, 0);
    int rc = 0;
    for (uint32_t i = 0; i < count; i++) {
        rc = ask(client, node, type, request, deadline_ns, reply, err);
        if (tries_elsewhere(rc))
            node = next_node(map, node);
        atomic_store(&client->leader, node);
        if (!tries_elsewhere(rc))
            return rc;
    }
    return rc;
}

static int call(struct sched_client *client, uint16_t type, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *answer, uint64_t deadline_ns, struct arena *arena,
                void *ret_answer, struct err *err) {
    _cleanup_(buf_finip) struct buf packed = BUF_INIT, reply = BUF_INIT;
    packed.limit = RPC_BODY_MAX;
    pb_pack(&packed, request);
    if (packed.failed)
        return err_set(err, ERR_LIMIT, "a %s message is too large",
                       request->descriptor->short_name);
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

/* ---- the input of reduce tasks: too much for one frame, so it is read from the catalogue ---- */

static int add_output(const Pb__Task *task, size_t room, Pb__TaskInput *input, struct arena *arena,
                      struct err *err) {
    Pb__TaskOutput *output = arena_new(arena, Pb__TaskOutput);
    if (output == NULL)
        return err_set(err, ERR_LIMIT, "too much map output for one reduce task");
    if (task->state != PB__TASK_STATE__TASK_DONE || task->result == NULL ||
        input->n_outputs == room)
        return err_set(err, ERR_CORRUPT, "a map task is not done");
    pb__task_output__init(output);
    output->inline_data = task->result->inline_output;
    output->chunks = task->result->output;
    output->n_chunks = task->result->n_output;
    output->length = task->result->output_bytes;
    input->outputs[input->n_outputs++] = output;
    input->length += output->length;
    return 0;
}

static int list_map_tasks(struct sched_client *client, ProtobufCBinaryData job, uint32_t first,
                          uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply,
                          struct err *err) {
    Pb__ListTasks list = PB__LIST_TASKS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    list.job = job;
    list.phase = PHASE_MAP;
    list.first = first;
    query.op_case = PB__QUERY__OP_LIST_TASKS;
    query.list_tasks = &list;
    return meta_query(client->meta, META_ROOT, &query, deadline_ns, arena, ret_reply, err);
}

static int count_map_tasks(struct sched_client *client, ProtobufCBinaryData job,
                           uint64_t deadline_ns, struct arena *arena, uint32_t *ret_count,
                           struct err *err) {
    Pb__GetJob get = PB__GET_JOB__INIT;
    Pb__Query query = PB__QUERY__INIT;
    Pb__Reply *reply;
    get.job = job;
    query.op_case = PB__QUERY__OP_GET_JOB;
    query.get_job = &get;
    int rc = meta_query(client->meta, META_ROOT, &query, deadline_ns, arena, &reply, err);
    if (rc == 0)
        *ret_count = reply->job->map_tasks;
    return rc;
}

static int fill_outputs(struct sched_client *client, const Pb__TaskWork *work, uint64_t deadline_ns,
                        struct arena *arena, struct err *err) {
    ProtobufCBinaryData job = work->lease->task->job;
    Pb__TaskInput *input = work->input;
    uint32_t count;
    int rc = count_map_tasks(client, job, deadline_ns, arena, &count, err);
    if (rc != 0)
        return rc;
    input->outputs = arena_array(arena, Pb__TaskOutput *, (size_t)count + 1);
    if (input->outputs == NULL)
        return err_set(err, ERR_LIMIT, "too much map output for one reduce task");
    while (rc == 0 && input->n_outputs < count) {
        Pb__Reply *reply;
        rc = list_map_tasks(client, job, (uint32_t)input->n_outputs, deadline_ns, arena, &reply,
                            err);
        if (rc == 0 && reply->n_tasks == 0)
            rc = err_set(err, ERR_CORRUPT, "map tasks are missing");
        for (size_t i = 0; rc == 0 && i < reply->n_tasks; i++)
            rc = add_output(reply->tasks[i], count, input, arena, err);
    }
    return rc;
}

static int check_work(const Pb__TaskWork *work, struct err *err) {
    return work->lease != NULL && work->lease->task != NULL && work->input != NULL
               ? 0
               : err_set(err, ERR_PROTOCOL, "a task without its parts");
}

int sched_client_poll(struct sched_client *client, const Pb__TaskPoll *poll, uint64_t deadline_ns,
                      struct arena *arena, Pb__TaskGrant **ret_grant, struct err *err) {
    Pb__TaskGrant *grant;
    int rc = call(client, RPC_TASK_POLL, &poll->base, &pb__task_grant__descriptor, deadline_ns,
                  arena, &grant, err);
    uint64_t fill_ns = clock_deadline_ms(FILL_MS);
    for (size_t i = 0; rc == 0 && i < grant->n_work; i++) {
        rc = check_work(grant->work[i], err);
        if (rc == 0 && grant->work[i]->lease->task->phase == PHASE_REDUCE)
            rc = fill_outputs(client, grant->work[i], fill_ns, arena, err);
    }
    if (rc == 0)
        *ret_grant = grant;
    return rc;
}

int sched_client_renew(struct sched_client *client, const Pb__TaskRenew *renew,
                       uint64_t deadline_ns, struct arena *arena, Pb__TaskRenewed **ret_renewed,
                       struct err *err) {
    return call(client, RPC_TASK_RENEW, &renew->base, &pb__task_renewed__descriptor, deadline_ns,
                arena, ret_renewed, err);
}

int sched_client_commit(struct sched_client *client, const Pb__TaskCommits *commits,
                        uint64_t deadline_ns, struct arena *arena,
                        Pb__TaskCommitted **ret_committed, struct err *err) {
    return call(client, RPC_TASK_COMMIT, &commits->base, &pb__task_committed__descriptor,
                deadline_ns, arena, ret_committed, err);
}

int sched_client_submit(struct sched_client *client, Pb__JobSpec *spec, uint64_t deadline_ns,
                        struct arena *arena, Pb__JobNews **ret_news, struct err *err) {
    Pb__JobSubmit submit = PB__JOB_SUBMIT__INIT;
    submit.spec = spec;
    return call(client, RPC_JOB_SUBMIT, &submit.base, &pb__job_news__descriptor, deadline_ns, arena,
                ret_news, err);
}

int sched_client_watch(struct sched_client *client, const Pb__JobWatch *watch, uint64_t deadline_ns,
                       struct arena *arena, Pb__JobNews **ret_news, struct err *err) {
    return call(client, RPC_JOB_WATCH, &watch->base, &pb__job_news__descriptor, deadline_ns, arena,
                ret_news, err);
}
