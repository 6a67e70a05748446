/* The catalogue: opening, and the way of a command or query to the function that deals with it. */
#include "core/catalog.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "core/catalog_impl.h"

#define ARENA_BYTES_MAX                                                                            \
    ((size_t)1 << 40) /* none: what it holds is bounded by commands and records */
#define ROOT 0u

struct catalog {
    uint32_t group;
    struct catalog_window window;
    struct catalog_cache cache;
};

int catalog_open(uint32_t group, const struct catalog_kv *kv, struct catalog **ret_catalog,
                 struct err *err) {
    ASSERT(group <= UINT16_MAX);
    struct catalog *catalog = calloc(1, sizeof *catalog);
    if (catalog == NULL)
        return err_set(err, ERR_NOMEM, "no memory for the catalogue");
    catalog->group = group;
    int rc = catalog_window_open(&catalog->window, group, kv, err);
    if (rc != 0) {
        catalog_close(catalog);
        return rc;
    }
    *ret_catalog = catalog;
    return 0;
}

struct catalog *catalog_close(struct catalog *catalog) {
    if (catalog == NULL)
        return NULL;
    catalog_window_close(&catalog->window);
    catalog_cache_close(&catalog->cache);
    free(catalog);
    return NULL;
}

void *catalog_alloc(struct catalog_step *step, size_t size) {
    void *cut = arena_alloc(step->arena, size);
    if (cut == NULL)
        panic("out of memory in the catalogue");
    return cut;
}

void catalog_refuse(struct catalog_step *step, int code, const char *format, ...) {
    ASSERT(code != 0);
    char text[256];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ASSERT(size >= 0);
    step->reply->code = code;
    step->reply->message = memcpy(catalog_alloc(step, sizeof text), text, sizeof text);
}

/* ---- commands ---- */

/* False when op is not one of a shard's commands. */
static bool apply_to_shard(struct catalog_step *step, const Pb__Command *op) {
    switch (op->op_case) {
    case PB__COMMAND__OP_PUT_OBJECT:
        catalog_put_object(step, op->put_object);
        return true;
    case PB__COMMAND__OP_DELETE_OBJECT:
        catalog_delete_object(step, op->delete_object);
        return true;
    case PB__COMMAND__OP_CREATE_UPLOAD:
        catalog_create_upload(step, op->create_upload);
        return true;
    case PB__COMMAND__OP_PUT_PART:
        catalog_put_part(step, op->put_part);
        return true;
    case PB__COMMAND__OP_COMPLETE_UPLOAD:
        catalog_complete_upload(step, op->complete_upload);
        return true;
    case PB__COMMAND__OP_ABORT_UPLOAD:
        catalog_abort_upload(step, op->abort_upload);
        return true;
    case PB__COMMAND__OP_SET_GATE:
        catalog_set_gate(step, op->set_gate);
        return true;
    case PB__COMMAND__OP_SETTLE_JOB:
        catalog_settle_job(step, op->settle_job);
        return true;
    case PB__COMMAND__OP_DROP_GARBAGE:
        catalog_drop_garbage(step, op->drop_garbage);
        return true;
    case PB__COMMAND__OP_QUEUE_GARBAGE:
        catalog_queue_garbage(step, op->queue_garbage);
        return true;
    default:
        return false;
    }
}

static bool apply_to_root(struct catalog_step *step, const Pb__Command *op) {
    switch (op->op_case) {
    case PB__COMMAND__OP_CREATE_BUCKET:
        catalog_create_bucket(step, op->create_bucket);
        return true;
    case PB__COMMAND__OP_BEGIN_DELETE_BUCKET:
        catalog_begin_delete_bucket(step, op->begin_delete_bucket);
        return true;
    case PB__COMMAND__OP_END_DELETE_BUCKET:
        catalog_end_delete_bucket(step, op->end_delete_bucket);
        return true;
    case PB__COMMAND__OP_INIT_CLUSTER:
        catalog_init_cluster(step, op->init_cluster);
        return true;
    case PB__COMMAND__OP_SET_NODE_DOWN:
        catalog_set_node_down(step, op->set_node_down);
        return true;
    case PB__COMMAND__OP_ADD_NODE:
        catalog_add_node(step, op->add_node);
        return true;
    case PB__COMMAND__OP_SET_VOTER:
        catalog_set_voter(step, op->set_voter);
        return true;
    case PB__COMMAND__OP_ACQUIRE_LOCK:
        catalog_acquire_lock(step, op->acquire_lock);
        return true;
    case PB__COMMAND__OP_RENEW_LOCK:
        catalog_renew_lock(step, op->renew_lock);
        return true;
    case PB__COMMAND__OP_END_LOCK:
        catalog_end_lock(step, op->end_lock);
        return true;
    case PB__COMMAND__OP_SUBMIT_JOB:
        catalog_submit_job(step, op->submit_job);
        return true;
    case PB__COMMAND__OP_GRANT_LEASES:
        catalog_grant_leases(step, op->grant_leases);
        return true;
    case PB__COMMAND__OP_RELEASE_LEASES:
        catalog_release_leases(step, op->release_leases);
        return true;
    case PB__COMMAND__OP_COMMIT_TASKS:
        catalog_commit_tasks(step, op->commit_tasks);
        return true;
    case PB__COMMAND__OP_FINISH_JOB:
        catalog_finish_job(step, op->finish_job);
        return true;
    case PB__COMMAND__OP_FORGET_JOB:
        catalog_forget_job(step, op->forget_job);
        return true;
    case PB__COMMAND__OP_MARK_SETTLED:
        catalog_mark_settled(step, op->mark_settled);
        return true;
    default:
        return false;
    }
}

