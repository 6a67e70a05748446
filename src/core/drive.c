/* Carries out the steps of one group: append, send what may be sent, apply, answer. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "core/cover.h"
#include "core/drive_state.h"

int drive_new(const struct paxos_options *options, const struct drive_io *io,
              struct drive **ret_drive, struct err *err) {
    struct drive *drive = calloc(1, sizeof *drive);
    if (drive == NULL)
        panic("out of memory");
    drive->io = *io;
    int code = paxos_new(options, &drive->paxos, err);
    if (code == 0)
        *ret_drive = drive;
    else
        free(drive);
    return code;
}

struct drive *drive_free(struct drive *drive) {
    if (drive == NULL)
        return NULL;
    while (drive->outbox_head < drive->outbox_tail)
        paxos_message_free(drive->outbox[drive->outbox_head++ % DRIVE_OUTBOX].message);
    while (drive->held_head < drive->held_tail)
        paxos_value_unref(drive->held[drive->held_head++ % DRIVE_HELD].value);
    paxos_free(drive->paxos);
    free(drive);
    return NULL;
}

static void send_gated(struct drive *drive, struct paxos_send send) {
    if (send.gate <= drive->durable_seq || MUTANT(7))
        drive->io.send(drive->io.context, send.message);
    else if (COVERED(outbox_waits, drive->outbox_tail - drive->outbox_head < DRIVE_OUTBOX))
        drive->outbox[drive->outbox_tail++ % DRIVE_OUTBOX] = send;
    else
        paxos_message_free(send.message);
}

static void release_outbox(struct drive *drive) {
    while (drive->outbox_head < drive->outbox_tail) {
        struct paxos_send *send = &drive->outbox[drive->outbox_head % DRIVE_OUTBOX];
        if (send->gate > drive->durable_seq)
            return;
        drive->outbox_head++;
        drive->io.send(drive->io.context, send->message);
    }
}

/* A state store may reach the disk at any time. It must not get there before the log: after a crash
 * this replica would know that slots are chosen, and not their values, which others may still need
 * of it. */
static void apply_durable(struct drive *drive) {
    while (drive->held_head < drive->held_tail) {
        const struct paxos_chosen *chosen = &drive->held[drive->held_head % DRIVE_HELD];
        if (COVERED(apply_waits, chosen->write_seq > drive->durable_seq && !MUTANT(33)))
            return;
        drive->held_head++;
        drive->io.apply(drive->io.context, chosen);
    }
}

static void tell_changes(struct drive *drive) {
    const struct drive_io *io = &drive->io;
    const struct paxos_out *out = &drive->out;
    struct paxos_status status;
    if (out->fetch.node != 0)
        io->fetch_snapshot(io->context, &out->fetch);
    if (out->diverged_slot != 0)
        io->diverged(io->context, out->diverged_slot);
    if (out->config_changed)
        io->config_changed(io->context, paxos_config_of(drive->paxos));
    if (!out->leader_changed)
        return;
    paxos_status(drive->paxos, &status);
    io->leader_changed(io->context, &status);
}

/* Persist, send, apply, answer: in this order. */
static void carry_out(struct drive *drive) {
    const struct drive_io *io = &drive->io;
    struct paxos_out *out = &drive->out;
    for (uint32_t i = 0; i < out->record_count; i++)
        io->append(io->context, &out->records[i]);
    for (uint32_t i = 0; i < out->message_count; i++)
        send_gated(drive, out->messages[i]);
    for (uint32_t i = 0; i < out->chosen_count; i++) {
        ASSERT(drive->held_tail - drive->held_head < DRIVE_HELD);
        drive->held[drive->held_tail++ % DRIVE_HELD] = out->chosen[i];
    }
    apply_durable(drive);
    for (uint32_t i = 0; i < out->proposal_count; i++)
        io->proposal_done(io->context, &out->proposals[i]);
    for (uint32_t i = 0; i < out->read_count; i++)
        io->read_done(io->context, &out->reads[i]);
    for (uint32_t i = 0; i < out->serve_count; i++)
        io->learn_serve(io->context, &out->serves[i]);
    tell_changes(drive);
}

