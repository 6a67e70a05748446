/* A node: one drive a group over the fake disk and network, and the state that is applied to. */
#include <stdlib.h>

#include "sim/sim.h"

#define BIG_MAX 40u

/* ---- what the drives ask for ---- */

static struct sim_group *group_of(const struct sim_context *context) {
    return &context->node->groups[context->group];
}

static struct sim_event *node_event(struct sim_node *node, enum sim_event_kind kind,
                                    uint64_t delay_ns) {
    struct sim_event *event = sim_event_new(node->sim, kind, delay_ns);
    event->node = node->index;
    event->life = node->life;
    return event;
}

static void on_append(void *context, const struct paxos_record *record) {
    sim_disk_append(((struct sim_context *)context)->node, record);
    paxos_value_unref(record->value);
}

static void on_send(void *context, struct paxos_message *message) {
    sim_net_send(((struct sim_context *)context)->node->sim, message);
}

static void on_apply(void *context, const struct paxos_chosen *chosen) {
    struct sim_node *node = ((struct sim_context *)context)->node;
    struct sim_group *group = group_of(context);
    ASSERT(group->queue_tail - group->queue_head < 1024);
    group->queue[group->queue_tail++ % 1024] = *chosen;
    if (node->apply_scheduled)
        return;
    node->apply_scheduled = true;
    sim_post(node->sim,
             node_event(node, SIM_APPLY,
                        sim_about(&node->sim->disk, node->sim->options.apply_us * SIM_US)));
}

static struct sim_batch *batch_of(struct sim_group *group, uint64_t cookie) {
    for (size_t i = 0; i < sizeof group->batches / sizeof *group->batches; i++)
        if (group->batches[i].cookie == cookie)
            return &group->batches[i];
    return NULL;
}

static void answer_batch(struct sim *sim, struct sim_batch *batch,
                         const struct kv_result *results) {
    for (uint32_t i = 0; i < batch->count; i++)
        sim_reply(sim, &batch->commands[i],
                  results != NULL ? results[i] : (struct kv_result){.status = KV_RETRY});
    batch->cookie = 0;
}

static void on_proposal(void *context, const struct paxos_result *result) {
    struct sim_node *node = ((struct sim_context *)context)->node;
    if (result->code != 0)
        answer_batch(node->sim, batch_of(group_of(context), result->cookie), NULL);
}

/* A read's cookie is its batch of one, too. */
static void on_read(void *context, const struct paxos_result *result) {
    struct sim_node *node = ((struct sim_context *)context)->node;
    struct sim_group *group = group_of(context);
    struct sim_batch *batch = batch_of(group, result->cookie);
    struct kv_result value = kv_read(&group->kv, batch->commands[0].key);
    answer_batch(node->sim, batch, result->code == 0 ? &value : NULL);
}

static void on_leader(void *context, const struct paxos_status *status) {
    struct sim_context *self = context;
    sim_trace(self->node->sim, "node %u group %u: leader %u%s, ballot %llu", self->node->index + 1,
              self->group, status->leader, status->leads ? " (I)" : "",
              (unsigned long long)status->ballot.round);
}

static void on_config(void *context, const struct paxos_config *config) {
    (void)context, (void)config;
}

static void on_fetch(void *context, const struct paxos_fetch *fetch) {
    (void)context, (void)fetch;
}

static void on_diverged(void *context, uint64_t slot) {
    struct sim_context *self = context;
    sim_fail(self->node->sim, "node %u diverged at slot %llu", self->node->index + 1,
             (unsigned long long)slot);
}

static void on_serve(void *context, const struct paxos_serve *serve) {
    struct sim_context *self = context;
    struct sim_group *group = group_of(context);
    struct paxos_message *learn = paxos_learn_new(drive_paxos(group->drive), serve);
    for (uint64_t s = serve->from_slot; s <= serve->to_slot && s < group->value_room; s++)
        if (group->values[s] == NULL || !paxos_learn_add(learn, s, group->values[s]))
            break;
    sim_net_send(self->node->sim, learn);
}

/* ---- applying ---- */

static void apply_one(struct sim_node *node, uint32_t index, const struct paxos_chosen *chosen) {
    struct sim_group *group = &node->groups[index];
    const struct kv_command *commands;
    uint32_t count = kv_unpack(chosen->value, &commands);
    struct kv_result results[SIM_BATCH_MAX];
    for (uint32_t i = 0; i < count; i++)
        results[i] = kv_apply(&group->kv, &commands[i]);
    group->kv.slot = chosen->slot;
    sim_check_applied(node, index, chosen);
    if (chosen->cookie != 0)
        answer_batch(node->sim, batch_of(group, chosen->cookie), results);
    paxos_value_unref(chosen->value);
}

