/* Commands and queries find the leader of their group: this process's replica, or over rpc
 * another's. */
#include "meta/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "meta/engine.h"
#include "meta/request.h"
#include "os/clock.h"
#include "os/random.h"

#define TRY_MS 1000    /* at most, until another node is asked */
#define PAUSE_MS_MIN 2 /* between tries, doubled each time */
#define PAUSE_MS_MAX 50
#define POLL_MS 500 /* for the map, on a node without a replica of the root group */
#define MAP_BYTES_MAX ((size_t)8 << 20)

struct meta_client {
    struct meta *local; /* or NULL */
    struct rpc_client *rpc;
    struct map_cache *maps;
    atomic_uint leaders[GROUPS_MAX]; /* hints, of groups without a replica here */
    atomic_uint turn;                /* whom to ask when there is no hint */
    pthread_t poller;
    pthread_mutex_t mutex; /* of stopping */
    pthread_cond_t stopped;
    bool stopping;
};

/* ---- one try ---- */

struct question {
    uint16_t type; /* RPC_META_SUBMIT or RPC_META_QUERY */
    uint32_t group;
    struct span bytes;
};

static int ask_remote(struct meta_client *client, uint32_t node, const struct question *question,
                      uint64_t deadline_ns, uint32_t *ret_leader, struct buf *ret_reply,
                      struct err *err) {
    uint64_t now_ns = clock_now_ns();
    uint64_t wait_ms = deadline_ns > now_ns ? (deadline_ns - now_ns) / NS_PER_MS : 0;
    struct meta_request request = {question->group, (uint32_t)wait_ms};
    _cleanup_(buf_finip) struct buf body = BUF_INIT, answer_bytes = BUF_INIT;
    buf_append(&body, &request, sizeof request);
    buf_append(&body, question->bytes.data, question->bytes.size);
    if (body.failed)
        return err_set(err, ERR_NOMEM, "a request to the catalogue");
    int r = rpc_call(client->rpc, node, question->type, buf_span(&body), true, deadline_ns,
                     &answer_bytes, err);
    struct meta_answer answer;
    if (r != 0)
        return r;
    if (answer_bytes.size < sizeof answer)
        return err_set(err, ERR_PROTOCOL, "node %u: an answer that is cut off", node);
    memcpy(&answer, answer_bytes.data, sizeof answer);
    struct span rest = {answer_bytes.data + sizeof answer, answer_bytes.size - sizeof answer};
    *ret_leader = answer.leader;
    if (answer.code != 0)
        return err_set(err, answer.code < 0 ? answer.code : ERR_PROTOCOL, "node %u: %.*s", node,
                       SPAN_ARGS(rest));
    buf_append(ret_reply, rest.data, rest.size);
    return ret_reply->failed ? err_set(err, ERR_NOMEM, "an answer of the catalogue") : 0;
}

static bool hosts(const struct meta_client *client, uint32_t group) {
    return client->local != NULL && meta_hosts(client->local, group);
}

/* The leader as far as is known, else one of those that should have a voter, in turn. */
static uint32_t whom_to_ask(struct meta_client *client, uint32_t group) {
    uint32_t leader = hosts(client, group) ? meta_local_leader(client->local, group)
                                           : atomic_load(&client->leaders[group]);
    if (leader != 0)
        return leader;
    struct place_map *map = map_cache_get(client->maps);
    const struct place_group *placed = &map->groups[group];
    if (placed->count > 0)
        leader = placed->nodes[atomic_fetch_add(&client->turn, 1) % placed->count];
    place_map_unref(map);
    return leader;
}

static int ask_once(struct meta_client *client, const struct question *question,
                    uint64_t deadline_ns, struct buf *ret_reply, struct err *err) {
    struct meta *local = client->local;
    bool submit = question->type == RPC_META_SUBMIT;
    uint32_t node = whom_to_ask(client, question->group), leader = 0;
    if (node == 0)
        return err_set(err, ERR_NO_LEADER, "the map places the group nowhere");
    if (local != NULL && node == local->identity.node_id)
        return (submit ? meta_local_submit : meta_local_query)(
            local, question->group, question->bytes, deadline_ns, ret_reply, err);
    uint64_t try_ns = clock_deadline_ms(TRY_MS);
    int r = ask_remote(client, node, question, try_ns < deadline_ns ? try_ns : deadline_ns, &leader,
                       ret_reply, err);
    atomic_store(&client->leaders[question->group], r == 0 ? node : leader != node ? leader : 0);
    return r;
}

/* ---- until the deadline ---- */

/* The same question may be asked again: a command carries its request id and is applied once. */
static int ask(struct meta_client *client, const struct question *question, uint64_t deadline_ns,
               struct buf *ret_reply, struct err *err) {
    if (question->group >= GROUPS_MAX)
        return err_set(err, ERR_INVALID, "there is no group %u", question->group);
    for (uint64_t pause_ms = PAUSE_MS_MIN;;
         pause_ms = pause_ms < PAUSE_MS_MAX ? 2 * pause_ms : pause_ms) {
        int r = ask_once(client, question, deadline_ns, ret_reply, err);
        if (r == 0 || !err_is_transient(r))
            return r;
        if (client->local != NULL && mailbox_is_closed(&client->local->mailbox))
            return r;
        uint64_t next_ns = clock_deadline_ms(pause_ms);
        if (next_ns >= deadline_ns)
            return r;
        clock_sleep_until(next_ns);
        buf_clear(ret_reply);
    }
}

