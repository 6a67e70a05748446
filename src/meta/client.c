/* Commands and queries, packed and unpacked, and the newest map. */
#include "meta/client.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "meta/ask.h"
#include "meta/channels.h"
#include "meta/map.h"
#include "os/clock.h"
#include "os/random.h"

#define POLL_MS 500 /* for the map, on a node without a replica of the root group */
#define MAP_BYTES_MAX ((size_t)8 << 20)

struct meta_client {
    struct asker asker;
    _Atomic uint64_t slots[GROUPS_MAX]; /* the newest that a reply has shown as applied */
    pthread_t poller;
    pthread_mutex_t mutex; /* of stopping */
    pthread_cond_t stopped;
    bool stopping;
};

static int open_reply(struct span bytes, struct arena *arena, Pb__Reply **ret_reply,
                      struct err *err) {
    Pb__Reply *reply;
    int r = pb_unpack(&pb__reply__descriptor, bytes, arena, &reply, err);
    if (r != 0)
        return r;
    *ret_reply = reply;
    if (reply->code == 0)
        return 0;
    return err_set(err, reply->code, "%s",
                   reply->message[0] != '\0' ? reply->message : err_text(reply->code));
}

/* ---- commands ---- */

static uint64_t known_slot(struct meta_client *client, uint32_t group) {
    uint64_t shown = atomic_load(&client->slots[group]);
    uint64_t applied =
        client->asker.local != NULL ? meta_local_applied(client->asker.local, group) : 0;
    return applied > shown ? applied : shown;
}

/* Concurrent replies may leave the older of two slots: that one is true as well. */
static void learn_slot(struct meta_client *client, uint32_t group, uint64_t slot) {
    if (slot > atomic_load(&client->slots[group]))
        atomic_store(&client->slots[group], slot);
}

/* A command that may have been proposed must not look as if it had been refused. */
static int in_doubt(const struct question *question, int code, struct err *err) {
    bool was_not_sent = code == ERR_NOSPACE || code == ERR_LIMIT || code == ERR_INVALID;
    if (err_is_transient(code) || (question->tries <= 1 && was_not_sent))
        return code;
    struct err story = {0};
    err_set(&story, code, "%s", err_message(err, code));
    return err_set(err, ERR_TIMEOUT, "it may have been carried out: %s", story.text);
}

static int submit_since(struct meta_client *client, uint32_t group, Pb__Command *command,
                        uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply,
                        unsigned *ret_tries, struct err *err) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT, answer = BUF_INIT;
    Pb__Reply *reply = NULL;
    command->since_slot = known_slot(client, group);
    pb_pack(&bytes, &command->base);
    if (bytes.failed)
        return err_set(err, ERR_NOMEM, "a command");
    struct question question = {QUESTION_COMMAND, group, buf_span(&bytes), 0, 0};
    int r = ask(&client->asker, &question, deadline_ns, &answer, err);
    *ret_tries = question.tries;
    if (r != 0)
        return in_doubt(&question, r, err);
    r = open_reply(buf_span(&answer), arena, &reply, err);
    if (reply == NULL)
        return err_set(err, ERR_TIMEOUT, "an answer of the catalogue that cannot be read");
    learn_slot(client, group, reply->slot);
    *ret_reply = reply;
    return r;
}

/* A single try that came from too far back was certainly not carried out; from where to begin is
 * known now. */
int meta_submit(struct meta_client *client, uint32_t group, const Pb__Command *command,
                uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    if (group >= GROUPS_MAX)
        return err_set(err, ERR_INVALID, "there is no group %u", group);
    struct id128 request_id = random_id128();
    Pb__Command complete = *command;
    complete.request_id = pb_id(&request_id);
    complete.now_ms = clock_wall_ms();
    unsigned tries = 0;
    struct err story = {0};
    int r = submit_since(client, group, &complete, deadline_ns, arena, ret_reply, &tries, &story);
    if (r == ERR_FORGOTTEN && tries == 1)
        r = submit_since(client, group, &complete, deadline_ns, arena, ret_reply, &tries, &story);
    return r == 0 ? 0 : err_set(err, r, "%s", err_message(&story, r));
}