void sim_node_apply(struct sim_node *node, uint32_t index) {
    struct sim_group *group = &node->groups[index];
    if (group->queue_head == group->queue_tail)
        return;
    while (group->queue_head < group->queue_tail)
        apply_one(node, index, &group->queue[group->queue_head++ % 1024]);
    drive_applied(group->drive, node->sim->now_ns, group->kv.slot, NULL);
}

/* ---- requests ---- */

static struct sim_batch *batch_new(struct sim_node *node, struct sim_group *group) {
    struct sim_batch *batch = batch_of(group, 0);
    if (batch == NULL)
        return NULL;
    batch->cookie = ++node->sim->cookie;
    batch->count = 0;
    return batch;
}

static void read(struct sim_node *node, const struct kv_command *command) {
    struct sim_group *group = &node->groups[command->group];
    struct paxos_status status;
    paxos_status(drive_paxos(group->drive), &status);
    if (status.read_free) {
        sim_reply(node->sim, command, kv_read(&group->kv, command->key));
        return;
    }
    struct sim_batch *batch = batch_new(node, group);
    if (batch == NULL)
        return; /* the client tries again */
    batch->commands[batch->count++] = *command;
    drive_read(group->drive, node->sim->now_ns, batch->cookie);
}

void sim_node_request(struct sim_node *node, const struct kv_command *command) {
    struct sim_group *group = &node->groups[command->group];
    if (command->kind == KV_READ) {
        read(node, command);
        return;
    }
    if (group->pending_count == SIM_PENDING_MAX)
        return;
    group->pending[group->pending_count++] = *command;
    if (node->propose_scheduled)
        return;
    node->propose_scheduled = true;
    sim_post(node->sim, node_event(node, SIM_PROPOSE, rng_below(&node->sim->work, 200 * SIM_US)));
}

/* Big values come in bursts, so that several are open at once; at most BIG_MAX, for memory's sake.
 */
static uint32_t padding(struct sim *sim) {
    struct rng burst;
    rng_init(&burst, sim->options.seed ^ sim->now_ns / (64 * SIM_MS));
    if (sim->big_count == BIG_MAX || !rng_chance(&burst, (uint32_t)sim->options.big_ppm))
        return 0;
    sim->big_count++;
    return (uint32_t)rng_below(&sim->work, PAXOS_VALUE_MAX - 4096);
}

/* All that waits goes into one slot; what does not fit the window goes when there is room, unless
 * we do not lead. */
static void propose(struct sim_node *node, uint32_t index) {
    struct sim *sim = node->sim;
    struct sim_group *group = &node->groups[index];
    struct paxos_status status;
    paxos_status(drive_paxos(group->drive), &status);
    while (group->pending_count > 0 &&
           (paxos_room(drive_paxos(group->drive)) > 0 || !status.leads)) {
        struct sim_batch *batch = batch_new(node, group);
        if (batch == NULL)
            return;
        batch->count = group->pending_count < SIM_BATCH_MAX ? group->pending_count : SIM_BATCH_MAX;
        memcpy(batch->commands, group->pending, batch->count * sizeof *group->pending);
        group->pending_count -= batch->count;
        memmove(group->pending, group->pending + batch->count,
                group->pending_count * sizeof *group->pending);
        struct paxos_value *value = kv_pack(batch->commands, batch->count, padding(sim));
        drive_propose(group->drive, sim->now_ns, value, batch->cookie, false);
    }
}

/* The state store reaches the disk; the log before it may go once the promise is kept elsewhere. */
static void flush(struct sim_node *node) {
    struct sim *sim = node->sim;
    for (uint32_t i = 0; i < sim->options.groups; i++) {
        struct sim_group *group = &node->groups[i];
        group->flushed = group->kv;
        group->trim_before = node->disk.count;
        group->trim_upto = group->flushed.slot;
        group->flush_seq = drive_checkpoint(group->drive);
        if (group->flush_seq == 0)
            group->trim_before = 0;
    }
    sim_post(sim,
             node_event(node, SIM_FLUSH, sim_about(&sim->disk, sim->options.flush_ms * SIM_MS)));
}

/* ---- life ---- */

void sim_node_rearm(struct sim_node *node) {
    uint64_t at_ns = UINT64_MAX;
    for (uint32_t i = 0; node->up && i < node->sim->options.groups; i++) {
        uint64_t next = paxos_next_tick(drive_paxos(node->groups[i].drive));
        at_ns = next < at_ns ? next : at_ns;
    }
    if (!node->up || at_ns >= node->tick_at_ns)
        return;
    uint64_t now = node->sim->now_ns;
    node->tick_at_ns = at_ns > now ? at_ns : now;
    sim_post(node->sim, node_event(node, SIM_TICK, node->tick_at_ns - now));
}

static void tick(struct sim_node *node) {
    struct sim *sim = node->sim;
    if (node->tick_at_ns > sim->now_ns)
        return;
    node->tick_at_ns = UINT64_MAX;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        if (paxos_next_tick(drive_paxos(node->groups[i].drive)) <= sim->now_ns)
            drive_tick(node->groups[i].drive, sim->now_ns);
}

