/* The scheduler as workers and gateways see it, wherever it runs. Any thread; blocks.
 *
 * Only the scheduler on the root group's leader acts; calls find it among the voters, following
 * changes of leader until the deadline. Calls may be sent twice without harm: a lease is granted,
 * and a result taken, once. */
#ifndef QUERN_SCHED_CLIENT_H
#define QUERN_SCHED_CLIENT_H

#include "base/arena.h"
#include "base/err.h"
#include "meta/client.h"
#include "rpc/rpc.h"
#include "sched.pb-c.h"

#define SCHED_POLL_MS 1000u  /* a poll or watch without news is answered after this time */
#define SCHED_RENEW_MS 1000u /* how often a worker renews its leases: polls count */
#define SCHED_LEASE_MS 3000u /* not renewed for so long: the task runs again elsewhere */

struct sched_client;

struct sched_client *sched_client_new(struct meta_client *meta, struct rpc_client *rpc);
struct sched_client *sched_client_free(struct sched_client *client);

/* Asks for work for the free slots and renews running leases. A reduce task's input is complete:
 * what the map tasks made is fetched from the catalogue here. Returns when there is work, when a
 * running lease turns out to be lost, or after SCHED_POLL_MS with an empty grant: allow for that in
 * the deadline. The reply lives in the arena (give it 64 MiB). Errors: ERR_TIMEOUT, ERR_NO_LEADER
 * and those of rpc: the caller tries again after a moment. */
int sched_client_poll(struct sched_client *client, const Pb__TaskPoll *poll, uint64_t deadline_ns,
                      struct arena *arena, Pb__TaskGrant **ret_grant, struct err *err);

/* Renews leases; ret_renewed->lost names those to kill. To be called every SCHED_RENEW_MS while no
 * poll is under way. A worker that could not renew for SCHED_LEASE_MS less a margin kills its tasks
 * itself. */
int sched_client_renew(struct sched_client *client, const Pb__TaskRenew *renew,
                       uint64_t deadline_ns, struct arena *arena, Pb__TaskRenewed **ret_renewed,
                       struct err *err);

/* Gives results in (at most 64, and 3 MiB packed). Once it returns 0 they are durable; taken tells
 * which counted. */
int sched_client_commit(struct sched_client *client, const Pb__TaskCommits *commits,
                        uint64_t deadline_ns, struct arena *arena,
                        Pb__TaskCommitted **ret_committed, struct err *err);

/* Proposes a job. Once it returns 0 the job is durable, under the name that the news tells, and its
 * first tasks go to the workers that wait. Errors: those of the catalogue, and of rpc. */
int sched_client_submit(struct sched_client *client, Pb__JobSpec *spec, uint64_t deadline_ns,
                        struct arena *arena, Pb__JobNews **ret_news, struct err *err);

/* Waits until the job has changed since the news numbered seen, at most SCHED_POLL_MS (the reply
 * then says what is known). seen = 0 returns at once: call it so after finishing a job, to
 * wake the scheduler. ERR_NO_SUCH_JOB. */
int sched_client_watch(struct sched_client *client, const Pb__JobWatch *watch, uint64_t deadline_ns,
                       struct arena *arena, Pb__JobNews **ret_news, struct err *err);

#endif
