/* Garbage: chunks that no record names are removed from their holders after a while, and old jobs
 * are forgotten.
 *
 * A chunk stays until readers that began before it was dropped have ended: for a fixed time, of
 * which little is left when a disk is short of room, and as long as a job runs that was submitted
 * before, since its inputs are pinned. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sched/impl.h"

#define GARBAGE_MS_DEFAULT 300000u
#define SHORT_PARTS 10u /* it stays for a tenth of the time when a disk is short */
#define STATUS_MS 1000u /* for nodes to tell */
#define ROUND_MS_MAX 30000u
#define ROUND_MS_MIN 50u
#define PAGE_RECORDS 100u
#define PAGES_MAX 64u /* of a shard in one round */
#define DELETE_MS 30000u
#define PIN_MS 60000u /* inputs are pinned a little before a job is submitted */
#define JOB_KEEP_MS (24u * 3600 * 1000)

struct collector {
    struct sched *sched;
    uint64_t garbage_ms;
    uint64_t before_ms;
};

/* ---- garbage of a shard ---- */

static int list_garbage(struct collector *collector, uint32_t shard, struct arena *arena,
                        Pb__Reply **ret_reply, struct err *err) {
    Pb__ListGarbage list = PB__LIST_GARBAGE__INIT;
    Pb__Query query = PB__QUERY__INIT;
    list.queued_before_ms = collector->before_ms;
    list.limit = PAGE_RECORDS;
    query.op_case = PB__QUERY__OP_LIST_GARBAGE;
    query.list_garbage = &list;
    return sched_query(collector->sched, shard, &query, arena, ret_reply, err);
}

static int delete_chunks(struct collector *collector, const Pb__Garbage *garbage,
                         struct arena *arena, struct err *err) {
    struct id128 *ids = arena_array(arena, struct id128, garbage->n_chunks + 1);
    if (ids == NULL)
        return err_set(err, ERR_NOMEM, "no memory for garbage");
    for (size_t i = 0; i < garbage->n_chunks; i++)
        ids[i] = pb_id128(garbage->chunks[i]);
    return store_delete(collector->sched->store, ids, (unsigned)garbage->n_chunks,
                        clock_deadline_ms(DELETE_MS), err);
}

static int drop_garbage(struct collector *collector, uint32_t shard, const Pb__Reply *page,
                        struct arena *arena, struct err *err) {
    Pb__DropGarbage op = PB__DROP_GARBAGE__INIT;
    Pb__Command command = PB__COMMAND__INIT;
    Pb__Reply *reply;
    op.sequence = arena_array(arena, uint64_t, page->n_garbage + 1);
    if (op.sequence == NULL)
        return err_set(err, ERR_NOMEM, "no memory for garbage");
    for (; op.n_sequence < page->n_garbage; op.n_sequence++)
        op.sequence[op.n_sequence] = page->garbage[op.n_sequence]->sequence;
    command.op_case = PB__COMMAND__OP_DROP_GARBAGE;
    command.drop_garbage = &op;
    return sched_submit(collector->sched, shard, &command, arena, &reply, err);
}

static int collect_page(struct collector *collector, uint32_t shard, bool *ret_more,
                        struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, REPLY_BYTES);
    Pb__Reply *page;
    int rc = list_garbage(collector, shard, &arena, &page, err);
    *ret_more = rc == 0 && page->truncated;
    if (rc != 0 || page->n_garbage == 0)
        return rc;
    for (size_t i = 0; i < page->n_garbage && rc == 0; i++)
        rc = delete_chunks(collector, page->garbage[i], &arena, err);
    return rc == 0 ? drop_garbage(collector, shard, page, &arena, err) : rc;
}

static int collect_shards(struct collector *collector, struct err *err) {
    struct place_map *map = meta_map(collector->sched->meta);
    uint32_t shards = map->shards;
    place_map_unref(map);
    int rc = 0;
    for (uint32_t shard = 1; shard <= shards && rc == 0; shard++) {
        bool more = true;
        for (unsigned i = 0; i < PAGES_MAX && more && rc == 0; i++)
            rc = collect_page(collector, shard, &more, err);
    }
    return rc;
}

/* ---- old jobs ---- */

/* What a job streamed is kept with its tasks; it goes with them. */
static int drop_results(struct collector *collector, const Pb__Job *job, struct err *err) {
    uint32_t phase = job->reduce_tasks > 0 ? PHASE_REDUCE : PHASE_MAP, first = 0;
    bool streamed =
        job->state == PB__JOB_STATE__JOB_COMMITTED && job->spec->output_bucket[0] == '\0';
    for (bool more = streamed; more;) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, REPLY_BYTES);
        Pb__Reply *page;
        int rc = sched_list_tasks(collector->sched, pb_id128(job->spec->id), phase, first, &arena,
                                  &page, err);
        for (size_t i = 0; rc == 0 && i < page->n_tasks; i++) {
            const Pb__TaskResult *result = page->tasks[i]->result;
            if (result != NULL && result->n_output > 0)
                rc = sched_queue_garbage(collector->sched, result->output, result->n_output, err);
        }
        if (rc != 0)
            return rc;
        more = page->truncated && page->n_tasks > 0;
        if (more)
            first = page->tasks[page->n_tasks - 1]->address->index + 1;
    }
    return 0;
}

