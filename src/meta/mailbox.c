/* A mailbox: lists for what must all be seen, single values for what only grows. */
#include "meta/mailbox.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/paxos.h"
#include "meta/call.h"
#include "os/clock.h"

static void mail_init(struct mail *mail) {
    *mail = (struct mail){0};
    list_init(&mail->calls);
    list_init(&mail->messages);
}

void mailbox_init(struct mailbox *mailbox) {
    *mailbox = (struct mailbox){0};
    pthread_mutex_init(&mailbox->mutex, NULL);
    clock_cond_init(&mailbox->posted);
    mail_init(&mailbox->mail);
}

void mailbox_fini(struct mailbox *mailbox) {
    ASSERT(list_is_empty(&mailbox->mail.calls) && list_is_empty(&mailbox->mail.messages));
    pthread_mutex_destroy(&mailbox->mutex);
    pthread_cond_destroy(&mailbox->posted);
}

static void post_begin(struct mailbox *mailbox) {
    pthread_mutex_lock(&mailbox->mutex);
}

static void post_end(struct mailbox *mailbox) {
    bool wake = mailbox->waiting;
    mailbox->waiting = false;
    pthread_mutex_unlock(&mailbox->mutex);
    if (wake)
        pthread_cond_signal(&mailbox->posted);
}

void mailbox_post_call(struct mailbox *mailbox, struct call *call) {
    post_begin(mailbox);
    bool closed = mailbox->closed;
    if (!closed)
        list_add_tail(&mailbox->mail.calls, &call->node);
    post_end(mailbox);
    if (closed)
        call_finish(call, ERR_SHUTDOWN);
}

void mailbox_post_message(struct mailbox *mailbox, struct paxos_message *message) {
    size_t size = paxos_message_size(message);
    struct mail_message *mail = malloc(sizeof *mail);
    post_begin(mailbox);
    bool room = mail != NULL && !mailbox->closed && mailbox->message_bytes + size <= MAIL_BYTES_MAX;
    if (room) {
        mail->message = message;
        mailbox->message_bytes += size;
        list_add_tail(&mailbox->mail.messages, &mail->node);
    }
    post_end(mailbox);
    if (!room) {
        free(mail);
        paxos_message_free(message);
    }
}

void mailbox_post_durable(struct mailbox *mailbox, uint64_t lsn) {
    post_begin(mailbox);
    mailbox->mail.durable_lsn = lsn;
    post_end(mailbox);
}

void mailbox_post_applied(struct mailbox *mailbox) {
    post_begin(mailbox);
    mailbox->mail.applied = true;
    post_end(mailbox);
}

void mailbox_post_reset(struct mailbox *mailbox, uint32_t node) {
    post_begin(mailbox);
    mailbox->mail.reset_nodes |= 1ull << node % 64;
    post_end(mailbox);
}

void mailbox_post_stop(struct mailbox *mailbox) {
    post_begin(mailbox);
    mailbox->mail.stopping = mailbox->closed = true;
    post_end(mailbox);
}

bool mailbox_is_closed(struct mailbox *mailbox) {
    pthread_mutex_lock(&mailbox->mutex);
    bool closed = mailbox->closed;
    pthread_mutex_unlock(&mailbox->mutex);
    return closed;
}

static bool mail_is_empty(const struct mail *mail) {
    return list_is_empty(&mail->calls) && list_is_empty(&mail->messages) &&
           mail->durable_lsn == 0 && mail->reset_nodes == 0 && !mail->applied && !mail->stopping;
}

static void list_move(struct list *from, struct list *to) {
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_init(from);
}

void mailbox_take(struct mailbox *mailbox, uint64_t deadline_ns, struct mail *ret_mail) {
    pthread_mutex_lock(&mailbox->mutex);
    bool in_time = true;
    while (in_time && mail_is_empty(&mailbox->mail)) {
        mailbox->waiting = true;
        in_time = clock_cond_wait(&mailbox->posted, &mailbox->mutex, deadline_ns);
    }
    mailbox->waiting = false;
    *ret_mail = mailbox->mail;
    list_move(&mailbox->mail.calls, &ret_mail->calls);
    list_move(&mailbox->mail.messages, &ret_mail->messages);
    mail_init(&mailbox->mail);
    mailbox->message_bytes = 0;
    pthread_mutex_unlock(&mailbox->mutex);
}
