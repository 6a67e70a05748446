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

void mailbox_post_calls(struct mailbox *mailbox, struct list *calls) {
    post_begin(mailbox);
    if (!mailbox->closed)
        list_append(&mailbox->mail.calls, calls);
    post_end(mailbox);
    for (struct list *node; (node = list_pop_head(calls)) != NULL;)
        call_finish(LIST_ENTRY(node, struct call, node), ERR_SHUTDOWN);
}

void mailbox_post_call(struct mailbox *mailbox, struct call *call) {
    struct list calls;
    list_init(&calls);
    list_add_tail(&calls, &call->node);
    mailbox_post_calls(mailbox, &calls);
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
    if (mailbox->heeding)
        post_end(mailbox);
    else
        pthread_mutex_unlock(&mailbox->mutex);
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

static bool mail_is_empty(const struct mail *mail, bool heed_applied) {
    return list_is_empty(&mail->calls) && list_is_empty(&mail->messages) &&
           mail->durable_lsn == 0 && mail->reset_nodes == 0 && !(heed_applied && mail->applied) &&
           !mail->stopping;
}

void mailbox_take(struct mailbox *mailbox, uint64_t deadline_ns, bool heed_applied,
                  struct mail *ret_mail) {
    pthread_mutex_lock(&mailbox->mutex);
    mailbox->heeding = heed_applied;
    bool in_time = true;
    while (in_time && mail_is_empty(&mailbox->mail, heed_applied)) {
        mailbox->waiting = true;
        in_time = clock_cond_wait(&mailbox->posted, &mailbox->mutex, deadline_ns);
    }
    mailbox->waiting = false;
    *ret_mail = mailbox->mail;
    list_init(&ret_mail->calls);
    list_init(&ret_mail->messages);
    list_append(&ret_mail->calls, &mailbox->mail.calls);
    list_append(&ret_mail->messages, &mailbox->mail.messages);
    mail_init(&mailbox->mail);
    mailbox->message_bytes = 0;
    pthread_mutex_unlock(&mailbox->mutex);
}
