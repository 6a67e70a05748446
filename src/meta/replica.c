/* The replica thread: it owns the drives of all groups, tells them what happened and carries out
 * what they decide. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/call.h"
#include "meta/engine.h"
#include "os/clock.h"

#define PENDING_ROOM_MIN 1024u
#define BEHIND_MANY 64u /* chosen slots; the core goes on up to PAXOS_APPLY_LAG */

/* ---- what the drives want done ---- */

static void pending_push(struct meta *meta, struct pending pending) {
    if (meta->pending_end - meta->pending_first == meta->pending_room) {
        uint64_t room = meta->pending_room > 0 ? 2 * meta->pending_room : PENDING_ROOM_MIN;
        struct pending *grown = malloc(room * sizeof *grown);
        if (grown == NULL)
            panic("out of memory for records of the log");
        for (uint64_t i = meta->pending_first; i < meta->pending_end; i++)
            grown[i & (room - 1)] = meta->pending[i & (meta->pending_room - 1)];
        free(meta->pending);
        meta->pending = grown;
        meta->pending_room = room;
    }
    meta->pending[meta->pending_end++ & (meta->pending_room - 1)] = pending;
}

void replica_note_slot(struct group *group, uint64_t slot, uint64_t lsn) {
    if (slot == 0)
        return;
    slots_put(&group->slots, slot, lsn);
    group->last_slot = slot > group->last_slot ? slot : group->last_slot;
}

static void on_append(void *context, const struct paxos_record *record) {
    struct group *group = context;
    struct meta *meta = group->meta;
    uint8_t head[PAXOS_RECORD_HEAD];
    paxos_record_encode_head(record, head);
    struct iovec parts[2] = {{head, sizeof head}};
    if (record->value != NULL)
        parts[1] = (struct iovec){record->value->data, record->value->size};
    meta->last_lsn = wal_append(meta->wal, parts, record->value != NULL ? 2 : 1);
    replica_note_slot(group, record->slot, meta->last_lsn);
    pending_push(meta, (struct pending){meta->last_lsn, record->write_seq, group->number,
                                        group->drive_born});
    paxos_value_unref(record->value);
}

static void on_send(void *context, struct paxos_message *message) {
    struct meta *meta = ((struct group *)context)->meta;
    struct peer *peer = message->to != meta->identity.node_id ? peers_get(meta, message->to) : NULL;
    if (peer != NULL)
        peer_send(peer, message);
    else
        paxos_message_free(message); /* a replica that was here before, or one peer too many */
}

static void on_apply(void *context, const struct paxos_chosen *chosen) {
    struct group *group = context;
    if (chosen->cookie != 0)
        propose_forget(group, (struct proposal *)(uintptr_t)chosen->cookie);
    applier_queue(group, chosen);
}

static void on_proposal_done(void *context, const struct paxos_result *result) {
    propose_done(context, result);
}

static void on_read_done(void *context, const struct paxos_result *result) {
    (void)context;
    struct call *call = (struct call *)(uintptr_t)result->cookie;
    list_remove(&call->node);
    call_finish(call, result->code);
}

static void on_leader_changed(void *context, const struct paxos_status *status) {
    struct group *group = context;
    if (status->leads)
        log_debug("leads group %u", group->number);
}

static void on_learn_serve(void *context, const struct paxos_serve *serve) {
    slot_server_ask(context, serve);
}

static void on_config_changed(void *context, const struct paxos_config *config) {
    struct group *group = context;
    pthread_mutex_lock(&group->mutex);
    group->config = *config;
    pthread_mutex_unlock(&group->mutex);
}

static void on_fetch_snapshot(void *context, const struct paxos_fetch *fetch) {
    struct group *group = context;
    group->wants_state = true;
    fetcher_want(group, fetch);
}

static void on_diverged(void *context, uint64_t slot) {
    const struct group *group = context;
    panic("group %u: the state after slot %llu is another one than that of a majority",
          group->number, (unsigned long long)slot);
}

struct drive_io replica_io(struct group *group) {
    return (struct drive_io){.context = group,
                             .append = on_append,
                             .send = on_send,
                             .apply = on_apply,
                             .proposal_done = on_proposal_done,
                             .read_done = on_read_done,
                             .leader_changed = on_leader_changed,
                             .config_changed = on_config_changed,
                             .learn_serve = on_learn_serve,
                             .fetch_snapshot = on_fetch_snapshot,
                             .diverged = on_diverged};
}

/* ---- what the drives are told ---- */

