/* The consensus core alone: three replicas in one thread over a disk and a network in memory, which
 * lose nothing, and writers with one command each under way. The disk gets the bytes of the real
 * log, the network those of the real messages; there is no state machine. Prints commands per
 * second of processor time. Usage: bench_core_alone WRITERS BYTES DURATION */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "bench/quiet_io.h"
#include "cli/options.h"
#include "meta/batch.h"
#include "os/clock.h"
#include "wal/batch.h"

#define NODES 3u
#define QUEUE 4096u
#define TURN_NS (NS_PER_MS / 10) /* of the replicas' time: a message or a write takes a turn */
#define BATCH_BYTES (4u << 20)
#define COMMAND_BYTES_MAX 4096u

struct replica {
    struct drive *drive;
    struct buf frames; /* records that are not durable yet, each behind WAL_RECORD_HEAD */
    struct buf sizes;  /* of them: uint32_t */
    struct wal_batch batch;
    char *blocks;
    uint64_t batch_seq;
    uint64_t written_seq, durable_seq;
    uint64_t chosen_slot, applied_slot;
};

static struct {
    struct replica replicas[NODES];
    struct buf network[QUEUE]; /* [head, tail) are on their way */
    uint64_t head, tail;
    uint64_t now_ns;
    uint64_t waiting;  /* commands not proposed yet */
    uint64_t answered; /* commands */
} world;

/* ---- what the drives want done ---- */

static void on_append(void *context, const struct paxos_record *record) {
    struct replica *replica = context;
    static const char room[WAL_RECORD_HEAD];
    size_t begin = replica->frames.size + WAL_RECORD_HEAD;
    buf_append(&replica->frames, room, sizeof room);
    paxos_record_encode(record, &replica->frames);
    uint32_t size = (uint32_t)(replica->frames.size - begin);
    buf_append(&replica->sizes, &size, sizeof size);
    replica->written_seq = record->write_seq;
    paxos_value_unref(record->value);
}

static void on_send(void *context, struct paxos_message *message) {
    (void)context;
    ASSERT(world.tail - world.head < QUEUE);
    struct buf *bytes = &world.network[world.tail++ % QUEUE];
    buf_clear(bytes);
    paxos_message_encode(message, bytes);
    paxos_message_free(message);
}

/* A slot's cookie is the number of its commands; their writers have the next ones at once. */
static void on_apply(void *context, const struct paxos_chosen *chosen) {
    struct replica *replica = context;
    replica->chosen_slot = chosen->slot;
    world.answered += chosen->cookie;
    world.waiting += chosen->cookie;
    paxos_value_unref(chosen->value);
}

/* ---- a turn ---- */

static void write_batch(struct replica *replica) {
    char *frame = replica->frames.data;
    const char *sizes = replica->sizes.data;
    for (size_t at = 0; at < replica->sizes.size; at += sizeof(uint32_t)) {
        uint32_t size;
        memcpy(&size, sizes + at, sizeof size);
        if (!wal_batch_add(&replica->batch, frame, size))
            panic("more was written in a turn than a batch takes");
        frame += WAL_RECORD_HEAD + size;
    }
    ASSERT(wal_batch_blocks(&replica->batch) * WAL_BLOCK <= BATCH_BYTES);
    const struct wal_head head = {.generation = 1, .batch_seq = ++replica->batch_seq, .file = 1};
    wal_batch_encode(&replica->batch, &head, replica->blocks);
    buf_clear(&replica->frames);
    buf_clear(&replica->sizes);
}

static void live(struct replica *replica) {
    if (replica->written_seq > replica->durable_seq) {
        write_batch(replica);
        replica->durable_seq = replica->written_seq;
        drive_durable(replica->drive, world.now_ns, replica->durable_seq);
    }
    if (replica->chosen_slot > replica->applied_slot) {
        replica->applied_slot = replica->chosen_slot;
        drive_applied(replica->drive, world.now_ns, replica->applied_slot, NULL);
    }
    if (paxos_next_tick(drive_paxos(replica->drive)) <= world.now_ns)
        drive_tick(replica->drive, world.now_ns);
}

