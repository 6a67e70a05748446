/* The root group: buckets, the cluster map, jobs and tasks. */
#include "core/catalog_harness.h"
#include "core/place.h"

/* ---- buckets ---- */

static Pb__Reply *create_bucket(struct world *world, const char *name) {
    Pb__CreateBucket op = PB__CREATE_BUCKET__INIT;
    op.name = pb_text(name);
    op.created_ms = 5;
    return submit_op(world, create_bucket, CREATE_BUCKET, &op);
}

static Pb__Reply *begin_delete(struct world *world, const char *name) {
    Pb__BeginDeleteBucket op = PB__BEGIN_DELETE_BUCKET__INIT;
    op.name = pb_text(name);
    return submit_op(world, begin_delete_bucket, BEGIN_DELETE_BUCKET, &op);
}

static Pb__Reply *end_delete(struct world *world, const char *name, uint64_t epoch, bool rollback) {
    Pb__EndDeleteBucket op = PB__END_DELETE_BUCKET__INIT;
    op.name = pb_text(name);
    op.epoch = epoch;
    op.rollback = rollback;
    return submit_op(world, end_delete_bucket, END_DELETE_BUCKET, &op);
}

static void test_buckets(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    assert_int_equal(create_bucket(&world, "zoo")->bucket->epoch, 1);
    assert_int_equal(create_bucket(&world, "abc")->bucket->epoch, 2);
    const Pb__Reply *exists = create_bucket(&world, "zoo");
    assert_int_equal(exists->code, ERR_BUCKET_EXISTS);
    assert_int_equal(exists->bucket->epoch, 1);
    assert_int_equal(begin_delete(&world, "none")->code, ERR_NO_SUCH_BUCKET);
    assert_int_equal(begin_delete(&world, "zoo")->bucket->epoch, 3);
    assert_int_equal(create_bucket(&world, "zoo")->code, ERR_CONFLICT);
    assert_int_equal(end_delete(&world, "zoo", 3, true)->bucket->epoch, 4);
    assert_int_equal(end_delete(&world, "zoo", 4, false)->code,
                     ERR_CONFLICT); /* not being deleted */
    assert_int_equal(begin_delete(&world, "zoo")->bucket->epoch, 5);
    assert_int_equal(begin_delete(&world, "zoo")->bucket->epoch, 6); /* takes over */
    assert_int_equal(end_delete(&world, "zoo", 5, false)->code, ERR_CONFLICT);
    Pb__ListBuckets list = PB__LIST_BUCKETS__INIT;
    const Pb__Reply *reply = query_op(&world, list_buckets, LIST_BUCKETS, &list);
    assert_int_equal(reply->n_buckets, 2);
    assert_string_equal(reply->buckets[0]->name, "abc");
    assert_true(reply->buckets[1]->deleting);
    assert_int_equal(end_delete(&world, "zoo", 6, false)->code, 0);
    Pb__GetBucket get = PB__GET_BUCKET__INIT;
    get.name = pb_text("zoo");
    assert_int_equal(query_op(&world, get_bucket, GET_BUCKET, &get)->code, ERR_NO_SUCH_BUCKET);
    assert_int_equal(create_bucket(&world, "zoo")->bucket->epoch, 7);
    assert_int_equal(create_bucket(&world, "")->code, ERR_INVALID_BUCKET_NAME);
    world_close(&world);
}

/* ---- the cluster map ---- */