static void start_group(struct sim_node *node, uint32_t index) {
    struct sim *sim = node->sim;
    struct sim_group *group = &node->groups[index];
    struct sim_context *context = &node->contexts[index];
    *context = (struct sim_context){node, index};
    group->kv = group->flushed;
    struct paxos_options options = {.group = index,
                                    .node = node->index + 1,
                                    .born = 1,
                                    .boot = node->boot,
                                    .applied = group->flushed.slot,
                                    .seed = rng_next(&sim->timers),
                                    .recent_bytes = sim->options.recent_kib << 10};
    options.config.count = (uint32_t)sim->options.nodes;
    for (uint32_t i = 0; i < options.config.count; i++)
        options.config.members[i] = (struct paxos_member){i + 1, 1, true};
    struct drive_io io = {context,   on_append, on_send,  on_apply, on_proposal, on_read,
                          on_leader, on_config, on_serve, on_fetch, on_diverged};
    if (drive_new(&options, &io, &group->drive, NULL) != 0)
        sim_fail(sim, "node %u does not start", node->index + 1);
    sim_disk_restore(node, index);
    sim_check_restored(node, index);
}

void sim_node_start(struct sim_node *node) {
    struct sim *sim = node->sim;
    ASSERT(!node->up);
    node->boot++;
    node->up = true;
    node->tick_at_ns = UINT64_MAX;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        start_group(node, i);
    for (uint32_t i = 0; i < sim->options.groups; i++)
        drive_tick(node->groups[i].drive, sim->now_ns);
    if (sim->options.flush_ms > 0)
        sim_post(sim, node_event(node, SIM_FLUSH,
                                 sim_about(&sim->disk, sim->options.flush_ms * SIM_MS)));
    sim_node_rearm(node);
}

static void group_fini(struct sim_group *group) {
    group->drive = drive_free(group->drive);
    while (group->queue_head < group->queue_tail)
        paxos_value_unref(group->queue[group->queue_head++ % 1024].value);
    for (uint64_t s = 0; s < group->value_room; s++)
        group->values[s] = paxos_value_unref(group->values[s]);
    memset(group->batches, 0, sizeof group->batches);
    group->pending_count = 0;
    group->trim_before = 0;
}

/* hinted: the peers see its connections break, soon. */
void sim_node_crash(struct sim_node *node, bool hinted) {
    struct sim *sim = node->sim;
    ASSERT(node->up);
    sim_trace(sim, "node %u crashes", node->index + 1);
    node->up = false;
    node->life++;
    node->apply_scheduled = node->propose_scheduled = false;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        group_fini(&node->groups[i]);
    sim_disk_crash(node);
    for (uint32_t i = 0; hinted && i < sim->options.nodes; i++) {
        struct sim_event *event =
            sim_event_new(sim, SIM_RESET, sim_about(&sim->net, sim->options.delay_us * SIM_US));
        event->node = i;
        event->peer = node->index;
        sim_post(sim, event);
    }
    uint64_t down_ms = rng_below(&sim->crash, 8) > 0 ? 1500 : 15000;
    struct sim_event *event =
        sim_event_new(sim, SIM_RESTART, rng_below(&sim->crash, down_ms * SIM_MS));
    event->node = node->index;
    sim_post(sim, event);
}

void sim_node_fini(struct sim_node *node) {
    for (uint32_t i = 0; i < node->sim->options.groups; i++) {
        group_fini(&node->groups[i]);
        free(node->groups[i].values);
    }
    sim_disk_fini(node);
}

void sim_node_event(struct sim_node *node, struct sim_event *event) {
    if (!node->up || event->life != node->life)
        return;
    switch (event->kind) {
    case SIM_TICK:
        tick(node);
        break;
    case SIM_DELIVER:
        sim_net_deliver(node->sim, event);
        break;
    case SIM_SYNCED:
        sim_disk_synced(node);
        break;
    case SIM_APPLY:
        node->apply_scheduled = false;
        for (uint32_t i = 0; i < node->sim->options.groups; i++)
            sim_node_apply(node, i);
        break;
    case SIM_PROPOSE:
        node->propose_scheduled = false;
        break;
    default:
        ASSERT(event->kind == SIM_FLUSH);
        flush(node);
    }
    for (uint32_t i = 0; node->up && !node->propose_scheduled && i < node->sim->options.groups; i++)
        propose(node, i);
    sim_node_rearm(node);
}

uint32_t sim_leader(const struct sim *sim, uint32_t group) {
    uint32_t best = (uint32_t)sim->options.nodes;
    struct ballot highest = {0};
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        struct paxos_status status = {0};
        if (sim->nodes[i].up)
            paxos_status(drive_paxos(sim->nodes[i].groups[group].drive), &status);
        if (status.leads && ballot_compare(status.ballot, highest) > 0) {
            highest = status.ballot;
            best = i;
        }
    }
    return best;
}
