/* Calls: made by any thread, answered by the consensus thread or the applier. */
#include "meta/call.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "os/clock.h"

struct call *call_new(enum call_kind kind, uint32_t group, struct span command) {
    struct call *call = malloc(sizeof *call + command.size);
    if (call == NULL)
        panic("out of memory for a call");
    *call = (struct call){.kind = kind, .group = group, .command_size = command.size};
    list_init(&call->node);
    atomic_init(&call->refs, 2);
    pthread_mutex_init(&call->mutex, NULL);
    clock_cond_init(&call->finished);
    if (command.size > 0)
        memcpy(call->command, command.data, command.size);
    return call;
}

struct call *call_unref(struct call *call) {
    if (call == NULL || atomic_fetch_sub(&call->refs, 1) > 1)
        return NULL;
    buf_fini(&call->reply);
    pthread_mutex_destroy(&call->mutex);
    pthread_cond_destroy(&call->finished);
    free(call);
    return NULL;
}

struct call *call_new_owned(enum call_kind kind, uint32_t group, struct span command,
                            void (*deliver)(struct call *call), void *owner, uint64_t id) {
    struct call *call = call_new(kind, group, command);
    atomic_store(&call->refs, 1);
    call->deliver = deliver;
    call->owner = owner;
    call->id = id;
    return call;
}

void call_finish(struct call *call, int code) {
    if (call->deliver != NULL) {
        call->code = code;
        call->deliver(call);
        return;
    }
    pthread_mutex_lock(&call->mutex);
    call->code = code;
    call->done = true;
    pthread_mutex_unlock(&call->mutex);
    pthread_cond_signal(&call->finished); /* not before: whoever wakes takes the mutex */
    call_unref(call);
}

int call_wait(struct call *call, uint64_t deadline_ns) {
    pthread_mutex_lock(&call->mutex);
    while (!call->done && clock_cond_wait(&call->finished, &call->mutex, deadline_ns))
        ;
    int code = call->done ? call->code : ERR_TIMEOUT;
    pthread_mutex_unlock(&call->mutex);
    return code;
}