static void test_cluster(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    Pb__ClusterMap map = PB__CLUSTER_MAP__INIT;
    Pb__Node node = PB__NODE__INIT, *nodes[] = {&node};
    Pb__InitCluster init = PB__INIT_CLUSTER__INIT;
    Pb__SetNodeDown down = PB__SET_NODE_DOWN__INIT;
    Pb__GetClusterMap get = PB__GET_CLUSTER_MAP__INIT;
    uint32_t voter = 1;
    uint16_t owners[4] = {1, 1, 1, 1};
    assert_int_equal(query_op(&world, get_cluster_map, GET_CLUSTER_MAP, &get)->code, ERR_NOT_FOUND);
    init.map = &map;
    assert_int_equal(submit_op(&world, init_cluster, INIT_CLUSTER, &init)->code, ERR_INVALID);
    node.id = 1;
    map.nodes = nodes;
    map.n_nodes = 1;
    map.replicas = 1;
    map.slice_bits = 2;
    map.shards = 8;
    map.voters = &voter;
    map.n_voters = 1;
    map.cluster_id = make_id(&world, 1);
    map.owners = pb_bytes(owners, sizeof owners);
    assert_int_equal(submit_op(&world, init_cluster, INIT_CLUSTER, &init)->map->epoch, 1);
    assert_int_equal(submit_op(&world, init_cluster, INIT_CLUSTER, &init)->code, ERR_EXISTS);
    down.node = 1;
    down.down = true;
    assert_int_equal(submit_op(&world, set_node_down, SET_NODE_DOWN, &down)->map->epoch, 2);
    assert_int_equal(submit_op(&world, set_node_down, SET_NODE_DOWN, &down)->map->epoch,
                     2); /* no change */
    assert_true(query_op(&world, get_cluster_map, GET_CLUSTER_MAP, &get)->map->nodes[0]->down);
    down.node = 2;
    assert_int_equal(submit_op(&world, set_node_down, SET_NODE_DOWN, &down)->code, ERR_NOT_FOUND);
    world_close(&world);
}

static Pb__Reply *add_node(struct world *world, uint64_t incarnation, const char *name) {
    Pb__Node node = PB__NODE__INIT;
    Pb__AddNode op = PB__ADD_NODE__INIT;
    node.incarnation = make_id(world, incarnation);
    node.name = pb_text(name);
    node.peer_address = pb_text("h:1");
    node.http_address = pb_text("h:2");
    node.roles = ROLE_ALL;
    op.node = &node;
    return submit_op(world, add_node, ADD_NODE, &op);
}

static Pb__Reply *set_voter(struct world *world, uint32_t node, bool voter) {
    Pb__SetVoter op = PB__SET_VOTER__INIT;
    op.node = node;
    op.voter = voter;
    return submit_op(world, set_voter, SET_VOTER, &op);
}

static void found_cluster_of_one(struct world *world) {
    Pb__ClusterMap map = PB__CLUSTER_MAP__INIT;
    Pb__Node node = PB__NODE__INIT, *nodes[] = {&node};
    Pb__InitCluster init = PB__INIT_CLUSTER__INIT;
    uint32_t voter = 1;
    uint16_t owner = 1;
    node.id = 1;
    node.roles = ROLE_ALL;
    node.name = pb_text("node1");
    node.incarnation = make_id(world, 100);
    map.nodes = nodes;
    map.n_nodes = map.replicas = map.n_voters = 1;
    map.shards = 8;
    map.voters = &voter;
    map.cluster_id = make_id(world, 1);
    map.owners = pb_bytes(&owner, sizeof owner);
    init.map = &map;
    assert_int_equal(submit_op(world, init_cluster, INIT_CLUSTER, &init)->code, 0);
}

static void test_nodes_come(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    assert_int_equal(add_node(&world, 101, "node2")->code, ERR_NOT_FOUND);
    found_cluster_of_one(&world);
    assert_int_equal(add_node(&world, 101, "")->code, ERR_INVALID);
    assert_int_equal(add_node(&world, 101, "node1")->code, ERR_EXISTS);
    const Pb__Reply *reply = add_node(&world, 101, "node2");
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->map->n_nodes, 2);
    assert_int_equal(reply->map->nodes[1]->id, 2);
    assert_int_equal(reply->map->nodes[1]->roles, ROLE_ALL & ~ROLE_META);
    uint64_t epoch = reply->map->epoch;
    reply = add_node(&world, 101, "node2"); /* asked again */
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->map->epoch, epoch);
    assert_int_equal(add_node(&world, 102, "node3")->map->nodes[2]->id, 3);
    world_close(&world);
}