static int forget_job(struct collector *collector, const Pb__Job *job, struct err *err) {
    int rc = drop_results(collector, job, err);
    for (bool more = true; more && rc == 0;) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, REPLY_BYTES);
        Pb__ForgetJob op = PB__FORGET_JOB__INIT;
        Pb__Command command = PB__COMMAND__INIT;
        Pb__Reply *reply;
        op.job = job->spec->id;
        command.op_case = PB__COMMAND__OP_FORGET_JOB;
        command.forget_job = &op;
        rc = sched_submit(collector->sched, META_ROOT, &command, &arena, &reply, err);
        more = rc == 0 && reply->truncated;
    }
    return rc;
}

static int forget_old_jobs(struct collector *collector, struct err *err) {
    uint64_t now_ms = clock_wall_ms();
    struct id128 after = {{0}};
    for (bool more = true; more;) {
        _cleanup_(arena_finip) struct arena arena;
        arena_init(&arena, REPLY_BYTES);
        Pb__ListJobs list = PB__LIST_JOBS__INIT;
        Pb__Query query = PB__QUERY__INIT;
        Pb__Reply *page;
        if (!id128_is_zero(after))
            list.after = pb_id(&after);
        query.op_case = PB__QUERY__OP_LIST_JOBS;
        query.list_jobs = &list;
        int rc = sched_query(collector->sched, META_ROOT, &query, &arena, &page, err);
        for (size_t i = 0; rc == 0 && i < page->n_jobs; i++) {
            const Pb__Job *job = page->jobs[i];
            if (job->settled && job->finished_ms + JOB_KEEP_MS < now_ms)
                rc = forget_job(collector, job, err);
            after = pb_id128(job->spec->id);
        }
        if (rc != 0)
            return rc;
        more = page->truncated && page->n_jobs > 0;
    }
    return 0;
}

/* ---- rounds ---- */

/* Lock held. */
static uint64_t collect_before_ms(const struct collector *collector, uint64_t keep_ms) {
    uint64_t now_ms = clock_wall_ms(), before_ms = now_ms > keep_ms ? now_ms - keep_ms : 0;
    LIST_FOR_EACH(node, &collector->sched->jobs) {
        const struct job *job = LIST_ENTRY(node, struct job, node);
        uint64_t submitted_ms = job->job->spec->submitted_ms,
                 pinned_ms = submitted_ms > PIN_MS ? submitted_ms - PIN_MS : 0;
        if (!job->job->settled && pinned_ms < before_ms)
            before_ms = pinned_ms;
    }
    return before_ms;
}

static void run_round(struct collector *collector) {
    struct err err = {0};
    int rc = collect_shards(collector, &err);
    if (rc == 0)
        rc = forget_old_jobs(collector, &err);
    if (rc != 0 && !err_is_transient(rc))
        log_warn("sched: garbage is not collected: %s", err_message(&err, rc));
}

static uint64_t garbage_ms(void) {
    const char *text = getenv("QUERN_GC_MS"); /* for tests */
    char *end = NULL;
    uint64_t ms = text != NULL ? strtoull(text, &end, 10) : 0;
    return text != NULL && end != text && *end == '\0' ? ms : GARBAGE_MS_DEFAULT;
}

void *sched_collect_main(void *context) {
    struct sched *sched = context;
    struct collector collector = {.sched = sched, .garbage_ms = garbage_ms()};
    uint64_t short_ms = collector.garbage_ms / SHORT_PARTS,
             round_ms = short_ms / 2 < ROUND_MS_MAX ? short_ms / 2 : ROUND_MS_MAX;
    round_ms = round_ms > ROUND_MS_MIN ? round_ms : ROUND_MS_MIN;
    pthread_mutex_lock(&sched->lock);
    while (!sched->stopping) {
        clock_cond_wait(&sched->collect, &sched->lock, clock_deadline_ms(round_ms));
        if (!sched->leading || sched->stopping)
            continue;
        pthread_mutex_unlock(&sched->lock);
        bool hurry = store_is_short(sched->store, clock_deadline_ms(STATUS_MS));
        pthread_mutex_lock(&sched->lock);
        collector.before_ms =
            collect_before_ms(&collector, hurry ? short_ms : collector.garbage_ms);
        pthread_mutex_unlock(&sched->lock);
        run_round(&collector);
        pthread_mutex_lock(&sched->lock);
    }
    pthread_mutex_unlock(&sched->lock);
    return NULL;
}
