/* One acceptor over the real log, alone: so many writers hand in commands, which gather while slots
 * are on their way to the disk and become the next slot together, as in meta/propose.c; each writer
 * goes on when its command is chosen and durable. A group of one voter: no peers, no state machine.
 * Prints commands per second. Usage: bench_acceptor_log DIR WRITERS BYTES DURATION */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "bench/quiet_io.h"
#include "cli/options.h"
#include "meta/batch.h"
#include "os/clock.h"
#include "wal/wal.h"

#define WRITERS_MAX 1024u
#define COMMAND_BYTES_MAX 4096u
#define IN_FLIGHT_MAX 4u   /* slots; beyond it commands gather */
#define TRIM_RECORDS 4096u /* of the log, before the older half goes */

struct acceptor {
    struct wal *wal;
    struct drive *drive; /* the main thread's, down to chosen */
    uint32_t in_flight;  /* slots */
    uint64_t told_lsn, trimmed_lsn;
    uint64_t chosen_slot, applied_slot;
    uint64_t chosen; /* commands */

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t moved; /* something gathered, or is durable */
    pthread_cond_t answer;
    size_t command_bytes;
    struct buf gathered; /* commands, each with its head */
    uint32_t gathered_count;
    uint64_t submitted, answered; /* commands */
    uint64_t durable_lsn;
    bool is_over;
};

static void *write_commands(void *argument) {
    struct acceptor *acceptor = argument;
    char bytes[BATCH_COMMAND_HEAD + COMMAND_BYTES_MAX];
    static const char command[COMMAND_BYTES_MAX];
    char *end = batch_add(bytes, (struct span){command, acceptor->command_bytes});
    pthread_mutex_lock(&acceptor->lock);
    while (!acceptor->is_over) {
        buf_append(&acceptor->gathered, bytes, (size_t)(end - bytes));
        acceptor->gathered_count++;
        uint64_t mine = ++acceptor->submitted;
        pthread_cond_signal(&acceptor->moved);
        while (acceptor->answered < mine && !acceptor->is_over)
            pthread_cond_wait(&acceptor->answer, &acceptor->lock);
    }
    pthread_mutex_unlock(&acceptor->lock);
    return NULL;
}

/* ---- what the drive wants done ---- */

/* The only replica of a new log: its records' numbers are the log's. */
static void on_append(void *context, const struct paxos_record *record) {
    struct acceptor *acceptor = context;
    uint8_t head[PAXOS_RECORD_HEAD];
    paxos_record_encode_head(record, head);
    struct iovec parts[2] = {{head, sizeof head}};
    if (record->value != NULL)
        parts[1] = (struct iovec){record->value->data, record->value->size};
    uint64_t lsn = wal_append(acceptor->wal, parts, record->value != NULL ? 2 : 1);
    ASSERT(lsn == record->write_seq);
    paxos_value_unref(record->value);
}

static void on_send(void *context, struct paxos_message *message) {
    (void)context;
    paxos_message_free(message);
}

/* A slot's cookie is the number of its commands. */
static void on_apply(void *context, const struct paxos_chosen *chosen) {
    struct acceptor *acceptor = context;
    acceptor->chosen_slot = chosen->slot;
    acceptor->chosen += chosen->cookie;
    acceptor->in_flight -= chosen->cookie > 0;
    paxos_value_unref(chosen->value);
}

/* ---- the acceptor's thread ---- */

static void on_durable(void *context, uint64_t lsn) {
    struct acceptor *acceptor = context;
    pthread_mutex_lock(&acceptor->lock);
    acceptor->durable_lsn = lsn;
    pthread_cond_signal(&acceptor->moved);
    pthread_mutex_unlock(&acceptor->lock);
}

static bool may_propose(const struct acceptor *acceptor) {
    return acceptor->gathered_count > 0 && acceptor->in_flight < IN_FLIGHT_MAX &&
           paxos_room(drive_paxos(acceptor->drive)) > 0;
}

static void propose(struct acceptor *acceptor, const struct buf *commands, uint32_t count) {
    struct paxos_value *value = paxos_value_new(BATCH_HEAD + commands->size);
    batch_begin(value->data, count);
    memcpy(value->data + BATCH_HEAD, commands->data, commands->size);
    paxos_value_seal(value);
    acceptor->in_flight++;
    drive_propose(acceptor->drive, clock_now_ns(), value, count, false);
}

/* What is chosen thereby counts as applied; the log need not hold it for long. */
static void tell_durable(struct acceptor *acceptor, uint64_t lsn) {
    acceptor->told_lsn = lsn;
    drive_durable(acceptor->drive, clock_now_ns(), lsn);
    if (acceptor->chosen_slot == acceptor->applied_slot)
        return;
    acceptor->applied_slot = acceptor->chosen_slot;
    drive_applied(acceptor->drive, clock_now_ns(), acceptor->applied_slot, NULL);
    if (lsn >= acceptor->trimmed_lsn + TRIM_RECORDS)
        wal_trim(acceptor->wal, acceptor->trimmed_lsn = lsn - TRIM_RECORDS / 2);
}

