/* The one loop that carries out what core/paxos decides: persist, send what is durable, apply,
 * reply. The server runs it over the log, the state store and sockets; the simulator over a fake
 * disk and network: the simulated order is the shipped order.
 *
 * One thread a drive. The functions of drive_io are called from inside the drive_* calls and must
 * not call back into the same drive. Messages that must wait for the disk wait here, at most
 * DRIVE_OUTBOX of them; further ones are dropped, as the network may do. */
#ifndef QUERN_CORE_DRIVE_H
#define QUERN_CORE_DRIVE_H

#include "core/paxos.h"

#define DRIVE_OUTBOX 64u

/* What is handed over by value with a reference (record->value, message, value) is the callee's to
 * keep or drop. None may fail: an I/O error ends the process (PAXOS.md 2.3 i). */
struct drive_io {
    void *context;
    /* Queue for the log; then drive_durable(record->write_seq), later. Takes over one reference of
     * record->value. */
    void (*append)(void *context, const struct paxos_record *record);
    /* Send or drop. Takes over the message. */
    void (*send)(void *context, struct paxos_message *message);
    /* Apply now or queue, in this order; then drive_applied(slot), later. Takes over one reference
     * of chosen->value. The client of chosen->cookie is answered after the slot was applied. */
    void (*apply)(void *context, const struct paxos_chosen *chosen);
    void (*proposal_done)(void *context,
                          const struct paxos_result *result); /* see struct paxos_result */
    void (*read_done)(void *context, const struct paxos_result *result); /* the like */
    void (*leader_changed)(void *context, const struct paxos_status *status);
    void (*config_changed)(void *context, const struct paxos_config *config);
    void (*learn_serve)(void *context, const struct paxos_serve *serve);
    /* Then drive_snapshot, later; with nothing when it could not be had. */
    void (*fetch_snapshot)(void *context, const struct paxos_fetch *fetch);
    /* The state is another one than a majority's: it must never be used again. */
    void (*diverged)(void *context, uint64_t slot);
};

struct drive; /* a group's */

int drive_new(const struct paxos_options *options, const struct drive_io *io,
              struct drive **ret_drive, struct err *err);
struct drive *drive_free(struct drive *drive);

/* Before the first tick. Gives apply() calls as it goes; drive_applied may follow each. Errors:
 * ERR_CORRUPT. */
int drive_restore(struct drive *drive, const struct paxos_record *record);
/* Records of unknown number are missing here, promises too or not. */
void drive_restore_lost(struct drive *drive, bool promises);

void drive_tick(struct drive *drive, uint64_t now_ns);
/* Takes over the message, also on error. Errors as paxos_step: it was dropped. */
int drive_message(struct drive *drive, uint64_t now_ns, struct paxos_message *message);
void drive_durable(struct drive *drive, uint64_t now_ns, uint64_t write_seq);
/* Takes over the reference. reserve: also when space is low. */
void drive_propose(struct drive *drive, uint64_t now_ns, struct paxos_value *value, uint64_t cookie,
                   bool reserve);
void drive_reconfigure(struct drive *drive, uint64_t now_ns, const struct paxos_config *config,
                       uint64_t cookie);
void drive_transfer(struct drive *drive, uint64_t now_ns, uint32_t node);
void drive_read(struct drive *drive, uint64_t now_ns, uint64_t cookie);
/* check: the newest of the state's digest chain, or NULL when there is no new one. */
void drive_applied(struct drive *drive, uint64_t now_ns, uint64_t slot,
                   const struct paxos_check *check);
/* All that was handed over to apply must have been reported applied. slot 0: it was not to be had.
 */
void drive_snapshot(struct drive *drive, uint64_t now_ns, uint64_t slot,
                    const struct paxos_config *config, const struct paxos_check *check);
void drive_disk(struct drive *drive, uint64_t now_ns, enum paxos_space space, uint32_t sync_us);
void drive_peer_reset(struct drive *drive, uint64_t now_ns, uint32_t node);
/* Appends a record that keeps the promise (paxos_checkpoint); returns its write_seq, 0 when there
 * is none to keep. */
uint64_t drive_checkpoint(struct drive *drive);

struct paxos *drive_paxos(
    struct drive *drive); /* for paxos_status, paxos_room, paxos_next_tick, paxos_learn_new */

#endif
