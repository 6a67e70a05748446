/* What is done to the world, and the end of all that. */
#include "sim/sim.h"

static struct sim_node *target(struct sim *sim, const struct sim_action *action) {
    if (action->node % 100 < sim->options.leader_percent) {
        struct sim_replica *leader = sim_leader(sim, action->a % (uint32_t)sim->options.groups);
        if (leader != NULL)
            return leader->node;
    }
    return &sim->nodes[action->node % sim->machine_count];
}

static struct sim_node *frail(struct sim *sim) {
    return sim->options.frail < sim->options.nodes ? &sim->nodes[sim->options.frail] : NULL;
}

static uint64_t down_ns(const struct sim_action *action) {
    uint64_t most_ms = action->a % 8 > 0 ? 1500 : 15000;
    return (uint64_t)action->b % most_ms * SIM_MS;
}

static void do_crash(struct sim *sim, const struct sim_action *action) {
    struct sim_node *node = target(sim, action);
    if (node->up)
        sim_node_crash(node, true, action->a % 4 > 0, down_ns(action));
}

static void do_kill(struct sim *sim, const struct sim_action *action) {
    struct sim_node *node = target(sim, action);
    if (node->up)
        sim_node_crash(node, false, true, down_ns(action) / 4);
}

static void do_blackout(struct sim *sim, const struct sim_action *action) {
    for (uint32_t i = 0; i < sim->machine_count; i++)
        if (sim->nodes[i].up)
            sim_node_crash(&sim->nodes[i], true, false, down_ns(action) / (1 + i % 3));
}

/* One machine cut off; one link in one direction; two halves; all around one that all reach
 * (bridge); a chain in which each reaches its neighbours only. */
static bool is_cut(const struct sim_action *action, uint32_t count, uint32_t victim, uint32_t i,
                   uint32_t j) {
    switch (action->b % 6) {
    case 0:
        return (i == victim) != (j == victim);
    case 1:
        return i == victim && j == action->a % count;
    case 2:
        return i == victim && j != victim;
    case 3:
        return (action->a >> i & 1) != (action->a >> j & 1);
    case 4:
        return i != victim && j != victim && (action->a >> i & 1) != (action->a >> j & 1);
    default:
        return i > j ? i - j > 1 : j - i > 1;
    }
}

static void do_cut(struct sim *sim, const struct sim_action *action) {
    uint32_t victim = target(sim, action)->index;
    for (uint32_t i = 0; i < sim->machine_count; i++)
        for (uint32_t j = 0; j < sim->machine_count; j++)
            if (i != j && is_cut(action, sim->machine_count, victim, i, j))
                sim->cut[i][j] = true;
    sim_trace(sim, "cut of kind %u around node %u", action->b % 6, victim + 1);
}

static void do_mend(struct sim *sim, const struct sim_action *action) {
    (void)action;
    memset(sim->cut, 0, sizeof sim->cut);
    sim_trace(sim, "all links work");
}

void sim_nemesis_hint(struct sim *sim, uint32_t index, uint32_t gone) {
    struct sim_node *node = &sim->nodes[index];
    if (!node->up || index == gone || node->paused_until_ns > sim->now_ns)
        return;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        if (node->replicas[i].drive != NULL)
            drive_peer_reset(node->replicas[i].drive, sim_node_clock(node), sim->nodes[gone].id);
    sim_node_rearm(node);
}

static void do_hint(struct sim *sim, const struct sim_action *action) {
    sim_nemesis_hint(sim, action->a % sim->machine_count, target(sim, action)->index);
}

static void do_pause(struct sim *sim, const struct sim_action *action) {
    struct sim_node *node = target(sim, action);
    node->paused_until_ns = sim->now_ns + (uint64_t)action->b % 3000 * SIM_MS;
    sim_trace(sim, "node %u is stopped for a while", node->index + 1);
}

/* Up to 5 % too fast or slow; or hours go by. */
static void do_clock(struct sim *sim, const struct sim_action *action) {
    struct sim_node *node = target(sim, action);
    int64_t ppm = (int64_t)(action->b % 100001) - 50000;
    uint64_t jump_ns = action->a % 4 == 0 ? (uint64_t)(action->b % 7200) * 1000 * SIM_MS : 0;
    sim_node_set_clock(node, ppm, jump_ns);
    if (node->up)
        sim_node_rearm(node);
}

static void do_slow(struct sim *sim, const struct sim_action *action) {
    struct sim_disk *disk = &target(sim, action)->disk;
    disk->slow_factor = 2 + action->a % 60;
    disk->slow_until_ns = sim->now_ns + (uint64_t)action->b % 6000 * SIM_MS;
}

static void do_full(struct sim *sim, const struct sim_action *action) {
    target(sim, action)->disk.full_until_ns = sim->now_ns + (uint64_t)action->b % 4000 * SIM_MS;
}

static void do_fail(struct sim *sim, const struct sim_action *action) {
    target(sim, action)->disk.failing = true;
}

/* Noticed at once; the process ends, for an error of the environment is never a command's result.
 */
static void do_rot_state(struct sim *sim, const struct sim_action *action) {
    struct sim_node *node = frail(sim);
    if (node == NULL)
        return;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        if (node->replicas[i].born > 0)
            node->replicas[i].state_lost = true;
    sim_trace(sim, "node %u: its state store is damaged", node->index + 1);
    if (node->up)
        sim_node_crash(node, action->a % 2 > 0, true, down_ns(action) / 8);
}

/* Noticed at the next start. */
static void do_rot_log(struct sim *sim, const struct sim_action *action) {
    struct sim_node *node = frail(sim);
    for (uint32_t i = 0; node != NULL && i <= action->b % 4; i++)
        sim_disk_rot(node, action->a >> 2 * i);
}