static void deliver(const struct buf *bytes) {
    struct paxos_message *message;
    struct err err = {0};
    if (paxos_message_decode(buf_span(bytes), &message, &err) != 0)
        panic("%s", err.text);
    drive_message(world.replicas[message->to - 1].drive, world.now_ns, message);
}

/* Of all commands that wait as many as a slot takes, as in meta/propose.c. */
static void propose(struct drive *leader, struct span command) {
    uint64_t fit = (PAXOS_VALUE_MAX - BATCH_HEAD) / (BATCH_COMMAND_HEAD + command.size);
    fit = fit < BATCH_COMMANDS_MAX ? fit : BATCH_COMMANDS_MAX;
    uint32_t count = (uint32_t)(world.waiting < fit ? world.waiting : fit);
    struct paxos_value *value =
        paxos_value_new(BATCH_HEAD + count * (BATCH_COMMAND_HEAD + command.size));
    batch_begin(value->data, count);
    char *to = value->data + BATCH_HEAD;
    for (uint32_t i = 0; i < count; i++)
        to = batch_add(to, command);
    paxos_value_seal(value);
    world.waiting -= count;
    drive_propose(leader, world.now_ns, value, count, false);
}

static void turn(struct span command) {
    world.now_ns += TURN_NS;
    for (uint32_t i = 0; i < NODES; i++) {
        struct drive *drive = world.replicas[i].drive;
        live(&world.replicas[i]);
        if (world.waiting > 0 && paxos_room(drive_paxos(drive)) > 0)
            propose(drive, command);
    }
    for (uint64_t end = world.tail; world.head < end; world.head++)
        deliver(&world.network[world.head % QUEUE]);
}

/* ---- start and end ---- */

static void start(uint32_t index) {
    struct replica *replica = &world.replicas[index];
    struct paxos_options options = {
        .node = index + 1, .born = 1, .boot = 1, .seed = index, .config.count = NODES};
    for (uint32_t i = 0; i < NODES; i++)
        options.config.members[i] = (struct paxos_member){i + 1, 1, true};
    struct drive_io io = quiet_io();
    io.context = replica;
    io.append = on_append;
    io.send = on_send;
    io.apply = on_apply;
    struct err err = {0};
    replica->blocks = malloc(BATCH_BYTES);
    if (replica->blocks == NULL || drive_new(&options, &io, &replica->drive, &err) != 0)
        panic("cannot start: %s", err.text);
}

static void stop(struct replica *replica) {
    drive_free(replica->drive);
    wal_batch_fini(&replica->batch);
    buf_fini(&replica->frames);
    buf_fini(&replica->sizes);
    free(replica->blocks);
}

static double run(uint64_t writers, struct span command, uint64_t duration_ns) {
    world.waiting = writers;
    while (world.answered == 0) /* till there is a leader */
        turn(command);
    uint64_t begun_ns = clock_cpu_ns(), answered = world.answered, now_ns;
    do
        turn(command);
    while ((now_ns = clock_cpu_ns()) - begun_ns < duration_ns);
    return (double)(world.answered - answered) * 1e9 / (double)(now_ns - begun_ns);
}

int main(int argc, char **argv) {
    static const char command[COMMAND_BYTES_MAX];
    uint64_t writers, bytes, duration_ms;
    if (argc != 4 || !options_parse_number(OPTION_NUMBER, argv[1], &writers) || writers < 1 ||
        !options_parse_number(OPTION_BYTES, argv[2], &bytes) || bytes > sizeof command ||
        !options_parse_number(OPTION_DURATION, argv[3], &duration_ms)) {
        fprintf(stderr, "usage: bench_core_alone WRITERS BYTES DURATION\n");
        return 2;
    }
    for (uint32_t i = 0; i < NODES; i++)
        start(i);
    double rate = run(writers, (struct span){command, bytes}, duration_ms * NS_PER_MS);
    for (uint32_t i = 0; i < NODES; i++)
        stop(&world.replicas[i]);
    for (uint32_t i = 0; i < QUEUE; i++)
        buf_fini(&world.network[i]);
    printf("%.1f\n", rate);
    return 0;
}