void replica_publish_leader(struct group *group, uint32_t leader) {
    struct meta *meta = group->meta;
    if (atomic_exchange(&group->leader, leader) == leader)
        return;
    pthread_mutex_lock(&meta->watch_mutex);
    if (meta->leader_changed != NULL)
        meta->leader_changed(meta->leader_context, group->number, leader);
    pthread_mutex_unlock(&meta->watch_mutex);
}

/* What readers on other threads go by (core/paxos.h). */
static void publish(struct group *group) {
    struct paxos_status status;
    paxos_status(drive_paxos(group->drive), &status);
    replica_publish_leader(group, status.leads ? group->meta->identity.node_id : status.leader);
    atomic_store(&group->leads, status.leads);
    atomic_store(&group->votes, status.voter);
    atomic_store(&group->read_free, status.read_free);
    atomic_store(&group->full, status.full);
    atomic_store(&group->ballot_round, status.ballot.round);
    atomic_store(&group->chosen_upto, status.chosen_upto);
}

static void trims_finish(struct meta *meta) {
    while (!list_is_empty(&meta->trims)) {
        struct call *call = LIST_ENTRY(meta->trims.next, struct call, node);
        if (call->lsn > meta->durable_lsn)
            return;
        list_remove(&call->node);
        call_finish(call, 0);
    }
}

static void tell_durable(struct meta *meta, uint64_t lsn, uint64_t now_ns) {
    if (lsn <= meta->durable_lsn)
        return;
    meta->durable_lsn = lsn;
    while (meta->pending_first < meta->pending_end) {
        const struct pending *pending =
            &meta->pending[meta->pending_first & (meta->pending_room - 1)];
        if (pending->lsn > lsn)
            break;
        if (meta->groups[pending->group].drive_born == pending->born)
            meta->groups[pending->group].durable_seq = pending->write_seq;
        meta->pending_first++;
    }
    for (uint32_t g = 0; g < meta->group_count; g++) {
        struct group *group = &meta->groups[g];
        if (group->drive != NULL && group->durable_seq > 0)
            drive_durable(group->drive, now_ns, group->durable_seq);
        group->durable_seq = 0;
    }
    trims_finish(meta);
}

static void tell_message(struct meta *meta, struct paxos_message *message, uint64_t now_ns) {
    if (meta_hosts(meta, message->group))
        drive_message(meta->groups[message->group].drive, now_ns,
                      message); /* what is wrong was dropped */
    else
        paxos_message_free(message);
}

/* Two nodes may share a bit: a hint for the other one is refused by those who hear its leader. */
static void tell_resets(struct meta *meta, uint64_t nodes, uint64_t now_ns) {
    for (uint32_t g = 0; nodes != 0 && g < meta->group_count; g++) {
        struct group *group = &meta->groups[g];
        uint32_t leader = atomic_load(&group->leader);
        if (group->drive != NULL && leader != 0 && (nodes & 1ull << leader % 64) != 0)
            drive_peer_reset(group->drive, now_ns, leader);
    }
}

static struct paxos_check group_check(struct group *group) {
    pthread_mutex_lock(&group->mutex);
    struct paxos_check check = group->check;
    pthread_mutex_unlock(&group->mutex);
    return check;
}

void replica_tell_applied(struct group *group, uint64_t now_ns) {
    uint64_t applied = atomic_load(&group->applied);
    if (group->drive == NULL || applied == group->applied_told)
        return;
    struct paxos_check check = group_check(group);
    bool newer = check.slot > group->check_told && check.slot <= applied;
    group->applied_told = applied;
    group->check_told = newer ? check.slot : group->check_told;
    drive_applied(group->drive, now_ns, applied, newer ? &check : NULL);
}

/* Records that keep the promises, so that older ones can go; the call waits until they are durable.
 * Its command holds, by group, the slots that are dropped with them. */
static void trim_begin(struct meta *meta, struct call *call) {
    for (uint32_t g = 0; g < meta->group_count; g++) {
        uint64_t upto;
        memcpy(&upto, call->command + g * sizeof upto, sizeof upto);
        if (meta->groups[g].drive == NULL)
            continue;
        drive_checkpoint(meta->groups[g].drive);
        slots_drop(&meta->groups[g].slots, upto);
    }
    call->lsn = meta->last_lsn;
    list_add_tail(&meta->trims, &call->node);
}

static void tell_disk(struct meta *meta, const struct call *call, uint64_t now_ns) {
    struct disk_report report;
    ASSERT(call->command_size == sizeof report);
    memcpy(&report, call->command, sizeof report);
    for (uint32_t g = 0; g < meta->group_count; g++)
        if (meta->groups[g].drive != NULL)
            drive_disk(meta->groups[g].drive, now_ns, report.space, report.sync_us);
}

