/* The explorer: every order in which a few events can happen to three replicas, each order once.
 *
 * What one node does depends on its own state and the event alone. So every state of a node (a
 * "local") and every message is kept once, under a number; the shipped core (core/drive.c and what
 * is below it) carries out an event on a local once, and what came of it is remembered. A state of
 * the world is three locals, the set of messages ever sent and what may still happen; the search
 * over worlds, breadth first, only looks up. A message that was sent stays in the set: it may come
 * late, several times, before others, or never.
 *
 *   main.c     the command line
 *   search.c   worlds, what can happen in one, the way to a violation
 *   step.c     events of a node, carried out by the core
 *   local.c    the state of a node as bytes, and back
 *   message.c  messages and records by number
 *   check.c    what must hold
 *   intern.c   equal bytes get equal numbers
 *   value.c    the core's values, kept once, so that equal ones have equal addresses
 */
#ifndef QUERN_SIM_EXPLORE_EXPLORE_H
#define QUERN_SIM_EXPLORE_EXPLORE_H

#include "core/drive_state.h"

#define NODES 3u
#define RECORDS_MAX 24u /* of a log */
#define SLOTS_MAX 8u
#define OUTBOX_MAX 16u
#define SENT_MAX 64u            /* messages of one step */
#define MESSAGES_MAX (1u << 16) /* ever */
#define NONE UINT32_MAX

/* ---- intern.c ---- */
struct intern { /* zeroed to begin with */
    char *bytes;
    uint64_t bytes_used, bytes_room;
    uint64_t *offsets; /* of each number; one more, the end */
    uint32_t count, room;
    uint32_t *table; /* number + 1, by hash */
    uint64_t table_room;
};
uint32_t intern_put(struct intern *intern, struct span bytes, bool *ret_new); /* may be NULL */
struct span intern_get(const struct intern *intern, uint32_t number); /* until the next put */

/* ---- local.c ---- */
struct local { /* beside the core's own */
    uint32_t node;
    uint32_t boot;
    uint64_t now_ns;
    uint32_t record_count, durable_count;
    uint32_t records[RECORDS_MAX];                   /* of the log, by their numbers */
    uint64_t applied;                                /* handed over, in this life */
    const struct paxos_value *chosen[SLOTS_MAX + 1]; /* by slot: was ever handed over, or NULL */
};
extern struct local here;        /* the node that an event happens to, */
extern struct drive *here_drive; /* and its drive, always at the same place */
uint32_t local_save(void);
void local_load(uint32_t number);
uint32_t local_count(void);

/* ---- step.c ---- */
enum event_kind {
    EVENT_DELIVER, /* of a message */
    EVENT_SYNC,    /* all that was appended is durable */
    EVENT_PASS,    /* time: its leader was not heard of late */
    EVENT_TIMEOUT, /* it wants to lead */
    EVENT_PROPOSE, /* of a command */
    EVENT_CRASH    /* and start; what was not durable is lost */
};
struct event {
    enum event_kind kind;
    uint32_t number; /* of the message or command, else 0 */
};
struct outcome {
    uint32_t local;
    uint32_t sent_count;
    const char *wrong;       /* NULL, or what must not be */
    uint32_t sent[SENT_MAX]; /* numbers of messages */
};
uint32_t step_first(uint32_t node); /* the local of a node that was made just now */
/* The same local and event have the same outcome: it is remembered. Lives until the next call. */
const struct outcome *step(uint32_t local, struct event event);

/* ---- message.c ---- */
struct note { /* what the search needs to know of a message */
    enum paxos_message_type type;
    uint32_t target; /* index of the node */
    struct ballot ballot;
    uint64_t slot; /* ACCEPT: of its entry; the like: */
    const struct paxos_value *value;
};
uint32_t message_put(const struct paxos_message *message);
struct paxos_message *message_get(uint32_t number); /* the caller's */
const struct note *message_note(uint32_t number);   /* until the next put */
void message_print(uint32_t number);
uint32_t message_count(void);
uint32_t record_put(const struct paxos_record *record);
void record_get(uint32_t number, struct paxos_record *ret_record);

/* ---- check.c ---- */
/* Each returns NULL, or what is wrong. */
const char *check_applied(uint64_t slot, const struct paxos_value *value);
const char *check_answered(uint64_t command, const struct paxos_value *value);
const char *check_restored(void);
const char *check_sent(const struct paxos_message *message);
void check_note(uint32_t local); /* takes down what matters of the node that was just saved */
bool local_leads(uint32_t local);
bool local_has_promised(uint32_t local, struct ballot ballot);
const char *check_world(const uint32_t locals[NODES]);
const char *check_proposed(uint32_t a, uint32_t b); /* two messages of one world */

/* ---- search.c ---- */
struct bounds {
    uint32_t elections, commands, crashes;
    uint32_t candidates; /* nodes that may want to lead */
    uint32_t worlds;     /* then it is cut off */
};
int search(const struct bounds *bounds); /* 0 = nothing is wrong */

#endif