static void test_groups_move_to_new_voters(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    found_cluster_of_one(&world);
    add_node(&world, 101, "node2");
    assert_int_equal(set_voter(&world, 9, true)->code, ERR_NOT_FOUND);
    assert_int_equal(set_voter(&world, 1, false)->code, ERR_LIMIT); /* the last one */
    const Pb__Reply *reply = set_voter(&world, 2, true);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->map->n_groups, 9);
    for (size_t g = 0; g < 9; g++)
        assert_int_equal(reply->map->groups[g]->n_nodes, 2);
    assert_int_equal(reply->map->nodes[1]->roles, ROLE_ALL);
    uint64_t epoch = reply->map->epoch;
    assert_int_equal(set_voter(&world, 2, true)->map->epoch, epoch); /* no change */
    reply = set_voter(&world, 1, false);
    assert_int_equal(reply->map->n_voters, 1);
    assert_int_equal(reply->map->groups[4]->n_nodes, 1);
    assert_int_equal(reply->map->groups[4]->nodes[0], 2);
    world_close(&world);
}

/* ---- jobs ---- */

/* A job over one object of three chunks and one inline object: four map tasks. */
static Pb__Reply *submit_with(struct world *world, uint64_t id, const char *name,
                              const char *reduce, bool each_object, const char *bucket,
                              Pb__SubmitJob op) {
    Pb__JobInput inputs[2] = {PB__JOB_INPUT__INIT, PB__JOB_INPUT__INIT},
                 *all[] = {&inputs[0], &inputs[1]};
    Pb__JobSpec spec = PB__JOB_SPEC__INIT;
    char *argv[] = {pb_text("grep"), pb_text("x")};
    inputs[0].bucket = inputs[1].bucket = pb_text("b");
    inputs[0].key = inputs[1].key = pb_text("k");
    inputs[0].chunks = make_chunks(world, 1, 3, 10);
    inputs[0].n_chunks = 3;
    inputs[0].size = 30;
    inputs[1].inline_data = pb_bytes("abc", 3);
    inputs[1].size = 3;
    spec.id = make_id(world, id);
    spec.name = pb_text(name);
    spec.argv = argv;
    spec.n_argv = 2;
    spec.reduce = pb_text(reduce);
    spec.each_object = each_object;
    spec.output_bucket = pb_text(bucket);
    spec.inputs = all;
    spec.n_inputs = 2;
    op.spec = &spec;
    return submit_op(world, submit_job, SUBMIT_JOB, &op);
}

static Pb__Reply *submit_job_to(struct world *world, uint64_t id, const char *name,
                                const char *reduce, bool each_object, const char *bucket) {
    return submit_with(world, id, name, reduce, each_object, bucket,
                       (Pb__SubmitJob)PB__SUBMIT_JOB__INIT);
}

static Pb__Reply *submit_leased(struct world *world, uint64_t id, Pb__TaskLease **leases,
                                size_t count) {
    Pb__SubmitJob op = PB__SUBMIT_JOB__INIT;
    op.leases = leases;
    op.n_leases = count;
    return submit_with(world, id, "grep", "", false, "", op);
}

static Pb__Reply *submit_job(struct world *world, uint64_t id, const char *name, const char *reduce,
                             bool each_object) {
    return submit_job_to(world, id, name, reduce, each_object, "");
}

static Pb__TaskLease *lease_of(struct world *world, uint64_t job, uint32_t phase, uint32_t index,
                               uint64_t epoch) {
    Pb__TaskLease *lease = arena_new(&world->arena, Pb__TaskLease);
    pb__task_lease__init(lease);
    lease->task = arena_new(&world->arena, Pb__TaskAddress);
    pb__task_address__init(lease->task);
    lease->task->job = make_id(world, job);
    lease->task->phase = phase;
    lease->task->index = index;
    lease->lease_epoch = epoch;
    lease->node = 2;
    return lease;
}

/* The lease's epoch, or 0 when it was not granted. */
static uint64_t grant(struct world *world, uint64_t job, uint32_t phase, uint32_t index) {
    Pb__GrantLeases op = PB__GRANT_LEASES__INIT;
    Pb__TaskLease *leases[] = {lease_of(world, job, phase, index, 0)};
    op.leases = leases;
    op.n_leases = 1;
    const Pb__Reply *reply = submit_op(world, grant_leases, GRANT_LEASES, &op);
    assert_int_equal(reply->code, 0);
    return reply->n_leases == 1 ? reply->leases[0]->lease_epoch : 0;
}

