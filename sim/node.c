/* A machine: its clock, how it starts and crashes, and its events. */
#include <stdlib.h>

#include "sim/sim.h"

#define TELL_DISK_MS 50

struct sim_event *sim_node_post(struct sim_node *node, enum sim_event_kind kind,
                                uint64_t delay_ns) {
    struct sim_event *event = sim_event_new(node->sim, kind, delay_ns);
    event->node = node->index;
    event->life = node->life;
    return event;
}

struct sim_node *sim_node_of(struct sim *sim, uint32_t id) {
    uint32_t index = (id - 1) % 16;
    return index < sim->machine_count && sim->nodes[index].id == id ? &sim->nodes[index] : NULL;
}

/* ---- the clock ---- */

uint64_t sim_node_clock(const struct sim_node *node) {
    uint64_t since_ns = node->sim->now_ns - node->clock_since_ns;
    int64_t extra_ns = (int64_t)(since_ns / 1000000) * node->clock_ppm;
    return node->clock_base_ns + since_ns + (uint64_t)extra_ns;
}

void sim_node_set_clock(struct sim_node *node, int64_t ppm, uint64_t jump_ns) {
    node->clock_base_ns = sim_node_clock(node) + jump_ns;
    node->clock_since_ns = node->sim->now_ns;
    node->clock_ppm = ppm;
    node->tick_at_ns = UINT64_MAX;
}

/* ---- ticks ---- */

void sim_node_rearm(struct sim_node *node) {
    uint64_t at_ns = UINT64_MAX, clock_ns = sim_node_clock(node), now_ns = node->sim->now_ns;
    for (uint32_t i = 0; node->up && i < node->sim->options.groups; i++) {
        if (node->replicas[i].drive == NULL)
            continue;
        uint64_t next = paxos_next_tick(drive_paxos(node->replicas[i].drive));
        at_ns = next < at_ns ? next : at_ns;
    }
    if (!node->up || at_ns == UINT64_MAX)
        return;
    uint64_t wait_ns = at_ns > clock_ns ? at_ns - clock_ns : 0; /* a rate is near 1 */
    wait_ns += wait_ns / 16;
    if (now_ns + wait_ns >= node->tick_at_ns)
        return;
    node->tick_at_ns = now_ns + wait_ns;
    sim_post(node->sim, sim_node_post(node, SIM_TICK, wait_ns));
}

static void tick(struct sim_node *node) {
    struct sim *sim = node->sim;
    if (node->tick_at_ns > sim->now_ns)
        return;
    node->tick_at_ns = UINT64_MAX;
    for (uint32_t i = 0; node->up && i < sim->options.groups; i++) {
        struct drive *drive = node->replicas[i].drive;
        if (drive != NULL && paxos_next_tick(drive_paxos(drive)) <= sim_node_clock(node))
            drive_tick(drive, sim_node_clock(node));
    }
}

static void tell_disk(struct sim_node *node) {
    struct sim *sim = node->sim;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        if (node->replicas[i].drive != NULL)
            drive_disk(node->replicas[i].drive, sim_node_clock(node), sim_disk_space(node),
                       node->disk.sync_us);
    sim_post(sim, sim_node_post(node, SIM_DISK_TOLD, TELL_DISK_MS * SIM_MS));
}

/* ---- life ---- */

void sim_node_init(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    node->sim = sim;
    node->index = index;
    node->id = index + 1;
    sim_disk_init(&node->disk);

    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++) {
        struct sim_replica *replica = &node->replicas[i];
        replica->node = node;
        replica->group = i;
        if (i >= sim->options.groups || index >= sim->options.nodes)
            continue;
        replica->born = node->births = 1;
        replica->flushed.config = *sim_config_for(sim, i, 1);
    }
}

void sim_node_start(struct sim_node *node) {
    struct sim *sim = node->sim;
    ASSERT(!node->up);
    node->boot++;
    node->up = true;
    node->tick_at_ns = UINT64_MAX;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        if (node->replicas[i].born > 0)
            sim_replica_start(&node->replicas[i]);
    if (sim->options.flush_ms > 0)
        sim_state_schedule(node, false);
    tell_disk(node);
    sim_node_rearm(node);
}

void sim_node_crash(struct sim_node *node, bool power, bool hinted, uint64_t down_ns) {
    struct sim *sim = node->sim;
    ASSERT(node->up);
    sim_trace(sim, "node %u %s", node->index + 1, power ? "crashes" : "is killed");
    node->up = false;
    node->life++;
    node->paused_until_ns = 0;
    node->apply_scheduled = node->propose_scheduled = false;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        sim_replica_stop(&node->replicas[i]);
    sim_disk_crash(node, power);
    for (uint32_t i = 0; hinted && i < sim->machine_count; i++) {
        struct sim_event *event =
            sim_event_new(sim, SIM_HINT, sim_about(&sim->net, sim->options.delay_us * SIM_US));
        event->node = i;
        event->peer = node->index;
        sim_post(sim, event);
    }
    struct sim_event *event = sim_event_new(sim, SIM_RESTART, down_ns);
    event->node = node->index;
    sim_post(sim, event);
}

void sim_node_fini(struct sim_node *node) {
    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++) {
        sim_replica_stop(&node->replicas[i]);
        free(node->replicas[i].values);
    }
    sim_disk_fini(node);
}

static void dispatch(struct sim_node *node, struct sim_event *event) {
    struct sim *sim = node->sim;
    switch (event->kind) {
    case SIM_TICK:
        tick(node);
        return;
    case SIM_DELIVER:
        sim_net_deliver(sim, event);
        return;
    case SIM_SYNCED:
        sim_disk_synced(node);
        return;
    case SIM_APPLY:
        node->apply_scheduled = false;
        for (uint32_t i = 0; i < sim->options.groups; i++)
            sim_replica_apply(&node->replicas[i]);
        sim_state_schedule(node, true);
        return;
    case SIM_PROPOSE:
        node->propose_scheduled = false;
        return;
    case SIM_FLUSH:
        if (event->number == 0)
            sim_state_schedule(node, false);
        sim_state_flush(node);
        return;
    case SIM_SNAPSHOT:
        if (node->replicas[event->group].fetch_from > 0)
            sim_state_fetched(&node->replicas[event->group]);
        return;
    case SIM_DISK_TOLD:
        tell_disk(node);
        return;
    default:
        ASSERT(event->kind == SIM_REQUEST);
        sim_replica_request(&node->replicas[event->command.group], &event->command);
    }
}

void sim_node_event(struct sim_node *node, struct sim_event *event) {
    bool client = event->kind == SIM_REQUEST; /* it knows no lives */
    bool late = MUTANT(25) && event->kind == SIM_SYNCED && node->disk.syncing > 0;
    if (!node->up || (!client && event->life != node->life && !late))
        return;
    dispatch(node, event);
    for (uint32_t i = 0; node->up && !node->propose_scheduled && i < node->sim->options.groups; i++)
        sim_replica_propose(&node->replicas[i]);
    sim_node_rearm(node);
}