static int ask_unpacked(struct meta_client *client, const struct question *question,
                        uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply,
                        struct err *err) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    struct err story = {0}; /* of tries that failed before one went well: not the caller's */
    int r = ask(client, question, deadline_ns, &bytes, &story);
    Pb__Reply *reply;
    if (r == 0)
        r = pb_unpack(&pb__reply__descriptor, buf_span(&bytes), arena, &reply, &story);
    if (r != 0)
        return err_set(err, r, "%s", err_message(&story, r));
    *ret_reply = reply;
    if (reply->code == 0)
        return 0;
    return err_set(err, reply->code, "%s",
                   reply->message[0] != '\0' ? reply->message : err_text(reply->code));
}

int meta_submit(struct meta_client *client, uint32_t group, const Pb__Command *command,
                uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    struct id128 request_id = random_id128();
    Pb__Command complete = *command;
    if (complete.request_id.len == 0)
        complete.request_id = pb_id(&request_id);
    if (complete.now_ms == 0)
        complete.now_ms = clock_wall_ms();
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    pb_pack(&bytes, &complete.base);
    if (bytes.failed)
        return err_set(err, ERR_NOMEM, "a command");
    struct question question = {RPC_META_SUBMIT, group, buf_span(&bytes)};
    return ask_unpacked(client, &question, deadline_ns, arena, ret_reply, err);
}

int meta_query(struct meta_client *client, uint32_t group, const Pb__Query *query,
               uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    pb_pack(&bytes, &query->base);
    if (bytes.failed)
        return err_set(err, ERR_NOMEM, "a query");
    struct question question = {RPC_META_QUERY, group, buf_span(&bytes)};
    return ask_unpacked(client, &question, deadline_ns, arena, ret_reply, err);
}

/* ---- the map ---- */

static void map_fetch(struct meta_client *client, uint64_t deadline_ns) {
    _cleanup_(buf_finip) struct buf query = BUF_INIT;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, MAP_BYTES_MAX);
    map_query_pack(&query);
    struct question question = {RPC_META_QUERY, META_ROOT, buf_span(&query)};
    Pb__Reply *reply;
    int r = ask_unpacked(client, &question, deadline_ns, &arena, &reply, NULL);
    if (r == 0 && reply->map != NULL)
        map_cache_offer(client->maps, reply->map,
                        NULL); /* what cannot be understood is not taken */
}

struct place_map *meta_map(struct meta_client *client) {
    return map_cache_get(client->maps);
}

struct place_map *meta_map_refresh(struct meta_client *client, uint64_t epoch,
                                   uint64_t deadline_ns) {
    struct place_map *map = map_cache_get(client->maps);
    if (map->epoch > epoch)
        return map;
    place_map_unref(map);
    map_fetch(client, deadline_ns);
    return map_cache_get(client->maps);
}

bool meta_leads(struct meta_client *client, uint32_t group) {
    return client->local != NULL && meta_local_leads(client->local, group);
}

static void *poll_map(void *argument) {
    struct meta_client *client = argument;
    pthread_mutex_lock(&client->mutex);
    while (!client->stopping) {
        pthread_mutex_unlock(&client->mutex);
        if (!hosts(client, META_ROOT))
            map_fetch(client, clock_deadline_ms(POLL_MS));
        pthread_mutex_lock(&client->mutex);
        uint64_t next_ns = clock_deadline_ms(POLL_MS);
        while (!client->stopping && clock_cond_wait(&client->stopped, &client->mutex, next_ns))
            ;
    }
    pthread_mutex_unlock(&client->mutex);
    return NULL;
}

/* ---- status of another node ---- */

int meta_remote_status(struct rpc_client *rpc, uint32_t node, uint64_t deadline_ns,
                       struct meta_group_status *ret_groups, unsigned room, unsigned *ret_count,
                       struct err *err) {
    _cleanup_(buf_finip) struct buf rows = BUF_INIT;
    int r = rpc_call(rpc, node, RPC_META_STATUS, (struct span){0}, true, deadline_ns, &rows, err);
    if (r != 0)
        return r;
    if (rows.size % sizeof(struct meta_status_row) != 0)
        return err_set(err, ERR_PROTOCOL, "node %u: a status that is cut off", node);
    unsigned count = (unsigned)(rows.size / sizeof(struct meta_status_row));
    count = count < room ? count : room;
    for (unsigned i = 0; i < count; i++) {
        struct meta_status_row row;
        memcpy(&row, rows.data + i * sizeof row, sizeof row);
        ret_groups[i] = (struct meta_group_status){.group = row.group,
                                                   .leader = row.leader,
                                                   .leads = row.leads != 0,
                                                   .hosted = row.hosted != 0,
                                                   .votes = row.votes != 0,
                                                   .ballot_round = row.ballot_round,
                                                   .chosen_upto = row.chosen_upto,
                                                   .applied_upto = row.applied_upto};
        uint32_t voters = row.voter_count < META_VOTERS_MAX ? row.voter_count : META_VOTERS_MAX;
        ret_groups[i].voter_count = voters;
        memcpy(ret_groups[i].voters, row.voters, voters * sizeof *row.voters);
    }
    *ret_count = count;
    return 0;
}

/* ---- lifetime ---- */

struct meta_client *meta_client_new(struct meta *local, struct rpc_client *rpc,
                                    struct map_cache *maps) {
    struct meta_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->local = local;
    client->rpc = rpc;
    client->maps = maps;
    pthread_mutex_init(&client->mutex, NULL);
    clock_cond_init(&client->stopped);
    if (pthread_create(&client->poller, NULL, poll_map, client) != 0)
        panic("cannot start the thread that polls the map");
    return client;
}

struct meta_client *meta_client_free(struct meta_client *client) {
    if (client == NULL)
        return NULL;
    pthread_mutex_lock(&client->mutex);
    client->stopping = true;
    pthread_cond_signal(&client->stopped);
    pthread_mutex_unlock(&client->mutex);
    pthread_join(client->poller, NULL);
    free(client);
    return NULL;
}