static int step(struct drive *drive, const struct paxos_event *event) {
    ASSERT(!drive->running);
    drive->running = true;
    int code = paxos_step(drive->paxos, event, &drive->out);
    carry_out(drive);
    drive->running = false;
    return code;
}

int drive_restore(struct drive *drive, const struct paxos_record *record) {
    return step(drive, &(struct paxos_event){.type = PAXOS_EVENT_RESTORE, .record = record});
}

void drive_restore_lost(struct drive *drive, bool promises) {
    step(drive, &(struct paxos_event){.type = PAXOS_EVENT_RESTORE_LOST, .promises = promises});
}

void drive_tick(struct drive *drive, uint64_t now_ns) {
    step(drive, &(struct paxos_event){.type = PAXOS_EVENT_TICK, .now_ns = now_ns});
}

int drive_message(struct drive *drive, uint64_t now_ns, struct paxos_message *message) {
    int code = step(drive, &(struct paxos_event){
                               .type = PAXOS_EVENT_MESSAGE, .now_ns = now_ns, .message = message});
    paxos_message_free(message);
    return code;
}

void drive_durable(struct drive *drive, uint64_t now_ns, uint64_t write_seq) {
    ASSERT(write_seq >= drive->durable_seq);
    drive->durable_seq = write_seq;
    release_outbox(drive);
    step(drive, &(struct paxos_event){
                    .type = PAXOS_EVENT_DURABLE, .now_ns = now_ns, .write_seq = write_seq});
}

void drive_propose(struct drive *drive, uint64_t now_ns, struct paxos_value *value, uint64_t cookie,
                   bool reserve) {
    step(drive, &(struct paxos_event){.type = PAXOS_EVENT_PROPOSE,
                                      .now_ns = now_ns,
                                      .value = value,
                                      .cookie = cookie,
                                      .reserve = reserve});
    paxos_value_unref(value);
}

void drive_reconfigure(struct drive *drive, uint64_t now_ns, const struct paxos_config *config,
                       uint64_t cookie) {
    step(drive, &(struct paxos_event){.type = PAXOS_EVENT_RECONFIGURE,
                                      .now_ns = now_ns,
                                      .config = config,
                                      .cookie = cookie});
}

void drive_transfer(struct drive *drive, uint64_t now_ns, uint32_t node) {
    step(drive,
         &(struct paxos_event){.type = PAXOS_EVENT_TRANSFER, .now_ns = now_ns, .node = node});
}

void drive_read(struct drive *drive, uint64_t now_ns, uint64_t cookie) {
    step(drive,
         &(struct paxos_event){.type = PAXOS_EVENT_READ, .now_ns = now_ns, .cookie = cookie});
}

void drive_applied(struct drive *drive, uint64_t now_ns, uint64_t slot,
                   const struct paxos_check *check) {
    struct paxos_event event = {.type = PAXOS_EVENT_APPLIED, .now_ns = now_ns, .slot = slot};
    if (check != NULL)
        event.check = *check;
    step(drive, &event);
}

void drive_snapshot(struct drive *drive, uint64_t now_ns, uint64_t slot,
                    const struct paxos_config *config, const struct paxos_check *check) {
    ASSERT(slot == 0 || drive->held_head == drive->held_tail);
    struct paxos_event event = {
        .type = PAXOS_EVENT_SNAPSHOT, .now_ns = now_ns, .slot = slot, .config = config};
    if (check != NULL)
        event.check = *check;
    step(drive, &event);
}

void drive_disk(struct drive *drive, uint64_t now_ns, enum paxos_space space, uint32_t sync_us) {
    step(drive,
         &(struct paxos_event){
             .type = PAXOS_EVENT_DISK, .now_ns = now_ns, .space = space, .sync_us = sync_us});
}

void drive_peer_reset(struct drive *drive, uint64_t now_ns, uint32_t node) {
    step(drive,
         &(struct paxos_event){.type = PAXOS_EVENT_PEER_RESET, .now_ns = now_ns, .node = node});
}

uint64_t drive_checkpoint(struct drive *drive) {
    struct paxos_record record;
    if (!paxos_checkpoint(drive->paxos, &record))
        return 0;
    drive->io.append(drive->io.context, &record);
    return record.write_seq;
}

struct paxos *drive_paxos(struct drive *drive) {
    return drive->paxos;
}
