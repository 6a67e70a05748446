/* The peers by node: each is made when it is first sent to or heard of, and lasts as long as the
 * meta role does (a node that was removed costs an idle thread until then). */
#include "base/assert.h"
#include "base/log.h"
#include "meta/engine.h"

void peers_init(struct peers *peers) {
    pthread_mutex_init(&peers->mutex, NULL);
}

void peers_stop(struct peers *peers) {
    for (uint32_t i = 0; i < peers->count; i++)
        peer_stop(peers->list[i]);
    peers->count = 0;
    pthread_mutex_destroy(&peers->mutex);
}

static struct peer *find(struct peers *peers, uint32_t node) {
    for (uint32_t i = 0; i < peers->count; i++)
        if (peer_node(peers->list[i]) == node)
            return peers->list[i];
    return NULL;
}

struct peer *peers_find(struct meta *meta, uint32_t node) {
    pthread_mutex_lock(&meta->peers.mutex);
    struct peer *peer = find(&meta->peers, node);
    pthread_mutex_unlock(&meta->peers.mutex);
    return peer;
}

struct peer *peers_get(struct meta *meta, uint32_t node) {
    ASSERT(node != meta->identity.node_id);
    struct peers *peers = &meta->peers;
    pthread_mutex_lock(&peers->mutex);
    struct peer *peer = find(peers, node);
    if (peer == NULL && peers->count < PEERS_MAX) {
        peer = peers->list[peers->count++] = peer_start(meta, node);
        if (peers->count == PEERS_MAX)
            log_warn("%u peers since the start: others are not answered", PEERS_MAX);
    }
    pthread_mutex_unlock(&peers->mutex);
    return peer;
}

void peers_flush(struct meta *meta) {
    pthread_mutex_lock(&meta->peers.mutex);
    for (uint32_t i = 0; i < meta->peers.count; i++)
        peer_flush(meta->peers.list[i]);
    pthread_mutex_unlock(&meta->peers.mutex);
}

void peers_send_flushed(struct meta *meta) {
    pthread_mutex_lock(&meta->peers.mutex);
    for (uint32_t i = 0; i < meta->peers.count; i++)
        peer_send_flushed(meta->peers.list[i]);
    pthread_mutex_unlock(&meta->peers.mutex);
}