/* All that has gathered, if it may be proposed now; returns the number of commands. */
static uint32_t take_gathered(struct acceptor *acceptor, struct buf *ret_commands) {
    if (!may_propose(acceptor))
        return 0;
    struct buf swap = acceptor->gathered;
    acceptor->gathered = *ret_commands;
    *ret_commands = swap;
    uint32_t count = acceptor->gathered_count;
    acceptor->gathered_count = 0;
    return count;
}

/* Waits for something to do and does it; the lock is held before and after. */
static void step(struct acceptor *acceptor, struct buf *commands) {
    struct paxos *paxos = drive_paxos(acceptor->drive);
    while (!may_propose(acceptor) && acceptor->durable_lsn == acceptor->told_lsn &&
           clock_cond_wait(&acceptor->moved, &acceptor->lock, paxos_next_tick(paxos)))
        ;
    uint64_t durable_lsn = acceptor->durable_lsn;
    uint32_t count = take_gathered(acceptor, commands);
    pthread_mutex_unlock(&acceptor->lock);
    if (paxos_next_tick(paxos) <= clock_now_ns())
        drive_tick(acceptor->drive, clock_now_ns());
    if (durable_lsn > acceptor->told_lsn)
        tell_durable(acceptor, durable_lsn);
    if (count > 0)
        propose(acceptor, commands, count);
    buf_clear(commands);
    pthread_mutex_lock(&acceptor->lock);
}

/* Until the time is up; returns commands per second. */
static double answer_commands(struct acceptor *acceptor, uint64_t duration_ms) {
    struct buf commands = BUF_INIT;
    uint64_t begun_ns = clock_now_ns(), now_ns = begun_ns;
    pthread_mutex_lock(&acceptor->lock);
    while (!acceptor->is_over) {
        step(acceptor, &commands);
        now_ns = clock_now_ns();
        acceptor->is_over = now_ns - begun_ns >= duration_ms * NS_PER_MS;
        if (acceptor->is_over || acceptor->chosen > acceptor->answered)
            pthread_cond_broadcast(&acceptor->answer);
        acceptor->answered = acceptor->chosen;
    }
    pthread_mutex_unlock(&acceptor->lock);
    buf_fini(&commands);
    return (double)acceptor->answered * 1e9 / (double)(now_ns - begun_ns);
}

/* ---- start ---- */

static int on_replay(void *context, uint64_t lsn, const struct wal_item *item, struct err *err) {
    (void)context, (void)lsn, (void)item;
    return err_set(err, ERR_INVALID, "the folder holds a log already");
}

static void start(struct acceptor *acceptor, const char *dir) {
    const struct wal_options log = {
        .dir = dir, .replay = on_replay, .durable = on_durable, .context = acceptor};
    const struct paxos_options options = {
        .node = 1,
        .born = 1,
        .boot = 1,
        .seed = 1,
        .config = {.count = 1, .members = {{.node = 1, .born = 1, .voter = true}}}};
    struct drive_io io = quiet_io();
    io.context = acceptor;
    io.append = on_append;
    io.send = on_send;
    io.apply = on_apply;
    struct err err = {0};
    clock_cond_init(&acceptor->moved);
    if (wal_open(&log, &acceptor->wal, NULL, &err) != 0 ||
        drive_new(&options, &io, &acceptor->drive, &err) != 0)
        panic("%s", err.text);
    drive_tick(acceptor->drive, clock_now_ns());
}

int main(int argc, char **argv) {
    uint64_t writers, command_bytes, duration_ms;
    if (argc != 5 || !options_parse_number(OPTION_NUMBER, argv[2], &writers) || writers < 1 ||
        writers > WRITERS_MAX || !options_parse_number(OPTION_BYTES, argv[3], &command_bytes) ||
        command_bytes < 1 || command_bytes > COMMAND_BYTES_MAX ||
        writers * (BATCH_COMMAND_HEAD + command_bytes) > PAXOS_VALUE_MAX - BATCH_HEAD ||
        !options_parse_number(OPTION_DURATION, argv[4], &duration_ms)) {
        fprintf(stderr, "usage: bench_acceptor_log DIR WRITERS BYTES DURATION\n");
        return 2;
    }
    struct acceptor acceptor = {.command_bytes = command_bytes,
                                .lock = PTHREAD_MUTEX_INITIALIZER,
                                .answer = PTHREAD_COND_INITIALIZER};
    pthread_t threads[WRITERS_MAX];
    start(&acceptor, argv[1]);
    for (unsigned i = 0; i < writers; i++)
        if (pthread_create(&threads[i], NULL, write_commands, &acceptor) != 0)
            panic("cannot start a thread");
    double rate = answer_commands(&acceptor, duration_ms);
    for (unsigned i = 0; i < writers; i++)
        pthread_join(threads[i], NULL);
    wal_close(acceptor.wal);
    drive_free(acceptor.drive);
    buf_fini(&acceptor.gathered);
    printf("%.1f\n", rate);
    return 0;
}