/* Three voters must be left to do without one. */
static bool may_wipe(struct sim *sim) {
    for (uint32_t i = 0; i < sim->options.groups; i++)
        if (__builtin_popcount(sim->wanted[i]) < 3)
            return false;
    return true;
}

static void do_wipe(struct sim *sim, const struct sim_action *action) {
    struct sim_node *node = frail(sim);
    if (node == NULL || !may_wipe(sim))
        return;
    if (node->up)
        sim_node_crash(node, true, true, down_ns(action) / 8);
    sim_disk_wipe(node);
    sim_trace(sim, "node %u has a new disk and is called %u", node->index + 1, node->id);
}

static uint32_t nth_bit(uint32_t bits, uint32_t n) {
    for (n %= (uint32_t)__builtin_popcount(bits); n > 0; n--)
        bits &= bits - 1;
    return bits & ~(bits - 1);
}

/* One replica elsewhere, one more or one less; never fewer than can lose the frail machine. */
static void do_members(struct sim *sim, const struct sim_action *action) {
    uint32_t group = action->a % (uint32_t)sim->options.groups;
    uint32_t *wanted = &sim->wanted[group], all = (1u << sim->machine_count) - 1;
    uint32_t least = frail(sim) != NULL ? 3 : 1, count = (uint32_t)__builtin_popcount(*wanted);
    bool more = action->b % 4 == 1 || action->b % 4 == 0;
    bool less = action->b % 4 == 2 || action->b % 4 == 0;
    if (action->b % 4 == 3 || (more && *wanted == all) || (less && !more && count <= least) ||
        (more && !less && count >= 5))
        return;
    if (more && *wanted != all)
        *wanted |= nth_bit(all & ~*wanted, action->node);
    if (less && (uint32_t)__builtin_popcount(*wanted) > least)
        *wanted &= ~nth_bit(*wanted, action->b >> 8);
    sim_trace(sim, "group %u is wanted on machines %x", group, *wanted);
}

/* Any change of one member, sensible or not; never fewer voters than can lose the frail machine. */
static void change_by_hand(struct sim *sim, struct paxos_config *config, uint32_t group,
                           const struct sim_action *action) {
    uint32_t least = frail(sim) != NULL ? 4 : 2, index = action->b % config->count;
    struct paxos_member *member = &config->members[index];
    const struct sim_node *node = &sim->nodes[action->node % sim->machine_count];
    uint32_t born = node->replicas[group].born;
    bool there = born == 0 || paxos_config_find(config, node->id, born) != NULL;
    if (action->a % 3 == 0 && !there && config->count < PAXOS_MEMBERS_MAX)
        config->members[config->count++] = (struct paxos_member){node->id, born, false};
    else if (!member->voter)
        member->voter = true;
    else if (paxos_config_voters(config) >= least)
        *member = config->members[--config->count];
}

/* The frail machine must not be needed: at most one of its replicas, past ones too, may vote. */
static bool is_endurable(struct sim *sim, const struct paxos_config *config) {
    uint32_t frail_voters = 0, voters = paxos_config_voters(config);
    for (uint32_t i = 0; i < config->count; i++) {
        const struct paxos_member *member = &config->members[i];
        frail_voters += member->voter && (member->node - 1) % 16 == sim->options.frail;
    }
    return frail(sim) == NULL || (frail_voters <= 1 && voters >= 3);
}

static void do_config(struct sim *sim, const struct sim_action *action) {
    uint32_t group = action->a % (uint32_t)sim->options.groups;
    struct sim_replica *leader = sim_leader(sim, group);
    if (leader == NULL || leader->node->paused_until_ns > sim->now_ns)
        return;
    struct paxos_config config = *paxos_config_of(drive_paxos(leader->drive));
    change_by_hand(sim, &config, group, action);
    if (!is_endurable(sim, &config))
        return;
    drive_reconfigure(leader->drive, sim_node_clock(leader->node), &config, ++sim->cookie);
    sim_node_rearm(leader->node);
}

static void do_transfer(struct sim *sim, const struct sim_action *action) {
    uint32_t group = action->a % (uint32_t)sim->options.groups;
    struct sim_replica *leader = sim_leader(sim, group);
    if (leader == NULL || leader->node->paused_until_ns > sim->now_ns)
        return;
    drive_transfer(leader->drive, sim_node_clock(leader->node),
                   sim->nodes[action->b % sim->machine_count].id);
    sim_node_rearm(leader->node);
}

static void do_version(struct sim *sim, const struct sim_action *action) {
    target(sim, action)->version = action->b % 3;
}

void sim_nemesis_act(struct sim *sim, const struct sim_action *action) {
    static void (*const acts[SIM_ACTION_KINDS])(struct sim *, const struct sim_action *) = {
#define X(name, low, high, percent) do_##name,
        SIM_ACTIONS(X)
#undef X
    };
    if (sim->healed)
        return;
    sim_stats->actions[action->kind]++;
    acts[action->kind](sim, action);
}

void sim_nemesis_start(struct sim *sim) {
    for (uint32_t i = 0; i < sim->plan->action_count; i++) {
        struct sim_event *event =
            sim_event_new(sim, SIM_ACTION, sim->plan->actions[i].at_us * SIM_US);
        event->number = i;
        sim_post(sim, event);
    }
}

void sim_heal(struct sim *sim) {
    sim->healed = true;
    memset(sim->cut, 0, sizeof sim->cut);
    sim_trace(sim, "all is healed");
    for (uint32_t i = 0; i < sim->machine_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        node->paused_until_ns = 0;
        node->disk.slow_until_ns = node->disk.full_until_ns = 0;
        node->disk.failing = false;
        if (!node->up)
            sim_node_start(node);
    }
}
