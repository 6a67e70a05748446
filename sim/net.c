/* The network: every message is delayed, and may be lost, doubled, overtaken or cut off. Bytes
 * travel, not structs. */
#include "sim/sim.h"

static uint64_t delay_ns(struct sim *sim) {
    const struct sim_options *options = &sim->options;
    uint64_t delay = sim_about(&sim->net, options->delay_us * SIM_US);
    if (!sim->healed && rng_chance(&sim->net, (uint32_t)options->spike_ppm))
        delay += rng_below(&sim->net, 300 * SIM_MS);
    return delay;
}

static bool is_lost(struct sim *sim) {
    return !sim->healed && rng_chance(&sim->net, (uint32_t)sim->options.loss_ppm);
}

static void post_copy(struct sim *sim, const struct paxos_message *message) {
    struct sim_event *event = sim_event_new(sim, SIM_DELIVER, delay_ns(sim));
    event->node = message->to - 1;
    event->peer = message->from - 1;
    event->life = sim->nodes[event->node].life; /* a connection does not outlive the process */
    event->group = message->group;
    paxos_message_encode(message, &event->bytes);
    ASSERT(event->bytes.size == paxos_message_size(message));
    sim_post(sim, event);
}

void sim_net_send(struct sim *sim, struct paxos_message *message) {
    sim_check_send(sim, message);
    if (!is_lost(sim) && !sim->cut[message->from - 1][message->to - 1]) {
        post_copy(sim, message);
        if (!sim->healed && rng_chance(&sim->net, (uint32_t)sim->options.dup_ppm))
            post_copy(sim, message);
    }
    paxos_message_free(message);
}

void sim_net_deliver(struct sim *sim, struct sim_event *event) {
    struct sim_node *node = &sim->nodes[event->node];
    if (!node->up || sim->cut[event->peer][event->node])
        return;
    struct paxos_message *message;
    if (paxos_message_decode(buf_span(&event->bytes), &message, NULL) != 0)
        sim_fail(sim, "a message does not decode");
    sim_trace(sim, "%u > %u group %u type %d slot %llu upto %llu chosen %llu ballot %llu.%u",
              message->from, message->to, message->group, message->type,
              (unsigned long long)message->slot, (unsigned long long)message->upto,
              (unsigned long long)message->chosen_upto, (unsigned long long)message->ballot.round,
              message->ballot.node);
    int code = drive_message(node->groups[event->group].drive, sim->now_ns, message);
    if (code != 0)
        sim_fail(sim, "node %u takes an honest message for a bad one: %s", node->index + 1,
                 err_name(code));
}

uint64_t sim_net_client_delay(struct sim *sim) {
    return is_lost(sim) ? 0 : delay_ns(sim);
}
