/* Inside the scheduler: what its files share.
 *
 * What is in memory mirrors the root group's state and is thrown away with leadership, or when the
 * outcome of a command is unknown; every decision is a compare-and-set command there, so a
 * scheduler that has fallen behind does no harm.
 *
 * One lock guards all of it. Threads: the loop (leadership, loading, leases; the only one that
 * drops jobs), the finisher, the collector, and the pool threads of the rpc server, which add new
 * jobs. */
#ifndef QUERN_SCHED_IMPL_H
#define QUERN_SCHED_IMPL_H

#include <pthread.h>

#include "base/list.h"
#include "core/catalog_plan.h"
#include "core/sched.h"
#include "os/clock.h"
#include "sched/client.h"
#include "sched/sched.h"

#define SUBMIT_MS 5000u
#define QUERY_MS 5000u
#define REPLY_BYTES ((size_t)256 << 20) /* limit of an unpacked reply */
#define POLL_BYTES ((size_t)64 << 20)   /* limit of an unpacked request */
#define BATCH_MAX 256u                  /* leases or results of one command */
#define PHASES 2u
#define GARBAGE_SHARD 1u /* keeps garbage that is no shard's */

/* An attempt that runs somewhere. */
struct lease {
    struct list node; /* of sched.leases */
    struct job *job;
    uint32_t phase;
    uint32_t index;
    uint32_t attempt;
    uint32_t worker;
    uint64_t epoch;
    uint64_t renewed_ns;
};

struct job {
    struct list node; /* of sched.jobs, by submission */
    struct id128 id;
    struct arena arena;
    Pb__Job *job;    /* in the arena, with inputs; counters are kept up */
    uint64_t news;   /* from 1; grows with every change */
    uint32_t *first; /* number of each input's first map task */
    struct sched_phase phases[PHASES];
    struct lease **leases[PHASES]; /* by task */
    uint32_t running;
    uint64_t task_us;  /* mean */
    unsigned refs;     /* of the list and the finisher */
    bool listed;       /* by the catalogue, lately */
    uint64_t pass;     /* of sched.pass: it has nothing for the worker that is looked for */
    uint64_t retry_ns; /* the finisher tries again then */
    char failure[256]; /* why it must fail, or "" */
};

/* A worker that waits for work. */
struct poller {
    struct list node; /* of sched.pollers */
    uint32_t worker;
    uint32_t slots;
    uint32_t sandbox_level;
    bool pending;  /* a grant for it is under way: it must not leave */
    bool answered; /* with code, or with what is in reply */
    int code;
    struct lease **granted; /* while answering; slots of them */
    unsigned granted_count;
    struct buf reply;
};

/* A result that waits to be taken. */
struct result {
    struct list node; /* of sched.results */
    const Pb__TaskCommit *commit;
    bool ended;
    bool taken;
    int code;
    uint64_t job_finished_ms; /* not 0: its job was committed with it, */
    bool job_settled;         /* and settled */
};

/* Tasks chosen for workers that wait, with leases that are not granted yet. */
struct choice {
    struct sched *sched;
    struct job *only;      /* tasks of no other; NULL: of all that are listed */
    struct place_map *map; /* while it is made */
    uint64_t now_ns;
    uint64_t again_ns; /* when to choose again, if nothing happens */
    unsigned workers;  /* heard of lately */
    struct lease *leases[BATCH_MAX];
    struct poller *pollers[BATCH_MAX]; /* for whom each lease is */
    unsigned count;
};

#define WORKERS_MAX 4096u /* node ids */

struct sched {
    struct meta_client *meta;
    struct store_client *store;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* anything a waiting call may want to know */
    pthread_cond_t work;    /* for the loop */
    pthread_cond_t finish;  /* for the finisher */
    pthread_cond_t collect; /* for the collector: only when stopping */
    struct list jobs;
    struct list leases;
    struct list pollers;
    struct list results;
    bool committing;                      /* some of them are on their way */
    uint64_t worker_seen_ns[WORKERS_MAX]; /* by node id: when it was last heard of */
    bool leading;                         /* and loaded */
    bool reload;                          /* look for new and ended jobs */
    bool wanted;                          /* something for the loop happened since it looked */
    uint64_t refresh_ns;                  /* when to look for jobs again */
    uint64_t lost_ns;                     /* when to look for lost workers again */
    bool stale;                           /* the outcome of a command is unknown: load all anew */
    bool stopping;
    uint64_t pass; /* of choosing: which jobs were looked at in vain */
    pthread_t threads[3];
    unsigned thread_count;
};

/* ---- commands and queries: lock not held ---- */

