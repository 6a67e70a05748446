/* Questions find the leader of their group. */
#include "meta/ask.h"

#include <string.h>

#include "base/cleanup.h"
#include "meta/channels.h"
#include "meta/map.h"
#include "meta/request.h"
#include "os/clock.h"

#define TRY_MS 1000    /* at most, until another node is asked */
#define OPEN_MS 300    /* of which to connect */
#define LOOK_MS 20     /* how soon it is seen that another node leads */
#define PAUSE_MS_MIN 2 /* between tries, doubled each time */
#define PAUSE_MS_MAX 50

bool ask_is_hosted(const struct asker *asker, uint32_t group) {
    return asker->local != NULL && meta_hosts(asker->local, group);
}

/* ---- one try ---- */

/* Another node is known to lead: this one may hang. */
static bool is_deposed(const struct asker *asker, uint32_t group, uint32_t node) {
    uint32_t leader = ask_is_hosted(asker, group) ? meta_local_leader(asker->local, group) : 0;
    return leader != 0 && leader != node;
}

/* ---- a list ---- */

static int send_question(struct rpc_conn *conn, const struct question *question,
                         uint64_t deadline_ns, struct err *err) {
    uint64_t now_ns = clock_now_ns();
    uint64_t wait_ms = deadline_ns > now_ns ? (deadline_ns - now_ns) / NS_PER_MS : 0;
    struct meta_request request = {question->group, (uint32_t)wait_ms};
    struct iovec iov[] = {{&request, sizeof request},
                          {(char *)(uintptr_t)question->bytes.data, question->bytes.size}};
    return rpc_send(conn, RPC_META_QUERY, iov, 2, deadline_ns, err);
}

static int await_answer(const struct asker *asker, struct rpc_conn *conn, uint32_t group,
                        uint64_t deadline_ns, struct buf *ret_answer, struct err *err) {
    uint32_t node = rpc_conn_node(conn);
    uint16_t type;
    while (rpc_wait(conn, clock_sooner(clock_deadline_ms(LOOK_MS), deadline_ns), NULL) ==
           ERR_TIMEOUT)
        if (clock_now_ns() >= deadline_ns || is_deposed(asker, group, node))
            return err_set(err, ERR_TIMEOUT, "it does not answer");
    return rpc_receive(conn, &type, ret_answer, deadline_ns, err);
}

static int call_node(const struct asker *asker, uint32_t node, const struct question *question,
                     uint64_t deadline_ns, struct buf *ret_answer, struct err *err) {
    struct rpc_conn *conn;
    struct err story = {0};
    int r = rpc_open(asker->rpc, node, clock_sooner(clock_deadline_ms(OPEN_MS), deadline_ns), &conn,
                     err);
    if (r != 0)
        return r;
    r = send_question(conn, question, deadline_ns, &story);
    if (r == 0)
        r = await_answer(asker, conn, question->group, deadline_ns, ret_answer, &story);
    rpc_release(asker->rpc, conn, r != ERR_TIMEOUT);
    return r == 0 ? 0 : err_set(err, r, "node %u: %s", node, err_message(&story, r));
}

static int ask_list(const struct asker *asker, uint32_t node, const struct question *question,
                    uint64_t deadline_ns, uint32_t *ret_leader, struct buf *ret_reply,
                    struct err *err) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    struct meta_answer answer;
    int r = call_node(asker, node, question, deadline_ns, &bytes, err);
    if (r != 0)
        return r;
    if (bytes.size < sizeof answer)
        return err_set(err, ERR_PROTOCOL, "node %u: an answer that is cut off", node);
    memcpy(&answer, bytes.data, sizeof answer);
    struct span rest = {bytes.data + sizeof answer, bytes.size - sizeof answer};
    *ret_leader = answer.leader;
    if (answer.code != 0)
        return err_set(err, answer.code < 0 ? answer.code : ERR_PROTOCOL, "node %u: %.*s", node,
                       SPAN_ARGS(rest));
    buf_append(ret_reply, rest.data, rest.size);
    return ret_reply->failed ? err_set(err, ERR_NOMEM, "an answer of the catalogue") : 0;
}

/* ---- any question ---- */

static int ask_remote(const struct asker *asker, uint32_t node, const struct question *question,
                      uint64_t deadline_ns, uint32_t *ret_leader, struct buf *ret_reply,
                      struct err *err) {
    if (question->kind == QUESTION_LIST)
        return ask_list(asker, node, question, deadline_ns, ret_leader, ret_reply, err);
    struct channel_call call = {question->kind == QUESTION_COMMAND ? META_CALL_COMMAND
                                                                   : META_CALL_QUERY,
                                question->group, question->bytes};
    return channels_call(asker->channels, node, &call, deadline_ns, ret_leader, ret_reply, err);
}

/* The leader as far as is known, else one of those that should have a voter, in turn. */
static uint32_t whom_to_ask(struct asker *asker, uint32_t group) {
    uint32_t leader = ask_is_hosted(asker, group) ? meta_local_leader(asker->local, group)
                                                  : atomic_load(&asker->leaders[group]);
    if (leader != 0)
        return leader;
    struct place_map *map = map_cache_get(asker->maps);
    const struct place_group *placed = &map->groups[group];
    if (placed->count > 0)
        leader = placed->nodes[atomic_fetch_add(&asker->turn, 1) % placed->count];
    place_map_unref(map);
    return leader;
}

static int ask_once(struct asker *asker, struct question *question, uint64_t deadline_ns,
                    struct buf *ret_reply, struct err *err) {
    struct meta *local = asker->local;
    bool submit = question->kind == QUESTION_COMMAND;
    uint32_t node = whom_to_ask(asker, question->group), leader = 0;
    question->node = node;
    if (node == 0)
        return err_set(err, ERR_NO_LEADER, "the map places the group nowhere");
    if (local != NULL && node == local->identity.node_id)
        return (submit ? meta_local_submit : meta_local_query)(
            local, question->group, question->bytes, deadline_ns, ret_reply, err);
    int r = ask_remote(asker, node, question, clock_sooner(clock_deadline_ms(TRY_MS), deadline_ns),
                       &leader, ret_reply, err);
    atomic_store(&asker->leaders[question->group], r == 0 ? node : leader != node ? leader : 0);
    return r;
}

/* ---- until the deadline ---- */

/* No longer than until another leader is known. */
static void rest(const struct asker *asker, const struct question *question, uint64_t until_ns) {
    while (clock_now_ns() < until_ns && !is_deposed(asker, question->group, question->node))
        clock_sleep_until(clock_sooner(clock_deadline_ms(PAUSE_MS_MIN), until_ns));
}

int ask(struct asker *asker, struct question *question, uint64_t deadline_ns, struct buf *ret_reply,
        struct err *err) {
    if (question->group >= GROUPS_MAX)
        return err_set(err, ERR_INVALID, "there is no group %u", question->group);
    for (uint64_t pause_ms = PAUSE_MS_MIN;;
         pause_ms = pause_ms < PAUSE_MS_MAX ? 2 * pause_ms : pause_ms) {
        struct err story = {0}; /* the caller's only if no try goes well */
        question->tries++;
        int r = ask_once(asker, question, deadline_ns, ret_reply, &story);
        if (r == 0)
            return 0;
        bool stopping = asker->local != NULL && mailbox_is_closed(&asker->local->mailbox);
        uint64_t next_ns = clock_deadline_ms(pause_ms);
        if (!err_is_transient(r) || stopping || next_ns >= deadline_ns)
            return err_set(err, r, "%s", err_message(&story, r));
        rest(asker, question, next_ns);
        buf_clear(ret_reply);
    }
}
