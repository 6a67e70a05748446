/* Natural batching: while slots are on their way, commands gather, and become the next slots
 * together: of all groups at once, so that one write to the log and one frame to each peer carry
 * them all. */
#include <stdlib.h>

#include "base/assert.h"
#include "meta/batch.h"
#include "meta/call.h"
#include "meta/engine.h"
#include "os/clock.h"

#define IN_FLIGHT_MAX 4u                          /* slots; beyond it commands gather */
#define ROUND_MS 2                                /* slots of a group may take long: not longer */
#define EAGER_BYTES ((size_t)PAXOS_VALUE_MAX / 4) /* gathered so much: do not wait */

static size_t call_size(const struct call *call) {
    return BATCH_COMMAND_HEAD + call->command_size;
}

void propose_call(struct group *group, struct call *call, uint64_t now_ns) {
    if (!atomic_load(&group->leads)) {
        call_finish(call, ERR_NOT_LEADER);
    } else if (group->waiting_count >= WAITING_MAX || group->waiting_bytes >= WAITING_BYTES_MAX) {
        call_finish(call, ERR_BUSY);
    } else {
        list_add_tail(&group->waiting, &call->node);
        group->waiting_count++;
        group->waiting_bytes += call_size(call);
        if (group->waiting_bytes >= EAGER_BYTES)
            propose_waiting(group, now_ns);
    }
}

static struct call *waiting_pop(struct group *group) {
    struct list *node = list_pop_head(&group->waiting);
    if (node == NULL)
        return NULL;
    struct call *call = LIST_ENTRY(node, struct call, node);
    group->waiting_count--;
    group->waiting_bytes -= call_size(call);
    return call;
}

void propose_fail_waiting(struct group *group, int code) {
    for (struct call *call; (call = waiting_pop(group)) != NULL;)
        call_finish(call, code);
}

void propose_forget(struct group *group, struct proposal *proposal) {
    ASSERT(group->in_flight > 0);
    group->in_flight--;
    list_remove(&proposal->node);
}

static void proposal_fail(struct group *group, struct proposal *proposal, int code) {
    propose_forget(group, proposal);
    for (uint32_t i = 0; i < proposal->count; i++)
        call_finish(proposal->calls[i], code);
    free(proposal);
}

void propose_fail_all(struct group *group, int code) {
    propose_fail_waiting(group, code);
    while (!list_is_empty(&group->proposals))
        proposal_fail(group, LIST_ENTRY(group->proposals.next, struct proposal, node), code);
}

/* The first commands that fit in one slot. */
static uint32_t waiting_fit(const struct group *group, size_t *ret_size) {
    uint32_t count = 0;
    size_t size = BATCH_HEAD;
    LIST_FOR_EACH(node, &group->waiting) {
        const struct call *call = LIST_ENTRY(node, struct call, node);
        if (count == BATCH_COMMANDS_MAX || size + call_size(call) > PAXOS_VALUE_MAX)
            break;
        size += call_size(call);
        count++;
    }
    *ret_size = size;
    return count;
}

static void propose_slot(struct group *group, uint64_t now_ns) {
    size_t size;
    uint32_t count = waiting_fit(group, &size);
    ASSERT(count > 0);
    struct proposal *proposal = malloc(sizeof *proposal + count * sizeof *proposal->calls);
    if (proposal == NULL)
        panic("out of memory for a proposal");
    struct paxos_value *value = paxos_value_new(size);
    batch_begin(value->data, count);
    char *to = value->data + BATCH_HEAD;
    for (proposal->count = 0; proposal->count < count; proposal->count++) {
        struct call *call = waiting_pop(group);
        to = batch_add(to, (struct span){call->command, call->command_size});
        proposal->calls[proposal->count] = call;
    }
    ASSERT(to == value->data + size);
    paxos_value_seal(value);
    list_add_tail(&group->proposals, &proposal->node);
    group->in_flight++;
    group->meta->round_ns = now_ns;
    drive_propose(group->drive, now_ns, value, (uintptr_t)proposal,
                  atomic_load(&group->full)); /* what came this far may go on: meta/local.c */
}

/* Nobody waits for it: whoever wants it looks again. */
void propose_config(struct group *group, const struct paxos_config *config, uint64_t now_ns) {
    struct proposal *proposal = calloc(1, sizeof *proposal);
    if (proposal == NULL)
        panic("out of memory for a proposal");
    list_add_tail(&group->proposals, &proposal->node);
    group->in_flight++;
    drive_reconfigure(group->drive, now_ns, config, (uintptr_t)proposal);
}

uint64_t propose_round_ns(const struct meta *meta) {
    for (uint32_t g = 0; g < meta->group_count; g++)
        if (meta->groups[g].in_flight > 0)
            return meta->round_ns + ROUND_MS * NS_PER_MS;
    return 0;
}

void propose_waiting(struct group *group, uint64_t now_ns) {
    while (!list_is_empty(&group->waiting) &&
           (group->in_flight < IN_FLIGHT_MAX || group->waiting_bytes >= EAGER_BYTES) &&
           paxos_room(drive_paxos(group->drive)) > 0)
        propose_slot(group, now_ns);
}

void propose_done(struct group *group, const struct paxos_result *result) {
    if (result->code == 0)
        return; /* proposed; the end will come */
    proposal_fail(group, (struct proposal *)(uintptr_t)result->cookie, result->code);
}