static const Pb__Reply *commit_result(struct world *world, uint64_t job, uint32_t phase,
                                      uint32_t index, uint64_t epoch, bool ok, bool retry) {
    Pb__CommitTasks op = PB__COMMIT_TASKS__INIT;
    Pb__TaskCommit commit = PB__TASK_COMMIT__INIT, *commits[] = {&commit};
    Pb__TaskResult result = PB__TASK_RESULT__INIT;
    Pb__TaskUsage usage = PB__TASK_USAGE__INIT;
    usage.wall_us = 10;
    usage.peak_bytes = 100 * (index + 1);
    commit.lease = lease_of(world, job, phase, index, epoch);
    commit.result = &result;
    result.ok = ok;
    result.retry = retry;
    result.usage = &usage;
    op.commits = commits;
    op.n_commits = 1;
    const Pb__Reply *reply = submit_op(world, commit_tasks, COMMIT_TASKS, &op);
    assert_int_equal(reply->n_taken, 1);
    return reply;
}

static bool commit(struct world *world, uint64_t job, uint32_t phase, uint32_t index,
                   uint64_t epoch, bool ok, bool retry) {
    return commit_result(world, job, phase, index, epoch, ok, retry)->taken[0];
}

static size_t release(struct world *world, uint64_t job, uint32_t index, uint64_t epoch) {
    Pb__ReleaseLeases op = PB__RELEASE_LEASES__INIT;
    Pb__TaskLease *leases[] = {lease_of(world, job, 0, index, epoch)};
    op.leases = leases;
    op.n_leases = 1;
    op.reason = pb_text("lost worker");
    return submit_op(world, release_leases, RELEASE_LEASES, &op)->n_leases;
}

static Pb__Reply *finish(struct world *world, uint64_t job, Pb__JobState state) {
    Pb__FinishJob op = PB__FINISH_JOB__INIT;
    op.job = make_id(world, job);
    op.state = state;
    op.finished_ms = 9;
    return submit_op(world, finish_job, FINISH_JOB, &op);
}

static Pb__Reply *get_job(struct world *world, uint64_t job, const char *name, bool with_inputs) {
    Pb__GetJob op = PB__GET_JOB__INIT;
    if (name == NULL)
        op.job = make_id(world, job);
    else
        op.name = pb_text(name);
    op.with_inputs = with_inputs;
    return query_op(world, get_job, GET_JOB, &op);
}

static size_t list_jobs(struct world *world, bool unfinished, bool unsettled) {
    Pb__ListJobs op = PB__LIST_JOBS__INIT;
    op.only_unfinished = unfinished;
    op.only_unsettled = unsettled;
    return query_op(world, list_jobs, LIST_JOBS, &op)->n_jobs;
}

static Pb__Reply *list_tasks(struct world *world, uint64_t job, uint32_t phase, uint32_t first,
                             uint32_t limit) {
    Pb__ListTasks op = PB__LIST_TASKS__INIT;
    op.job = make_id(world, job);
    op.phase = phase;
    op.first = first;
    op.limit = limit;
    return query_op(world, list_tasks, LIST_TASKS, &op);
}

static void test_submit(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    const Pb__Reply *reply = submit_job(&world, 1, "grep", "", false);
    assert_int_equal(reply->job->map_tasks, 4);
    assert_int_equal(reply->job->reduce_tasks, 0);
    assert_string_equal(submit_job(&world, 1, "grep", "", false)->job->spec->name,
                        "grep"); /* again */
    assert_string_equal(submit_job(&world, 2, "grep", "cat", true)->job->spec->name, "grep-2");
    assert_string_equal(submit_job(&world, 3, "grep", "", true)->job->spec->name, "grep-3");
    assert_int_equal(get_job(&world, 2, NULL, false)->job->map_tasks, 2);
    assert_int_equal(get_job(&world, 0, "grep-2", false)->job->reduce_tasks, 1);
    assert_int_equal(get_job(&world, 0, "gre", false)->code, ERR_NO_SUCH_JOB);
    assert_int_equal(get_job(&world, 1, NULL, false)->job->spec->n_inputs, 0);
    assert_int_equal(get_job(&world, 1, NULL, true)->job->spec->n_inputs, 2);
    assert_int_equal(list_jobs(&world, true, false), 3);
    assert_int_equal(submit_job(&world, 4, "", "", false)->code, ERR_INVALID);
    world_close(&world);
}