/* ---- queries ---- */

static int ask_query(struct meta_client *client, struct question *question, uint64_t deadline_ns,
                     struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    _cleanup_(buf_finip) struct buf answer = BUF_INIT;
    int r = ask(&client->asker, question, deadline_ns, &answer, err);
    return r != 0 ? r : open_reply(buf_span(&answer), arena, ret_reply, err);
}

static enum question_kind kind_of(const Pb__Query *query) {
    switch (query->op_case) {
    case PB__QUERY__OP_GET_OBJECT:
    case PB__QUERY__OP_GET_BUCKET:
    case PB__QUERY__OP_GET_JOB:
        return QUESTION_RECORD;
    default:
        return QUESTION_LIST;
    }
}

int meta_query(struct meta_client *client, uint32_t group, const Pb__Query *query,
               uint64_t deadline_ns, struct arena *arena, Pb__Reply **ret_reply, struct err *err) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    pb_pack(&bytes, &query->base);
    if (bytes.failed)
        return err_set(err, ERR_NOMEM, "a query");
    struct question question = {kind_of(query), group, buf_span(&bytes), 0, 0};
    return ask_query(client, &question, deadline_ns, arena, ret_reply, err);
}

/* ---- the map ---- */

static void map_fetch(struct meta_client *client, uint64_t deadline_ns) {
    _cleanup_(buf_finip) struct buf query = BUF_INIT;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, MAP_BYTES_MAX);
    map_query_pack(&query);
    Pb__Reply *reply;
    struct question question = {QUESTION_LIST, META_ROOT, buf_span(&query), 0, 0};
    int r = ask_query(client, &question, deadline_ns, &arena, &reply, NULL);
    if (r == 0 && reply->map != NULL)
        map_cache_offer(client->asker.maps, reply->map,
                        NULL); /* what cannot be understood is not taken */
}

struct place_map *meta_map(struct meta_client *client) {
    return map_cache_get(client->asker.maps);
}

struct place_map *meta_map_refresh(struct meta_client *client, uint64_t epoch,
                                   uint64_t deadline_ns) {
    struct place_map *map = map_cache_get(client->asker.maps);
    if (map->epoch > epoch)
        return map;
    place_map_unref(map);
    map_fetch(client, deadline_ns);
    return map_cache_get(client->asker.maps);
}

bool meta_leads(struct meta_client *client, uint32_t group) {
    return client->asker.local != NULL && meta_local_leads(client->asker.local, group);
}

static void *poll_map(void *argument) {
    struct meta_client *client = argument;
    pthread_setname_np(pthread_self(), "map");
    pthread_mutex_lock(&client->mutex);
    while (!client->stopping) {
        pthread_mutex_unlock(&client->mutex);
        if (!ask_is_hosted(&client->asker, META_ROOT))
            map_fetch(client, clock_deadline_ms(POLL_MS));
        pthread_mutex_lock(&client->mutex);
        uint64_t next_ns = clock_deadline_ms(POLL_MS);
        while (!client->stopping && clock_cond_wait(&client->stopped, &client->mutex, next_ns))
            ;
    }
    pthread_mutex_unlock(&client->mutex);
    return NULL;
}

/* ---- lifetime ---- */

static void leader_changed(void *context, uint32_t group, uint32_t leader) {
    channels_set_leader(context, group, leader);
}

struct meta_client *meta_client_new(struct meta *local, struct rpc_client *rpc,
                                    struct map_cache *maps) {
    struct meta_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->asker.local = local;
    client->asker.rpc = rpc;
    client->asker.channels = channels_new(rpc);
    client->asker.maps = maps;
    if (local != NULL)
        meta_watch_leaders(local, leader_changed, client->asker.channels);
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
    if (client->asker.local != NULL)
        meta_watch_leaders(client->asker.local, NULL, NULL);
    channels_free(client->asker.channels);
    free(client);
    return NULL;
}
