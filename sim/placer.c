/* Moves a group's replicas to where they are wanted, a step at a time, through its leader. */
#include "core/member.h"
#include "sim/sim.h"

#define LOOK_MS 30

static void view_nodes(struct sim *sim, const struct sim_replica *leader,
                       struct member_view *view) {
    for (uint32_t i = 0; i < sim->machine_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        view->nodes[view->node_count++] =
            (struct member_node){.node = node->id,
                                 .wanted = sim->wanted[leader->group] >> i & 1,
                                 .known = sim_net_reaches(sim, leader->node->index, i),
                                 .born = node->replicas[leader->group].born};
    }
    /* Members whose disk is gone: nobody can be asked, and everybody knows. */
    for (uint32_t i = 0; i < view->config->count; i++) {
        uint32_t id = view->config->members[i].node;
        if (sim_node_of(sim, id) == NULL && view->node_count < MEMBER_NODES_MAX)
            view->nodes[view->node_count++] = (struct member_node){.node = id, .known = true};
    }
}

static void view_of(struct sim *sim, const struct sim_replica *leader, struct member_view *view) {
    const struct paxos *paxos = drive_paxos(leader->drive);
    *view = (struct member_view){.config = paxos_config_of(paxos), .leader = leader->node->id};
    view->settled = paxos_is_settled(paxos);
    for (uint32_t i = 0; i < view->config->count; i++)
        view->lags[i] =
            paxos_lag_of(paxos, view->config->members[i].node, view->config->members[i].born);
    view_nodes(sim, leader, view);
}

static void carry_out(struct sim *sim, struct sim_replica *leader, const struct member_step *step) {
    uint64_t clock_ns = sim_node_clock(leader->node);
    struct sim_node *node = step->node != 0 ? sim_node_of(sim, step->node) : NULL;
    sim_trace(sim, "group %u: step %d, node %u, %u members", leader->group, step->action,
              step->node, step->config.count);
    switch (step->action) {
    case MEMBER_NOTHING:
        return;
    case MEMBER_MAKE:
        sim_replica_make(&node->replicas[leader->group]);
        sim_node_rearm(node);
        return;
    case MEMBER_CHANGE:
        drive_reconfigure(leader->drive, clock_ns, &step->config, ++sim->cookie);
        sim_stats->members++;
        return;
    case MEMBER_TRANSFER:
        drive_transfer(leader->drive, clock_ns, step->node);
        return;
    case MEMBER_DROP:
        if (node == NULL || leader->drop.cookie != 0)
            return;
        leader->drop.cookie = ++sim->cookie;
        leader->drop.node = step->node;
        leader->drop.born = step->born;
        drive_read(leader->drive, clock_ns, leader->drop.cookie);
    }
}

/* A leader that was deposed may know an old configuration; one that just had a quorum does not. */
void sim_place_confirmed(struct sim_replica *leader, bool leads) {
    struct sim *sim = leader->node->sim;
    struct sim_node *node = sim_node_of(sim, leader->drop.node);
    const struct paxos_config *config = paxos_config_of(drive_paxos(leader->drive));
    leader->drop.cookie = 0;
    if (!leads || node == NULL || !node->up ||
        paxos_config_find(config, leader->drop.node, leader->drop.born) != NULL)
        return;
    struct sim_replica *replica = &node->replicas[leader->group];
    if (replica->born == leader->drop.born)
        sim_replica_drop(replica);
}

void sim_place(struct sim *sim, uint32_t group) {
    struct sim_replica *leader = sim_leader(sim, group);
    if (leader != NULL && leader->node->paused_until_ns <= sim->now_ns) {
        struct member_view view;
        struct member_step step;
        view_of(sim, leader, &view);
        member_plan(&view, &step);
        carry_out(sim, leader, &step);
        sim_node_rearm(leader->node);
    }
    struct sim_event *event =
        sim_event_new(sim, SIM_PLACE, sim_about(&sim->places, LOOK_MS * SIM_MS));
    event->group = group;
    sim_post(sim, event);
}

bool sim_is_placed(struct sim *sim, uint32_t group) {
    struct sim_replica *leader = sim_leader(sim, group);
    if (leader == NULL)
        return false;
    struct member_view view;
    view_of(sim, leader, &view);
    for (uint32_t i = 0; i < sim->machine_count; i++)
        if ((sim->nodes[i].replicas[group].born > 0) != (sim->wanted[group] >> i & 1))
            return false;
    return member_is_done(&view);
}
