/* Chosen slots that are no longer in memory are read back from the log for a peer that lags. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/engine.h"

#define ASKS_MAX 16u

struct ask {
    struct peer *peer;
    struct paxos_message *message;
    uint64_t from_slot;
    uint32_t count;
    uint64_t lsns[PAXOS_ENTRIES_MAX];
};

struct server_of_slots {
    struct wal *wal;
    struct wal_reader reader; /* the thread's */
    pthread_t thread;
    pthread_mutex_t mutex; /* of the rest */
    pthread_cond_t asked;
    struct ask asks[ASKS_MAX]; /* a ring */
    uint32_t first;
    uint32_t count;
    bool stopping;
};

/* The log has the slot no more: the state as of a later one can be had. */
static void offer_state(struct group *group, const struct paxos_serve *serve, struct peer *peer) {
    uint64_t applied = atomic_load(&group->applied);
    if (applied >= serve->from_slot)
        peer_send(peer, paxos_snapshot_new(drive_paxos(group->drive), serve, applied));
}

void slot_server_ask(struct group *group, const struct paxos_serve *serve) {
    struct meta *meta = group->meta;
    struct server_of_slots *server = meta->slot_server;
    struct peer *peer = serve->to != meta->identity.node_id ? peers_get(meta, serve->to) : NULL;
    if (peer == NULL)
        return;
    pthread_mutex_lock(&server->mutex);
    if (server->count < ASKS_MAX) {
        struct ask *ask = &server->asks[(server->first + server->count) % ASKS_MAX];
        *ask = (struct ask){.peer = peer, .from_slot = serve->from_slot};
        for (uint64_t slot = serve->from_slot;
             slot <= serve->to_slot && ask->count < PAXOS_ENTRIES_MAX; slot++) {
            uint64_t lsn = slots_get(&group->slots, slot);
            if (lsn == 0)
                break;
            ask->lsns[ask->count++] = lsn;
        }
        if (ask->count > 0) {
            ask->message = paxos_learn_new(drive_paxos(group->drive), serve);
            server->count++;
            pthread_cond_signal(&server->asked);
        }
    }
    pthread_mutex_unlock(&server->mutex);
    if (slots_get(&group->slots, serve->from_slot) == 0)
        offer_state(group, serve, peer);
}

/* Adds what can be had; false at the first slot that cannot, or when the message is full. */
static bool slot_add(struct server_of_slots *server, struct ask *ask, uint32_t i) {
    struct span bytes;
    struct err err = {0};
    struct paxos_record record;
    int r = wal_read(server->wal, &server->reader, ask->lsns[i], &bytes, &err);
    if (r == 0)
        r = paxos_record_decode(bytes, &record, &err);
    if (r != 0) {
        if (r != ERR_NOT_FOUND)
            log_error("slot %llu cannot be given to a peer: %s",
                      (unsigned long long)(ask->from_slot + i), err.text);
        return false;
    }
    bool added = record.slot == ask->from_slot + i && record.value != NULL &&
                 paxos_learn_add(ask->message, record.slot, record.value);
    paxos_value_unref(record.value);
    return added;
}

static void send_answer(struct ask *ask) {
    if (ask->message->entry_count == 0) {
        paxos_message_free(ask->message);
        return;
    }
    peer_send(ask->peer, ask->message);
    peer_flush(ask->peer);
}

static void *serve_slots(void *argument) {
    struct server_of_slots *server = argument;
    pthread_setname_np(pthread_self(), "slots");
    pthread_mutex_lock(&server->mutex);
    for (;;) {
        while (server->count == 0 && !server->stopping)
            pthread_cond_wait(&server->asked, &server->mutex);
        if (server->stopping)
            break;
        struct ask ask = server->asks[server->first];
        server->first = (server->first + 1) % ASKS_MAX;
        server->count--;
        pthread_mutex_unlock(&server->mutex);
        for (uint32_t i = 0; i < ask.count && slot_add(server, &ask, i); i++)
            ;
        send_answer(&ask);
        wal_reader_fini(&server->reader); /* rare: its memory is not kept */
        pthread_mutex_lock(&server->mutex);
    }
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

void slot_server_start(struct meta *meta) {
    struct server_of_slots *server = calloc(1, sizeof *server);
    if (server == NULL)
        panic("out of memory for the server of slots");
    server->wal = meta->wal;
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->asked, NULL);
    meta->slot_server = server;
    if (pthread_create(&server->thread, NULL, serve_slots, server) != 0)
        panic("cannot start the thread that serves slots");
}

void slot_server_stop(struct meta *meta) {
    struct server_of_slots *server = meta->slot_server;
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->mutex);
    server->stopping = true;
    pthread_cond_signal(&server->asked);
    pthread_mutex_unlock(&server->mutex);
    pthread_join(server->thread, NULL);
    for (; server->count > 0; server->count--, server->first = (server->first + 1) % ASKS_MAX)
        paxos_message_free(server->asks[server->first].message);
    wal_reader_fini(&server->reader);
    free(server);
    meta->slot_server = NULL;
}