static void apply_op(struct catalog_step *step, const Pb__Command *command) {
    step->now_ms = command->now_ms;
    bool known = catalog_group_of(step->group) == ROOT ? apply_to_root(step, command)
                                                       : apply_to_shard(step, command);
    if (!known)
        catalog_refuse(step, ERR_PROTOCOL, "not a command of group %u",
                       catalog_group_of(step->group));
}

/* NULL, and the reply says why, when it is not a command. */
static Pb__Command *read_command(struct catalog_step *step, struct span bytes) {
    Pb__Command *command = NULL;
    if (bytes.size > CATALOG_COMMAND_BYTES_MAX)
        catalog_refuse(step, ERR_LIMIT, "a command of %zu bytes", bytes.size);
    else if (pb_unpack(&pb__command__descriptor, bytes, step->arena, &command, NULL) != 0)
        catalog_refuse(step, ERR_PROTOCOL, "not a command");
    return command;
}

static void apply_one(struct catalog *catalog, struct catalog_step *step, struct span bytes,
                      struct buf *ret_reply) {
    Pb__Command *command = read_command(step, bytes);
    if (command != NULL) {
        if (catalog_window_find(&catalog->window, step, command->request_id, ret_reply))
            return;
        if (command->since_slot >= catalog->window.forgotten)
            apply_op(step, command);
        else
            catalog_refuse(step, ERR_FORGOTTEN, "%s", err_text(ERR_FORGOTTEN));
    }
    size_t start = ret_reply->size;
    pb_pack(ret_reply, &step->reply->base);
    if (command != NULL && !ret_reply->failed && step->reply->code != ERR_FORGOTTEN)
        catalog_window_add(&catalog->window, step, command->request_id,
                           (struct span){ret_reply->data + start, ret_reply->size - start});
}

int catalog_apply(struct catalog *catalog, const struct catalog_kv *kv, uint64_t slot,
                  const struct span *commands, unsigned count, struct buf *replies,
                  struct err *err) {
    ASSERT(kv->put != NULL && kv->del != NULL);
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    struct catalog_step step = {
        .group = catalog->group, .kv = kv, .cache = &catalog->cache, .arena = &arena, .err = err};
    catalog_window_begin(&catalog->window, &step, slot, count);
    for (unsigned i = 0; i < count && step.broken == 0; i++) {
        Pb__Reply reply = PB__REPLY__INIT;
        reply.slot = slot;
        step.reply = &reply;
        apply_one(catalog, &step, commands[i], &replies[i]);
        if (replies[i].failed && step.broken == 0)
            step.broken = err_set(err, ERR_NOMEM, "no memory for a reply");
        arena_reset(&arena);
    }
    catalog_window_end(&catalog->window, &step);
    return step.broken;
}

/* ---- queries ---- */

static bool ask_shard(struct catalog_step *step, const Pb__Query *query) {
    switch (query->op_case) {
    case PB__QUERY__OP_GET_OBJECT:
        catalog_get_object(step, query->get_object);
        return true;
    case PB__QUERY__OP_LIST_OBJECTS:
        catalog_list_objects(step, query->list_objects);
        return true;
    case PB__QUERY__OP_LIST_UPLOADS:
        catalog_list_uploads(step, query->list_uploads);
        return true;
    case PB__QUERY__OP_LIST_PARTS:
        catalog_list_parts(step, query->list_parts);
        return true;
    case PB__QUERY__OP_LIST_GARBAGE:
        catalog_list_garbage(step, query->list_garbage);
        return true;
    default:
        return false;
    }
}

static bool ask_root(struct catalog_step *step, const Pb__Query *query) {
    switch (query->op_case) {
    case PB__QUERY__OP_GET_BUCKET:
        catalog_get_bucket(step, query->get_bucket);
        return true;
    case PB__QUERY__OP_LIST_BUCKETS:
        catalog_list_buckets(step, query->list_buckets);
        return true;
    case PB__QUERY__OP_GET_CLUSTER_MAP:
        catalog_get_cluster_map(step, query->get_cluster_map);
        return true;
    case PB__QUERY__OP_LIST_LOCKS:
        catalog_list_locks(step, query->list_locks);
        return true;
    case PB__QUERY__OP_GET_JOB:
        catalog_get_job(step, query->get_job);
        return true;
    case PB__QUERY__OP_LIST_JOBS:
        catalog_list_jobs(step, query->list_jobs);
        return true;
    case PB__QUERY__OP_LIST_TASKS:
        catalog_list_tasks(step, query->list_tasks);
        return true;
    default:
        return false;
    }
}

static void ask(struct catalog_step *step, struct span bytes) {
    Pb__Query *query = NULL;
    if (bytes.size > CATALOG_COMMAND_BYTES_MAX ||
        pb_unpack(&pb__query__descriptor, bytes, step->arena, &query, NULL) != 0) {
        catalog_refuse(step, ERR_PROTOCOL, "not a query");
        return;
    }
    bool known =
        catalog_group_of(step->group) == ROOT ? ask_root(step, query) : ask_shard(step, query);
    if (!known)
        catalog_refuse(step, ERR_PROTOCOL, "not a query of group %u",
                       catalog_group_of(step->group));
}

int catalog_query(uint32_t group, const struct catalog_kv *kv, struct span query,
                  struct buf *ret_reply, struct err *err) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    Pb__Reply reply = PB__REPLY__INIT;
    struct catalog_step step = {
        .group = group, .kv = kv, .arena = &arena, .reply = &reply, .err = err};
    ask(&step, query);
    if (step.broken != 0)
        return step.broken;
    pb_pack(ret_reply, &reply.base);
    return ret_reply->failed ? err_set(err, ERR_NOMEM, "no memory for a reply") : 0;
}
