/* The channels to all nodes: each is made when its node is first called, and lasts. */
#include "meta/channels.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "core/place.h"

struct channels {
    struct rpc_client *rpc;
    atomic_uint leaders[PLACE_GROUPS_MAX];
    pthread_mutex_t mutex; /* of the rest */
    uint32_t count;
    struct channel *list[CHANNELS_MAX];
};

/* NULL: there are too many. */
static struct channel *get(struct channels *channels, uint32_t node) {
    struct channel *channel = NULL;
    pthread_mutex_lock(&channels->mutex);
    for (uint32_t i = 0; i < channels->count && channel == NULL; i++)
        if (channel_node(channels->list[i]) == node)
            channel = channels->list[i];
    if (channel == NULL && channels->count < CHANNELS_MAX) {
        channel = channel_new(channels->rpc, node, channels->leaders);
        channels->list[channels->count++] = channel;
    }
    pthread_mutex_unlock(&channels->mutex);
    return channel;
}

int channels_call(struct channels *channels, uint32_t node, const struct channel_call *call,
                  uint64_t deadline_ns, uint32_t *ret_leader, struct buf *ret_reply,
                  struct err *err) {
    ASSERT(call->group < PLACE_GROUPS_MAX);
    struct channel *channel = get(channels, node);
    return channel != NULL ? channel_call(channel, call, deadline_ns, ret_leader, ret_reply, err)
                           : err_set(err, ERR_LIMIT, "more than %u nodes", CHANNELS_MAX);
}

void channels_set_leader(struct channels *channels, uint32_t group, uint32_t leader) {
    atomic_store(&channels->leaders[group], leader); /* first: nobody asks another one from here */
    pthread_mutex_lock(&channels->mutex);
    for (uint32_t i = 0; leader != 0 && i < channels->count; i++)
        if (channel_node(channels->list[i]) != leader)
            channel_depose(channels->list[i], group);
    pthread_mutex_unlock(&channels->mutex);
}

struct channels *channels_new(struct rpc_client *rpc) {
    struct channels *channels = calloc(1, sizeof *channels);
    if (channels == NULL)
        panic("out of memory for channels");
    channels->rpc = rpc;
    pthread_mutex_init(&channels->mutex, NULL);
    return channels;
}

struct channels *channels_free(struct channels *channels) {
    if (channels == NULL)
        return NULL;
    for (uint32_t i = 0; i < channels->count; i++)
        channel_free(channels->list[i]);
    pthread_mutex_destroy(&channels->mutex);
    free(channels);
    return NULL;
}
