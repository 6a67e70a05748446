/* The network: every message is delayed, and may be lost, doubled, overtaken, damaged or cut off.
 * Bytes travel in frames with a checksum, not structs. */
#include "sim/sim.h"

#include "base/crc.h"

#define OLD_HEAD 120u /* bytes of the shortest head that is understood */
#define HEAD_BYTES_AT 12u
#define NEW_FIELDS 16u

static uint64_t delay_ns(struct sim *sim) {
    const struct sim_options *options = &sim->options;
    uint64_t delay = sim_about(&sim->net, options->delay_us * SIM_US);
    if (!sim->healed && rng_chance(&sim->net, (uint32_t)options->spike_ppm)) {
        delay += rng_below(&sim->net, 300 * SIM_MS);
        sim_stats->late++;
    }
    return delay;
}

static bool is_lost(struct sim *sim) {
    bool lost = !sim->healed && rng_chance(&sim->net, (uint32_t)sim->options.loss_ppm);
    sim_stats->lost += lost;
    return lost;
}

/* As another version would say it: without the last fields of the head, or with more of them. */
static void encode(const struct sim_node *node, const struct paxos_message *message,
                   struct buf *frame) {
    struct buf plain = BUF_INIT;
    paxos_message_encode(message, &plain);
    ASSERT(plain.size == paxos_message_size(message));
    uint16_t head = node->version == 0   ? PAXOS_MESSAGE_HEAD
                    : node->version == 1 ? OLD_HEAD
                                         : PAXOS_MESSAGE_HEAD + NEW_FIELDS;
    memcpy(plain.data + HEAD_BYTES_AT, &head, sizeof head);
    static const char fields[NEW_FIELDS] = "a newer version";
    size_t kept = head < PAXOS_MESSAGE_HEAD ? head : PAXOS_MESSAGE_HEAD;
    buf_append(frame, plain.data, kept);
    buf_append(frame, fields, head - kept);
    buf_append(frame, plain.data + PAXOS_MESSAGE_HEAD, plain.size - PAXOS_MESSAGE_HEAD);
    uint32_t crc = crc32c_update(0, frame->data, frame->size);
    buf_append(frame, &crc, sizeof crc);
    buf_fini(&plain);
}

static void damage(struct sim *sim, struct buf *frame) {
    if (sim->healed || !rng_chance(&sim->net, (uint32_t)sim->options.flip_ppm))
        return;
    frame->data[rng_below(&sim->net, frame->size)] ^= (char)(1u << rng_below(&sim->net, 8));
    sim_stats->flipped++;
}

static void post_copy(struct sim *sim, const struct sim_node *from, const struct sim_node *to,
                      const struct paxos_message *message) {
    struct sim_event *event = sim_event_new(sim, SIM_DELIVER, delay_ns(sim));
    event->node = to->index;
    event->peer = from->index;
    event->life = to->life; /* a connection does not outlive the process */
    event->group = message->group;
    encode(from, message, &event->bytes);
    damage(sim, &event->bytes);
    sim_post(sim, event);
}

void sim_net_send(struct sim *sim, struct paxos_message *message) {
    const struct sim_node *from = sim_node_of(sim, message->from),
                          *to = sim_node_of(sim, message->to);
    ASSERT(from != NULL);
    sim_check_send(sim, message);
    if (to != NULL && !is_lost(sim) && !sim->cut[from->index][to->index]) {
        post_copy(sim, from, to, message);
        if (!sim->healed && rng_chance(&sim->net, (uint32_t)sim->options.dup_ppm)) {
            post_copy(sim, from, to, message);
            sim_stats->doubled++;
        }
    }
    paxos_message_free(message);
}

/* NULL when the frame's checksum tells that it is damaged. */
static struct paxos_message *decode(struct sim *sim, const struct buf *frame) {
    uint32_t crc;
    size_t size = frame->size - sizeof crc;
    memcpy(&crc, frame->data + size, sizeof crc);
    struct paxos_message *message = NULL;
    if (crc == crc32c_update(0, frame->data, size) &&
        paxos_message_decode((struct span){frame->data, size}, &message, NULL) != 0)
        sim_fail(sim, "a message does not decode");
    return message;
}

void sim_net_deliver(struct sim *sim, struct sim_event *event) {
    struct sim_node *node = &sim->nodes[event->node];
    struct drive *drive = node->replicas[event->group].drive;
    if (drive == NULL || sim->cut[event->peer][event->node])
        return;
    struct paxos_message *message = decode(sim, &event->bytes);
    if (message == NULL)
        return;
    sim_trace(sim, "%u > %u group %u type %d slot %llu upto %llu chosen %llu ballot %llu.%u",
              message->from, message->to, message->group, message->type,
              (unsigned long long)message->slot, (unsigned long long)message->upto,
              (unsigned long long)message->chosen_upto, (unsigned long long)message->ballot.round,
              message->ballot.node);
    int code = drive_message(drive, sim_node_clock(node), message);
    if (code != 0 && code != ERR_STALE)
        sim_fail(sim, "node %u takes an honest message for a bad one: %s", node->index + 1,
                 err_name(code));
}

bool sim_net_reaches(const struct sim *sim, uint32_t from, uint32_t to) {
    return sim->nodes[to].up && sim->nodes[to].paused_until_ns <= sim->now_ns &&
           (from == to || (!sim->cut[from][to] && !sim->cut[to][from]));
}

uint64_t sim_net_client_delay(struct sim *sim) {
    return is_lost(sim) ? 0 : delay_ns(sim);
}
