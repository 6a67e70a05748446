/* Who crashes, is cut off or is thought to have crashed, and when; and the end of all that. */
#include "sim/sim.h"

static void post_later(struct sim *sim, enum sim_event_kind kind, uint64_t mean_ms) {
    if (mean_ms > 0)
        sim_post(sim, sim_event_new(sim, kind, sim_about(&sim->crash, mean_ms * SIM_MS)));
}

void sim_faults_start(struct sim *sim) {
    post_later(sim, SIM_CRASH, sim->options.crash_ms);
    post_later(sim, SIM_PARTITION, sim->options.partition_ms);
    post_later(sim, SIM_HEAL, sim->options.partition_ms);
    post_later(sim, SIM_RESET, sim->options.reset_ms);
}

static uint32_t pick_victim(struct sim *sim) {
    uint32_t count = (uint32_t)sim->options.nodes;
    uint32_t leader = sim_leader(sim, (uint32_t)rng_below(&sim->crash, sim->options.groups));
    if (leader < count && rng_below(&sim->crash, 100) < sim->options.leader_percent)
        return leader;
    return (uint32_t)rng_below(&sim->crash, count);
}

static void crash(struct sim *sim) {
    struct sim_node *node = &sim->nodes[pick_victim(sim)];
    if (node->up)
        sim_node_crash(node, rng_below(&sim->crash, 4) > 0);
    if (rng_below(&sim->crash, 8) == 0) /* the lights go out */
        for (uint32_t i = 0; i < sim->options.nodes; i++)
            if (sim->nodes[i].up)
                sim_node_crash(&sim->nodes[i], false);
    post_later(sim, SIM_CRASH, sim->options.crash_ms);
}

/* Three kinds: one node cut off, one link in one direction, the nodes in two halves. */
static void partition(struct sim *sim) {
    uint32_t count = (uint32_t)sim->options.nodes, victim = pick_victim(sim);
    uint64_t kind = rng_below(&sim->crash, 3), halves = rng_next(&sim->crash);
    uint32_t other = (uint32_t)rng_below(&sim->crash, count);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < count; j++)
            if ((kind == 0 && (i == victim) != (j == victim)) ||
                (kind == 1 && i == victim && j == other) ||
                (kind == 2 && (halves >> i & 1) != (halves >> j & 1)))
                sim->cut[i][j] = true;
    sim_trace(sim, "cut of kind %llu around node %u", (unsigned long long)kind, victim + 1);
    post_later(sim, SIM_PARTITION, sim->options.partition_ms);
}

static void heal_links(struct sim *sim) {
    memset(sim->cut, 0, sizeof sim->cut);
    sim_trace(sim, "all links work");
}

static void reset(struct sim *sim, struct sim_event *event) {
    uint32_t count = (uint32_t)sim->options.nodes;
    bool spurious = event->node == event->peer;
    struct sim_node *node = &sim->nodes[spurious ? rng_below(&sim->crash, count) : event->node];
    uint32_t peer = spurious ? (uint32_t)rng_below(&sim->crash, count) : event->peer;
    for (uint32_t i = 0; node->up && peer != node->index && i < sim->options.groups; i++)
        drive_peer_reset(node->groups[i].drive, sim->now_ns, peer + 1);
    sim_node_rearm(node);
    if (spurious && !sim->healed)
        post_later(sim, SIM_RESET, sim->options.reset_ms);
}

void sim_fault(struct sim *sim, struct sim_event *event) {
    if (event->kind == SIM_RESTART && !sim->nodes[event->node].up)
        sim_node_start(&sim->nodes[event->node]);
    else if (event->kind == SIM_RESET)
        reset(sim, event);
    else if (sim->healed)
        return;
    else if (event->kind == SIM_CRASH)
        crash(sim);
    else if (event->kind == SIM_PARTITION)
        partition(sim);
    else if (event->kind == SIM_HEAL) {
        heal_links(sim);
        post_later(sim, SIM_HEAL, sim->options.partition_ms);
    }
}

void sim_heal(struct sim *sim) {
    sim->healed = true;
    heal_links(sim);
    for (uint32_t i = 0; i < sim->options.nodes; i++)
        if (!sim->nodes[i].up)
            sim_node_start(&sim->nodes[i]);
}
