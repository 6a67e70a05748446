/* What must come to hold once all is healed. */
#include "sim/sim.h"

static const char *replica_unrest(const struct sim_replica *replica, uint64_t last,
                                  uint32_t *leaders) {
    struct paxos_status status;
    if (replica->drive == NULL)
        return "a replica waits for a state";
    paxos_status(drive_paxos(replica->drive), &status);
    *leaders += status.leads;
    if (status.applied != last)
        return "a replica has not applied all that is chosen";
    if (status.leads && status.last_slot != last)
        return "a leader has not finished"; /* a follower may hold a vote nobody needs */
    return NULL;
}

static const char *group_unrest(struct sim *sim, uint32_t group) {
    uint32_t leaders = 0;
    for (uint32_t i = 0; i < sim->machine_count; i++) {
        const struct sim_replica *replica = &sim->nodes[i].replicas[group];
        const char *unrest = NULL;
        if (replica->born > 0)
            unrest = replica_unrest(replica, sim_history(sim, group)->kv.slot, &leaders);
        if (unrest != NULL)
            return unrest;
    }
    if (leaders != 1)
        return "a group has not one leader";
    return sim_is_placed(sim, group) ? NULL : "replicas are not where they are wanted";
}

const char *sim_unrest(struct sim *sim) {
    for (uint32_t i = 0; i < sim->machine_count; i++)
        if (!sim->nodes[i].up)
            return "a node is down";
    for (uint32_t i = 0; i < sim->options.clients; i++)
        if (sim->clients[i].busy)
            return "a client waits";
    for (uint32_t i = 0; i < sim->options.groups; i++) {
        const char *unrest = group_unrest(sim, i);
        if (unrest != NULL)
            return unrest;
    }
    return NULL;
}

/* ---- who comes back disturbs nobody ---- */

static struct sim_node *follower(struct sim *sim, const struct sim_replica *leader) {
    const struct paxos_config *config = paxos_config_of(drive_paxos(leader->drive));
    for (uint32_t i = 0; i < config->count && paxos_config_voters(config) >= 3; i++)
        if (config->members[i].voter && config->members[i].node != leader->node->id)
            return sim_node_of(sim, config->members[i].node);
    return NULL;
}

bool sim_trial_begin(struct sim *sim, struct sim_trial *trial) {
    const struct sim_replica *leader = sim_leader(sim, 0);
    struct sim_node *victim = leader != NULL ? follower(sim, leader) : NULL;
    struct paxos_status status;
    if (victim == NULL)
        return false;
    paxos_status(drive_paxos(leader->drive), &status);
    *trial = (struct sim_trial){status.ballot, victim->id};
    for (uint32_t i = 0; i < sim->machine_count; i++)
        if (i != victim->index)
            sim->cut[i][victim->index] = sim->cut[victim->index][i] = true;
    sim_trace(sim, "node %u is cut off once more", victim->index + 1);
    return true;
}

void sim_trial_mend(struct sim *sim) {
    memset(sim->cut, 0, sizeof sim->cut);
}

void sim_trial_end(struct sim *sim, const struct sim_trial *trial) {
    const struct sim_replica *leader = sim_leader(sim, 0);
    struct paxos_status status = {0};
    if (leader != NULL)
        paxos_status(drive_paxos(leader->drive), &status);
    /* A leader may have handed over by itself meanwhile: its disk was slow. */
    if (ballot_compare(status.ballot, trial->ballot) != 0 && status.ballot.node == trial->victim)
        sim_fail(sim, "one that was cut off cost the others their leader");
}