/* First leases go with a new job, and not with one that was submitted before. */
static void test_submit_with_leases(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    Pb__TaskLease *leases[] = {lease_of(&world, 1, 0, 1, 0), lease_of(&world, 1, 0, 9, 0)};
    for (unsigned time = 0; time < 2; time++) {
        const Pb__Reply *reply = submit_leased(&world, 1, leases, 2);
        assert_int_equal(reply->code, 0);
        assert_int_equal(reply->n_leases, time == 0);
        assert_int_equal(reply->job->lease_epoch, time);
    }
    assert_true(commit(&world, 1, 0, 1, 1, true, false));
    assert_int_equal(grant(&world, 1, 0, 0), 2);
    static Pb__TaskLease *too_many[5000];
    for (unsigned i = 0; i < 5000; i++)
        too_many[i] = leases[0];
    assert_int_equal(submit_leased(&world, 2, too_many, 5000)->code, ERR_LIMIT);
    assert_int_equal(get_job(&world, 2, NULL, false)->code, ERR_NO_SUCH_JOB);
    world_close(&world);
}

static void test_map_and_reduce(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    submit_job_to(&world, 1, "wc", "cat", false, "out");
    assert_int_equal(grant(&world, 1, 1, 0), 0); /* reduce waits for the maps */
    assert_int_equal(grant(&world, 1, 0, 4), 0); /* no such task */
    assert_int_equal(grant(&world, 9, 0, 0), 0); /* no such job */
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(grant(&world, 1, 0, i), i + 1);
        assert_int_equal(grant(&world, 1, 0, i), 0); /* taken */
    }
    assert_int_equal(list_tasks(&world, 1, 0, 0, 0)->n_tasks, 4);
    assert_true(list_tasks(&world, 1, 0, 1, 2)->truncated);
    for (uint32_t i = 0; i < 4; i++)
        assert_true(commit(&world, 1, 0, i, i + 1, true, false));
    assert_true(commit(&world, 1, 0, 3, 4, true, false)); /* again: it was taken */
    assert_false(commit(&world, 1, 0, 3, 3, true, false));
    assert_int_equal(finish(&world, 1, PB__JOB_STATE__JOB_COMMITTED)->code,
                     ERR_CONFLICT); /* reduce is not done */
    assert_int_equal(finish(&world, 1, PB__JOB_STATE__JOB_RUNNING)->code, ERR_INVALID);
    assert_true(commit(&world, 1, 1, 0, grant(&world, 1, 1, 0), true, false));
    const Pb__Job *job = get_job(&world, 1, NULL, false)->job;
    assert_int_equal(job->map_done, 4);
    assert_int_equal(job->reduce_done, 1);
    assert_int_equal(job->usage->wall_us, 50);
    assert_int_equal(job->usage->peak_bytes, 400);
    assert_int_equal(finish(&world, 1, PB__JOB_STATE__JOB_COMMITTED)->code, 0);
    const Pb__Reply *late = finish(&world, 1, PB__JOB_STATE__JOB_CANCELLED);
    assert_int_equal(late->code, ERR_CONFLICT);
    assert_int_equal(late->job->state, PB__JOB_STATE__JOB_COMMITTED);
    assert_int_equal(grant(&world, 1, 0, 0), 0);
    assert_true(commit(&world, 1, 0, 3, 4, true,
                       false)); /* it had been taken: its chunks are not garbage */
    assert_false(commit(&world, 1, 0, 3, 9, true, false));
    world_close(&world);
}

static void test_the_last_result_commits_a_job_without_outputs(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    submit_job(&world, 1, "grep", "", true);
    submit_job(&world, 2, "count", "cat", true);
    uint64_t first = grant(&world, 1, 0, 0), second = grant(&world, 1, 0, 1);
    assert_int_equal(commit_result(&world, 1, 0, 0, first, true, false)->n_jobs, 0);
    const Pb__Reply *reply = commit_result(&world, 1, 0, 1, second, true, false);
    assert_int_equal(reply->n_jobs, 1);
    assert_int_equal(reply->jobs[0]->state, PB__JOB_STATE__JOB_COMMITTED);
    assert_true(reply->jobs[0]->settled);
    assert_int_equal(get_job(&world, 1, NULL, false)->job->state, PB__JOB_STATE__JOB_COMMITTED);
    assert_true(commit(&world, 1, 0, 1, second, true, false)); /* sent again */
    assert_int_equal(list_jobs(&world, true, true), 1);
    for (uint32_t i = 0; i < 2; i++)
        assert_true(commit(&world, 2, 0, i, grant(&world, 2, 0, i), true, false));
    reply = commit_result(&world, 2, 1, 0, grant(&world, 2, 1, 0), true, false);
    assert_int_equal(reply->n_jobs, 1);
    assert_false(reply->jobs[0]->settled); /* what was reduced is to be dropped */
    assert_int_equal(list_jobs(&world, false, true), 1);
    assert_int_equal(list_jobs(&world, true, false), 0);
    world_close(&world);
}