int sched_submit(struct sched *sched, uint32_t group, Pb__Command *command, struct arena *arena,
                 Pb__Reply **ret_reply, struct err *err);
int sched_query(struct sched *sched, uint32_t group, Pb__Query *query, struct arena *arena,
                Pb__Reply **ret_reply, struct err *err);
int sched_list_tasks(struct sched *sched, struct id128 job, uint32_t phase, uint32_t first,
                     struct arena *arena, Pb__Reply **ret_reply, struct err *err);

/* ---- jobs: lock held, but for loading ---- */

struct job *sched_job_new(struct id128 id); /* one reference */
/* Its record, in its arena or longer-lived: no task was begun. */
int sched_job_set(struct job *job, Pb__Job *record, struct err *err);
/* A job of the catalogue with its inputs and the states of its tasks. Lock not held. */
int sched_job_load(struct sched *sched, struct id128 id, struct job **ret_job, struct err *err);
struct job *sched_job_unref(struct job *job);
struct job *sched_job_find(struct sched *sched, ProtobufCBinaryData id);
void sched_job_add(struct sched *sched, struct job *job);
void sched_job_drop(struct sched *sched, struct job *job); /* out of the list, its leases too */
void sched_job_end(struct sched *sched, struct job *job,
                   const Pb__Job *news); /* as the catalogue says it has */
void sched_job_end_leases(struct sched *sched, struct job *job);
void sched_job_fail(struct job *job, uint32_t phase, uint32_t index,
                    const char *reason); /* the first reason stays */
/* Something about it is new: waiters are woken. */
void sched_job_changed(struct sched *sched, struct job *job);
/* Whether who has seen so much waits. job = NULL: it is not here, and the catalogue has its end. */
bool sched_lacks_news(const struct sched *sched, const struct job *job, uint64_t seen);
/* The phase whose tasks may run, or PHASES when none may. */
uint32_t sched_job_phase(const struct job *job);
bool sched_job_is_complete(const struct job *job);
/* The input of a map task and, for a job cut by chunks, the number of its chunk. */
const Pb__JobInput *sched_job_input(const struct job *job, uint32_t index, size_t *ret_chunk);
/* What a worker needs for the lease, in the arena; points into the job. */
Pb__TaskWork *sched_job_work(const struct job *job, const struct lease *lease, struct arena *arena);

struct lease *sched_lease_new(struct sched *sched, struct job *job, uint32_t phase, uint32_t index,
                              uint32_t worker);
struct lease *sched_lease_free(struct lease *lease); /* out of its job and list */
struct lease *sched_lease_find(struct sched *sched,
                               const Pb__TaskLease *lease); /* the one that runs under that epoch */
Pb__TaskLease *sched_lease_message(const struct lease *lease, struct arena *arena);

/* ---- granting: lock held ---- */

/* Leases for those who wait, who stay until sched_note_granted. */
void sched_choose_work(struct sched *sched, struct job *only, struct choice *ret_choice);
/* For a command; in the arena. */
Pb__TaskLease **sched_choice_leases(const struct choice *choice, struct arena *arena);
/* What of it the catalogue granted (NULL: nothing is known to be) goes to the workers; the rest
 * waits again. Whether all was. */
bool sched_note_granted(struct choice *choice, const Pb__Reply *reply);

/* ---- the loop's: the lock is let go while a command is under way ---- */

/* Gives tasks to those who wait. Returns when to look again, if nothing happens. */
uint64_t sched_grant_work(struct sched *sched);
void sched_release_lost(struct sched *sched);
/* Ends the calls of all who wait with a code. */
void sched_grant_refuse_all(struct sched *sched, int code);

/* ---- results ---- */

/* Has the results taken and waits for it. Lock held, let go meanwhile. The taken ones are marked;
 * returns 0 or why none was certainly taken. */
int sched_commit_results(struct sched *sched, Pb__TaskCommit *const *commits, size_t count,
                         protobuf_c_boolean *ret_taken);
void *sched_finish_main(void *sched);
void *sched_collect_main(void *sched);
/* Chunks that nothing names, to be collected. Lock not held. */
int sched_queue_garbage(struct sched *sched, Pb__ChunkRef *const *chunks, size_t count,
                        struct err *err);

/* ---- rpc ---- */

rpc_handler sched_handle_submit, sched_handle_poll, sched_handle_renew, sched_handle_commit,
    sched_handle_watch;
/* Sends the reply; what a handler returns. */
int sched_answer(struct rpc_conn *conn, uint16_t type, const ProtobufCMessage *message);
int sched_answer_packed(struct rpc_conn *conn, uint16_t type, const struct buf *packed);
int sched_answer_error(struct rpc_conn *conn, int code, const char *text);

#endif
