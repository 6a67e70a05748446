/* Clients: each has one command under way, sends it again (the same one) until it is answered, and
 * now and then gives up on it: then it may still happen, at any later time. A client knows a slot
 * from answers, or is on a machine with a replica that has applied one. */
#include "sim/sim.h"

static void send(struct sim *sim, uint32_t index) {
    struct sim_client *client = &sim->clients[index];
    uint64_t delay_ns = sim_net_client_delay(sim);
    client->attempt++;
    client->sent++;
    if (delay_ns > 0) {
        struct sim_event *event = sim_event_new(sim, SIM_REQUEST, delay_ns);
        event->node = client->target;
        event->command = client->command;
        sim_post(sim, event);
    }
    struct sim_event *timeout =
        sim_event_new(sim, SIM_CLIENT, 200 * SIM_MS + rng_below(&sim->work, 300 * SIM_MS));
    timeout->number = client->attempt;
    timeout->peer = index;
    sim_post(sim, timeout);
}

static void retarget(struct sim *sim, struct sim_client *client) {
    const struct sim_replica *leader = sim_leader(sim, client->command.group);
    if (leader != NULL && rng_below(&sim->work, 100) < 70)
        client->target = leader->node->index;
    else
        client->target = (uint32_t)rng_below(&sim->work, sim->machine_count);
}

static uint64_t known_slot(const struct sim *sim, const struct sim_client *client) {
    uint32_t group = client->command.group;
    const struct sim_node *node = &sim->nodes[client->target];
    const struct sim_replica *replica = &node->replicas[group];
    uint64_t known = client->known[group];
    bool hosted = node->up && replica->drive != NULL && client->attempt % 2 == 0;
    return hosted && replica->state.kv.slot > known ? replica->state.kv.slot : known;
}

static void invoke(struct sim *sim, uint32_t index) {
    struct sim_client *client = &sim->clients[index];
    struct rng *rng = &sim->work;
    bool read = rng_below(rng, 100) < sim->options.read_percent;
    uint64_t number = client->command.number + 1;
    client->command = (struct kv_command){.number = number,
                                          .value = number << 8 | index,
                                          .expected = client->seen,
                                          .client = index,
                                          .group = (uint32_t)rng_below(rng, sim->options.groups),
                                          .key = (uint32_t)rng_below(rng, KV_KEYS),
                                          .kind = read ? KV_READ : 1 + (uint32_t)rng_below(rng, 2)};
    client->busy = true;
    client->position = 0;
    client->sent = 0;
    sim_check_invoked(sim, client);
    retarget(sim, client);
    client->command.since = known_slot(sim, client);
    sim_trace(sim, "client %u: %llu kind %u group %u key %u", index, (unsigned long long)number,
              client->command.kind, client->command.group, client->command.key);
    send(sim, index);
}

static void pause(struct sim *sim, uint32_t index) {
    struct sim_client *client = &sim->clients[index];
    struct sim_event *event =
        sim_event_new(sim, SIM_CLIENT, sim_about(&sim->work, sim->options.think_us * SIM_US));
    client->busy = false;
    event->number = ++client->attempt;
    event->peer = index;
    sim_post(sim, event);
}

void sim_clients_start(struct sim *sim) {
    for (uint32_t i = 0; i < sim->options.clients; i++)
        pause(sim, i);
}

void sim_client_wake(struct sim *sim, uint32_t index, uint64_t attempt) {
    struct sim_client *client = &sim->clients[index];
    if (attempt != client->attempt)
        return;
    if (!client->busy && !sim->healed) {
        invoke(sim, index);
    } else if (client->busy && !sim->healed && rng_below(&sim->work, 8) == 0) {
        sim_trace(sim, "client %u gives up", index);
        pause(sim, index);
    } else if (client->busy) {
        retarget(sim, client);
        send(sim, index);
    }
}

static void retry(struct sim *sim, uint32_t index) {
    struct sim_client *client = &sim->clients[index];
    retarget(sim, client);
    struct sim_event *again = sim_event_new(sim, SIM_CLIENT, sim_about(&sim->work, 10 * SIM_MS));
    again->number = ++client->attempt;
    again->peer = index;
    sim_post(sim, again);
}

/* As src/meta/client.c: only what was sent once was certainly not carried out. */
static void forgotten(struct sim *sim, uint32_t index) {
    struct sim_client *client = &sim->clients[index];
    sim_trace(sim, "client %u: it may be forgotten", index);
    sim_stats->forgotten++;
    if (client->sent > 1) {
        pause(sim, index);
        return;
    }
    client->command.since = client->known[client->command.group];
    retry(sim, index);
}

void sim_client_reply(struct sim *sim, const struct sim_event *event) {
    uint32_t index = event->command.client;
    struct sim_client *client = &sim->clients[index];
    uint64_t *known = &client->known[event->command.group];
    if (event->result.slot > *known)
        *known = event->result.slot;
    if (!client->busy || client->command.number != event->command.number)
        return;
    if (event->result.status == KV_RETRY) {
        retry(sim, index);
        return;
    }
    if (event->result.status == KV_FORGOTTEN) {
        forgotten(sim, index);
        return;
    }
    sim_check_answered(sim, client, event->result);
    bool wrote = client->command.kind != KV_READ && event->result.status == KV_OK;
    client->seen = wrote ? client->command.value : event->result.value;
    client->done++;
    pause(sim, index);
}

void sim_reply(struct sim *sim, const struct kv_command *command, struct kv_result result) {
    uint64_t delay_ns = sim_net_client_delay(sim);
    if (delay_ns == 0)
        return;
    struct sim_event *event = sim_event_new(sim, SIM_REPLY, delay_ns);
    event->command = *command;
    event->result = result;
    sim_post(sim, event);
}