static void take_call(struct meta *meta, struct call *call, uint64_t now_ns) {
    struct group *group = &meta->groups[call->group];
    switch (call->kind) {
    case CALL_SUBMIT:
        propose_call(group, call, now_ns);
        return;
    case CALL_READ:
        if (group->drive == NULL) {
            call_finish(call, ERR_NOT_LEADER);
            return;
        }
        list_add_tail(&group->reads, &call->node);
        drive_read(group->drive, now_ns, (uintptr_t)call);
        return;
    case CALL_POINT:
        keeper_note_point(meta);
        call_finish(call, 0);
        return;
    case CALL_DISK:
        tell_disk(meta, call, now_ns);
        call_finish(call, 0);
        return;
    case CALL_TRIM:
        trim_begin(meta, call);
        return;
    default:
        host_take_call(group, call, now_ns);
    }
}

static void take_mail(struct meta *meta, struct mail *mail, uint64_t now_ns) {
    tell_durable(meta, mail->durable_lsn, now_ns);
    for (struct list *node; (node = list_pop_head(&mail->messages)) != NULL;) {
        struct mail_message *message = LIST_ENTRY(node, struct mail_message, node);
        tell_message(meta, message->message, now_ns);
        free(message);
    }
    for (uint32_t g = 0; mail->applied && g < meta->group_count; g++)
        replica_tell_applied(&meta->groups[g], now_ns);
    tell_resets(meta, mail->reset_nodes, now_ns);
    for (struct list *node; (node = list_pop_head(&mail->calls)) != NULL;)
        take_call(meta, LIST_ENTRY(node, struct call, node), now_ns);
}

/* Timers, what gathered, what others may see; returns when a timer is due next. */
static uint64_t tend_groups(struct meta *meta, uint64_t now_ns) {
    uint64_t next_ns = DEADLINE_NONE, round_ns = propose_round_ns(meta);
    for (uint32_t g = 0; g < meta->group_count; g++) {
        struct group *group = &meta->groups[g];
        if (group->drive == NULL)
            continue;
        if (paxos_next_tick(drive_paxos(group->drive)) <= now_ns)
            drive_tick(group->drive, now_ns);
        publish(group);
        if (!atomic_load(&group->leads))
            propose_fail_waiting(group, ERR_NOT_LEADER);
        if (round_ns <= now_ns)
            propose_waiting(group, now_ns);
        else if (group->waiting_count > 0)
            next_ns = clock_sooner(next_ns, round_ns);
        next_ns = clock_sooner(next_ns, paxos_next_tick(drive_paxos(group->drive)));
    }
    return next_ns;
}

/* What was applied matters at once to readers, to commands that are put off, and to a state that
 * shall be replaced. Else the next timer is soon enough, and a wake-up is saved. */
static bool waits_for_applied(struct meta *meta) {
    for (uint32_t g = 0; g < meta->group_count; g++) {
        const struct group *group = &meta->groups[g];
        uint64_t behind = atomic_load(&group->chosen_upto) - group->applied_told;
        if (group->drive != NULL && (!list_is_empty(&group->reads) || group->waiting_count > 0 ||
                                     group->wants_state || behind >= BEHIND_MANY))
            return true;
    }
    return false;
}

static void *replicate(void *argument) {
    struct meta *meta = argument;
    pthread_setname_np(pthread_self(), "replica");
    for (;;) {
        struct mail mail;
        uint64_t next_ns = tend_groups(meta, clock_now_ns());
        peers_flush(meta);
        mailbox_take(&meta->mailbox, next_ns, waits_for_applied(meta), &mail);
        take_mail(meta, &mail, clock_now_ns());
        if (mail.stopping)
            return NULL;
    }
}

void replica_start(struct meta *meta) {
    if (pthread_create(&meta->replica, NULL, replicate, meta) != 0)
        panic("cannot start the replica's thread");
}

static void calls_fail(struct list *calls) {
    for (struct list *node; (node = list_pop_head(calls)) != NULL;)
        call_finish(LIST_ENTRY(node, struct call, node), ERR_SHUTDOWN);
}

void replica_stop(struct meta *meta) {
    mailbox_post_stop(&meta->mailbox);
    pthread_join(meta->replica, NULL);
    for (uint32_t g = 0; g < meta->group_count; g++) {
        propose_fail_all(&meta->groups[g], ERR_SHUTDOWN);
        calls_fail(&meta->groups[g].reads);
    }
    calls_fail(&meta->trims);
}

void replica_fini(struct meta *meta) {
    for (uint32_t g = 0; g < meta->group_count; g++) {
        struct group *group = &meta->groups[g];
        host_fini(group);
        catalog_close(group->catalog);
        pthread_mutex_destroy(&group->mutex);
    }
    free(meta->pending);
}