static void test_retries(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    submit_job(&world, 1, "wc", "", false);
    uint64_t first = grant(&world, 1, 0, 0);
    assert_int_equal(release(&world, 1, 0, first + 1), 0);
    assert_int_equal(release(&world, 1, 0, first), 1);
    assert_int_equal(release(&world, 1, 0, first), 0);
    assert_false(
        commit(&world, 1, 0, 0, first, true, false)); /* a result after the lease was lost */
    const Pb__Task *task = list_tasks(&world, 1, 0, 0, 0)->tasks[0];
    assert_int_equal(task->state, PB__TASK_STATE__TASK_WAITING);
    assert_string_equal(task->result->reason, "lost worker");
    assert_true(commit(&world, 1, 0, 0, grant(&world, 1, 0, 0), false, true));
    task = list_tasks(&world, 1, 0, 0, 0)->tasks[0];
    assert_int_equal(task->attempts, 2);
    assert_int_equal(task->state, PB__TASK_STATE__TASK_WAITING);
    assert_true(commit(&world, 1, 0, 0, grant(&world, 1, 0, 0), false, false));
    assert_int_equal(list_tasks(&world, 1, 0, 0, 0)->tasks[0]->state, PB__TASK_STATE__TASK_FAILED);
    assert_int_equal(get_job(&world, 1, NULL, false)->job->failed, 1);
    assert_int_equal(get_job(&world, 1, NULL, false)->job->retried, 2);
    assert_int_equal(grant(&world, 1, 0, 0), 0);
    world_close(&world);
}

static void test_settle_and_forget(void **state) {
    (void)state;
    struct world world;
    world_open(&world, 0);
    size_t empty = catalog_memory_count(world.memory);
    submit_job(&world, 1, "wc", "", false);
    grant(&world, 1, 0, 0);
    Pb__MarkSettled settled = PB__MARK_SETTLED__INIT;
    Pb__ForgetJob forget = PB__FORGET_JOB__INIT;
    settled.job = forget.job = make_id(&world, 1);
    assert_int_equal(submit_op(&world, mark_settled, MARK_SETTLED, &settled)->code, ERR_CONFLICT);
    assert_int_equal(list_jobs(&world, false, true), 0);
    finish(&world, 1, PB__JOB_STATE__JOB_FAILED);
    assert_int_equal(list_jobs(&world, true, false), 0);
    assert_int_equal(list_jobs(&world, false, true), 1);
    assert_int_equal(submit_op(&world, forget_job, FORGET_JOB, &forget)->code, ERR_CONFLICT);
    assert_int_equal(submit_op(&world, mark_settled, MARK_SETTLED, &settled)->code, 0);
    assert_int_equal(submit_op(&world, mark_settled, MARK_SETTLED, &settled)->code, 0);
    assert_int_equal(list_jobs(&world, false, true), 0);
    assert_int_equal(list_jobs(&world, false, false), 1);
    assert_int_equal(submit_op(&world, forget_job, FORGET_JOB, &forget)->code, 0);
    assert_int_equal(list_jobs(&world, false, false), 0);
    assert_int_equal(catalog_memory_count(world.memory),
                     empty + world.slot); /* what is remembered of the slots */
    assert_int_equal(submit_op(&world, forget_job, FORGET_JOB, &forget)->code, ERR_NO_SUCH_JOB);
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_nodes_come),
        cmocka_unit_test(test_groups_move_to_new_voters),
        cmocka_unit_test(test_submit),
        cmocka_unit_test(test_submit_with_leases),
        cmocka_unit_test(test_map_and_reduce),
        cmocka_unit_test(test_the_last_result_commits_a_job_without_outputs),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_settle_and_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
