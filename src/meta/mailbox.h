/* What the consensus thread is told: by request threads, by the log, by the applier, by peers. Any
 * thread posts; one takes. */
#ifndef QUERN_META_MAILBOX_H
#define QUERN_META_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define MAIL_BYTES_MAX                                                                             \
    ((size_t)64 << 20) /* of messages waiting; further ones are dropped, as the network may do */

struct call;
struct paxos_message;

/* What came since it was last taken. */
struct mail {
    struct list calls;    /* struct call; a reference each */
    struct list messages; /* struct mail_message */
    uint64_t durable_lsn;
    uint64_t reset_nodes; /* bits by node id % 64: their connection broke */
    bool applied;         /* slots were: look at the groups */
    bool stopping;
};

struct mail_message {
    struct list node;
    struct paxos_message *message;
};

struct mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t posted;
    struct mail mail;
    size_t message_bytes;
    bool waiting; /* the taker is asleep, */
    bool heeding; /* and is to be woken by slots that were applied */
    bool closed;  /* calls are answered ERR_SHUTDOWN, messages dropped */
};

void mailbox_init(struct mailbox *mailbox);
void mailbox_fini(struct mailbox *mailbox); /* nothing may be in it */

void mailbox_post_call(struct mailbox *mailbox, struct call *call);
void mailbox_post_calls(struct mailbox *mailbox, struct list *calls); /* all; it is empty then */
void mailbox_post_message(struct mailbox *mailbox,
                          struct paxos_message *message); /* takes it over */
void mailbox_post_durable(struct mailbox *mailbox, uint64_t lsn);
void mailbox_post_applied(struct mailbox *mailbox);
void mailbox_post_reset(struct mailbox *mailbox, uint32_t node);
void mailbox_post_stop(struct mailbox *mailbox); /* and closes it */

bool mailbox_is_closed(struct mailbox *mailbox);

/* Waits for mail until the deadline, then takes all there is; ret_mail's lists are set up here.
 * Unless heed_applied, that slots were applied is told with other mail. */
void mailbox_take(struct mailbox *mailbox, uint64_t deadline_ns, bool heed_applied,
                  struct mail *ret_mail);

#endif
