/* A whole worker with real sandboxes, between a scheduler and a store that are made here. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/crc.h"
#include "os/clock.h"
#include "worker/scratch.h"
#include "worker/worker.h"
#include "worker/roster.h"

/* ---- the store: chunks in memory, named by the first byte of their id ---- */

#define CHUNKS_MAX 200

static struct {
    pthread_mutex_t mutex;
    struct buf chunks[CHUNKS_MAX];
    unsigned count;
    bool has_files; /* store_open_local works */
    int read_code;  /* of store_read, when it is to fail */
} store = {.mutex = PTHREAD_MUTEX_INITIALIZER};

struct store_write {
    struct buf data;
};

static struct chunk_ref put_chunk(const char *data, size_t size) {
    pthread_mutex_lock(&store.mutex);
    assert_true(store.count < CHUNKS_MAX);
    struct chunk_ref ref = {
        {{(uint8_t)store.count}}, size, crc32c_update(0, data, size), data[size - 1] == '\n'};
    buf_append(&store.chunks[store.count++], data, size);
    pthread_mutex_unlock(&store.mutex);
    return ref;
}

int store_open_local(struct store_client *client, struct id128 id, int *ret_fd, struct err *err) {
    if (!store.has_files)
        return ERR_NOT_FOUND;
    const struct buf *chunk = &store.chunks[id.bytes[0]];
    *ret_fd = memfd_create("chunk", MFD_CLOEXEC);
    return pwrite(*ret_fd, chunk->data, chunk->size, 0) == (ssize_t)chunk->size ? 0 : ERR_IO;
}

int store_read(struct store_client *client, const struct chunk_ref *ref, uint64_t offset,
               uint64_t length, store_sink *sink, void *context, uint64_t deadline_ns,
               struct err *err) {
    if (store.read_code != 0)
        return err_set(err, store.read_code, "no holder answers");
    const struct buf *chunk = &store.chunks[ref->id.bytes[0]];
    assert_true(offset + length <= chunk->size);
    int code = 0;
    for (uint64_t at = 0; at < length && code == 0; at += CHUNK_BLOCK_BYTES)
        code = sink(context, chunk->data + offset + at,
                    length - at < CHUNK_BLOCK_BYTES ? (size_t)(length - at) : CHUNK_BLOCK_BYTES);
    return code;
}

int store_write_begin(struct store_client *client, uint64_t length_max, uint64_t deadline_ns,
                      struct store_write **ret_write, struct err *err) {
    *ret_write = calloc(1, sizeof **ret_write);
    (*ret_write)->data.limit = CHUNK_BYTES_MAX + 1;
    return 0;
}

int store_write_append(struct store_write *write, const void *data, size_t size,
                       uint64_t deadline_ns, struct err *err) {
    buf_append(&write->data, data, size);
    return write->data.failed ? ERR_LIMIT : 0;
}

int store_write_end(struct store_write *write, uint64_t deadline_ns, struct chunk_ref *ret_chunk,
                    struct err *err) {
    *ret_chunk = put_chunk(write->data.data, write->data.size);
    store_write_abort(write);
    return 0;
}

struct store_write *store_write_abort(struct store_write *write) {
    buf_fini(&write->data);
    free(write);
    return NULL;
}

int store_delete(struct store_client *client, const struct id128 *ids, unsigned count,
                 uint64_t deadline_ns, struct err *err) {
    return 0;
}

/* ---- the catalogue's map: one node ---- */

static struct place_map *map;

struct place_map *meta_map(struct meta_client *client) {
    return place_map_ref(map);
}

/* ---- the scheduler: works are handed out in order, results kept ---- */

#define WORKS_MAX 600

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    Pb__TaskWork *works[WORKS_MAX];
    struct buf packed[WORKS_MAX];
    unsigned work_count, granted, done;
    Pb__TaskResult *results[WORKS_MAX];
    int lose;    /* index of a task whose lease is lost, or -1 */
    bool silent; /* no call is answered */
    unsigned renewals;
} sched = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .lose = -1};

struct sched_client *sched_client_new(struct meta_client *meta, struct rpc_client *rpc) {
    return (struct sched_client *)&sched;
}

struct sched_client *sched_client_free(struct sched_client *client) {
    return NULL;
}

static Pb__TaskLease **lost_lease(struct arena *arena, Pb__TaskLease *const *running, size_t count,
                                  size_t *ret_count) {
    Pb__TaskLease **lost = arena_array(arena, Pb__TaskLease *, count + 1);
    *ret_count = 0;
    for (size_t i = 0; i < count; i++)
        if ((int)running[i]->task->index == sched.lose)
            lost[(*ret_count)++] = running[i];
    sched.renewals += count > 0;
    return lost;
}

int sched_client_poll(struct sched_client *client, const Pb__TaskPoll *poll, uint64_t deadline_ns,
                      struct arena *arena, Pb__TaskGrant **ret_grant, struct err *err) {
    pthread_mutex_lock(&sched.mutex);
    for (int i = 0; i < 20 && (sched.granted == sched.work_count || sched.silent) && sched.lose < 0;
         i++) {
        pthread_mutex_unlock(&sched.mutex);
        usleep(5000);
        pthread_mutex_lock(&sched.mutex);
    }
    Pb__TaskGrant *grant = arena_new(arena, Pb__TaskGrant);
    pb__task_grant__init(grant);
    grant->work = arena_array(arena, Pb__TaskWork *, poll->slots);
    while (!sched.silent && grant->n_work < poll->slots && sched.granted < sched.work_count)
        assert_int_equal(pb_unpack(&pb__task_work__descriptor,
                                   buf_span(&sched.packed[sched.granted++]), arena,
                                   &grant->work[grant->n_work++], NULL),
                         0);
    grant->lost = lost_lease(arena, poll->running, poll->n_running, &grant->n_lost);
    *ret_grant = grant;
    int code = sched.silent ? err_set(err, ERR_NO_LEADER, "silent") : 0;
    pthread_mutex_unlock(&sched.mutex);
    return code;
}

int sched_client_renew(struct sched_client *client, const Pb__TaskRenew *renew,
                       uint64_t deadline_ns, struct arena *arena, Pb__TaskRenewed **ret_renewed,
                       struct err *err) {
    pthread_mutex_lock(&sched.mutex);
    *ret_renewed = arena_new(arena, Pb__TaskRenewed);
    pb__task_renewed__init(*ret_renewed);
    (*ret_renewed)->lost =
        lost_lease(arena, renew->running, renew->n_running, &(*ret_renewed)->n_lost);
    int code = sched.silent ? err_set(err, ERR_NO_LEADER, "silent") : 0;
    pthread_mutex_unlock(&sched.mutex);
    return code;
}

int sched_client_commit(struct sched_client *client, const Pb__TaskCommits *commits,
                        uint64_t deadline_ns, struct arena *arena,
                        Pb__TaskCommitted **ret_committed, struct err *err) {
    pthread_mutex_lock(&sched.mutex);
    for (size_t i = 0; i < commits->n_commits && !sched.silent; i++) {
        _cleanup_(buf_finip) struct buf packed = BUF_INIT;
        unsigned index = commits->commits[i]->lease->task->index;
        pb_pack(&packed, &commits->commits[i]->result->base);
        assert_null(sched.results[index]);
        sched.results[index] = pb__task_result__unpack(NULL, packed.size, (uint8_t *)packed.data);
        sched.done++;
    }
    pthread_cond_broadcast(&sched.changed);
    int code = sched.silent ? err_set(err, ERR_NO_LEADER, "silent") : 0;
    pthread_mutex_unlock(&sched.mutex);
    return code;
}

/* ---- the story ---- */

struct fixture {
    char dir[64];
    struct launcher *launcher;
    struct worker *worker;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct err err = {0};
    snprintf(f->dir, sizeof f->dir, "/tmp/quern-worker-test-XXXXXX");
    if (mkdtemp(f->dir) == NULL || launcher_start(f->dir, &f->launcher, &err) != 0)
        return -1;
    map = place_map_new(1, 4, 1);
    map->nodes[0] = (struct place_node){.id = 1, .roles = ROLE_ALL, .weight = 1};
    if (place_assign(map, NULL, &err) != 0)
        return -1;
    const struct worker_options options = {
        .launcher = f->launcher, .self = 1, .slots = 2, .dir = f->dir};
    *state = f;
    store.has_files = true;
    return worker_start(&options, NULL, NULL, NULL, &f->worker, &err);
}

static void remove_folder(const char *dir) {
    char files[128];
    snprintf(files, sizeof files, "%s/" SCRATCH_FILES, dir);
    rmdir(files);
    rmdir(dir);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    worker_stop(f->worker);
    launcher_stop(f->launcher);
    remove_folder(f->dir);
    place_map_unref(map);
    for (unsigned i = 0; i < sched.work_count; i++) {
        buf_fini(&sched.packed[i]);
        if (sched.results[i] != NULL)
            pb__task_result__free_unpacked(sched.results[i], NULL);
        sched.results[i] = NULL;
    }
    for (unsigned i = 0; i < store.count; i++)
        buf_fini(&store.chunks[i]);
    sched.work_count = sched.granted = sched.done = sched.renewals = store.count = 0;
    sched.lose = -1;
    sched.silent = false;
    store.read_code = 0;
    free(f);
    return 0;
}

/* A map task over chunks[at], with what follows; argv NULL: command is for the shell. */
static void add_task(const char *command, const struct chunk_ref *chunks, unsigned count,
                     unsigned at, const char *inline_data, uint64_t time_ms) {
    static uint8_t job[16] = {1};
    pthread_mutex_lock(&sched.mutex);
    Pb__TaskAddress address = PB__TASK_ADDRESS__INIT;
    Pb__TaskLease lease = PB__TASK_LEASE__INIT;
    Pb__TaskInput input = PB__TASK_INPUT__INIT;
    Pb__TaskWork work = PB__TASK_WORK__INIT;
    Pb__ChunkRef refs[CHUNKS_MAX], *pointers[CHUNKS_MAX];
    address.job = pb_bytes(job, sizeof job);
    address.index = sched.work_count;
    lease.task = &address;
    lease.lease_epoch = 7;
    lease.attempt = 1;
    for (unsigned i = 0; i < count; i++) {
        refs[i] = (Pb__ChunkRef)PB__CHUNK_REF__INIT;
        refs[i].id = pb_id(&chunks[i].id);
        refs[i].length = chunks[i].length;
        refs[i].ends_line = chunks[i].ends_line;
        pointers[i] = &refs[i];
        input.offset += i < at ? chunks[i].length : 0;
    }
    input.bucket = (char *)(uintptr_t) "b";
    input.key = (char *)(uintptr_t) "key";
    input.chunks = &pointers[at];
    input.n_chunks = count > 0;
    input.following = &pointers[at + 1];
    input.n_following = count > 0 ? count - at - 1 : 0;
    input.inside_record = at > 0 && !chunks[at - 1].ends_line;
    input.inline_data = pb_bytes(inline_data, inline_data != NULL ? strlen(inline_data) : 0);
    work.lease = &lease;
    work.job_name = (char *)(uintptr_t) "test-1";
    work.command = (char *)(uintptr_t)command;
    work.records = (char *)(uintptr_t) "line";
    work.time_limit_ms = time_ms;
    work.input = &input;
    pb_pack(&sched.packed[sched.work_count++], &work.base);
    pthread_mutex_unlock(&sched.mutex);
}

static bool wait_done(unsigned count, uint64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(ms / 1000);
    pthread_mutex_lock(&sched.mutex);
    while (sched.done < count && pthread_cond_timedwait(&sched.changed, &sched.mutex, &until) == 0)
        continue;
    bool done = sched.done >= count;
    pthread_mutex_unlock(&sched.mutex);
    return done;
}

static void assert_output(unsigned index, const char *want) {
    const Pb__TaskResult *result = sched.results[index];
    assert_non_null(result);
    if (!result->ok)
        print_error("%s: %.*s\n", result->reason, (int)result->stderr_tail.len,
                    (char *)result->stderr_tail.data);
    assert_true(result->ok);
    assert_int_equal(result->output_bytes, strlen(want));
    assert_int_equal(result->output_crc32c, crc32c_update(0, want, strlen(want)));
    assert_int_equal(result->inline_output.len, strlen(want));
    assert_memory_equal(result->inline_output.data, want, strlen(want));
}

static void test_inputs(void **state) {
    (void)state;
    const struct chunk_ref whole[] = {put_chunk("one\ntwo\n", 8), put_chunk("three\n", 6)};
    const struct chunk_ref torn[] = {put_chunk("one\ntw", 6), put_chunk("o", 1),
                                     put_chunk("x\nthree\nfo", 10), put_chunk("ur", 2)};
    add_task("cat", whole, 2, 0, NULL, 0);
    add_task("cat", whole, 2, 1, NULL, 0);
    for (unsigned i = 0; i < 4; i++)
        add_task("cat", torn, 4, i, NULL, 0);
    add_task("cat", NULL, 0, 0, "inline\n", 0);
    add_task("cat /dev/stdin | tee /dev/stderr > /dev/stdout", torn, 4, 2, NULL, 0);
    add_task("echo $QUERN_JOB $QUERN_PHASE $QUERN_TASK $QUERN_ATTEMPT $QUERN_BUCKET $QUERN_KEY "
             "$QUERN_OFFSET",
             whole, 2, 1, NULL, 0);
    assert_true(wait_done(9, 20000));
    assert_output(0, "one\ntwo\n");
    assert_output(1, "three\n");
    assert_output(2, "one\ntwox\n");
    assert_output(3, "");
    assert_output(4, "three\nfour");
    assert_output(5, "");
    assert_output(6, "inline\n");
    assert_output(7, "three\nfour");
    assert_output(8, "test-1 map 8 1 b key 8\n");
    assert_true(sched.results[0]->usage->local_bytes == 8 && sched.results[0]->usage->wall_us > 0);
}

static void test_failures(void **state) {
    (void)state;
    add_task("echo why >&2; exit 3", NULL, 0, 0, "x", 0);
    add_task("grep nothing", NULL, 0, 0, "x\n", 0);
    add_task("exit 75", NULL, 0, 0, "x", 0);
    add_task("sleep 60", NULL, 0, 0, "x", 100);
    assert_true(wait_done(4, 20000));
    assert_false(sched.results[0]->ok);
    assert_false(sched.results[0]->retry);
    assert_int_equal(sched.results[0]->exit_status, 3);
    assert_string_equal(sched.results[0]->reason, "exit 3");
    assert_memory_equal(sched.results[0]->stderr_tail.data, "why\n", 4);
    assert_output(1, "");
    assert_true(sched.results[2]->retry);
    assert_string_equal(sched.results[3]->reason, "over its time limit");
    store.read_code = ERR_TIMEOUT;
    store.has_files = false;
    const struct chunk_ref gone = put_chunk("gone\n", 5);
    add_task("cat", &gone, 1, 0, NULL, 0);
    assert_true(wait_done(5, 20000));
    assert_true(!sched.results[4]->ok && sched.results[4]->retry);
    assert_string_equal(sched.results[4]->reason, "no holder answers");
}

/* More than 64 MiB: two chunks, the first cut after a line. */
static void test_large_output(void **state) {
    (void)state;
    add_task("seq 1000000 9999999 | head -c 70000000", NULL, 0, 0, "x", 0);
    assert_true(wait_done(1, 60000));
    const Pb__TaskResult *result = sched.results[0];
    assert_true(result->ok);
    assert_int_equal(result->output_bytes, 70000000);
    assert_int_equal(result->n_output, 2);
    assert_true(result->output[0]->ends_line && result->output[0]->length <= CHUNK_BYTES_MAX);
    const struct buf *first = &store.chunks[result->output[0]->id.data[0]], *second = first + 1;
    assert_int_equal(
        crc32c_update(crc32c_update(0, first->data, first->size), second->data, second->size),
        result->output_crc32c);
    assert_memory_equal(first->data, "1000000\n1000001\n", 16);
}

static void test_long_record(void **state) {
    (void)state;
    const size_t size = 3 << 20;
    char *data = malloc(size);
    memset(data, 'x', size);
    memcpy(data, "ok\n", 3);
    const struct chunk_ref chunks[] = {put_chunk(data, 1000), put_chunk(data + 1000, size - 1000)};
    free(data);
    add_task("cat", chunks, 2, 0, NULL, 0);
    assert_true(wait_done(1, 20000));
    assert_false(sched.results[0]->ok || sched.results[0]->retry);
    assert_string_equal(sched.results[0]->reason,
                        "key: the record at byte 3 is longer than 1048576 bytes");
}

static void test_lost_lease(void **state) {
    (void)state;
    add_task("sleep 60", NULL, 0, 0, "x", 0);
    add_task("echo next", NULL, 0, 0, "x", 0);
    assert_true(wait_done(1, 20000));
    assert_output(1, "next\n");
    pthread_mutex_lock(&sched.mutex);
    sched.lose = 0;
    pthread_mutex_unlock(&sched.mutex);
    usleep(300000);
    pthread_mutex_lock(&sched.mutex);
    sched.lose = -1;
    pthread_mutex_unlock(&sched.mutex);
    add_task("echo one", NULL, 0, 0, "x", 0);
    add_task("sleep 0.1; echo two", NULL, 0, 0, "x", 0);
    assert_true(wait_done(3, 20000));
    assert_null(sched.results[0]); /* never given in */
    assert_output(3, "two\n");
}

static void set_silent(bool silent) {
    pthread_mutex_lock(&sched.mutex);
    sched.silent = silent;
    pthread_mutex_unlock(&sched.mutex);
}

/* Short silence (a change of leader) kills nothing; a long one does. */
static void test_silent_scheduler(void **state) {
    (void)state;
    add_task("sleep 1.5; echo slow", NULL, 0, 0, "x", 0);
    usleep(200000);
    set_silent(true);
    usleep(1500000);
    set_silent(false);
    assert_true(wait_done(1, 20000));
    assert_output(0, "slow\n");
    add_task("sleep 60", NULL, 0, 0, "x", 0);
    usleep(200000);
    set_silent(true);
    usleep((SCHED_LEASE_MS + 500) * 1000);
    set_silent(false);
    add_task("echo one", NULL, 0, 0, "x", 0);
    add_task("sleep 0.1; echo two", NULL, 0, 0, "x", 0); /* both slots are free */
    assert_true(wait_done(3, 20000));
    assert_null(sched.results[1]);
}

static void test_many(void **state) {
    (void)state;
    for (unsigned i = 0; i < 500; i++)
        add_task("true", NULL, 0, 0, "x", 0);
    uint64_t started_ns = clock_now_ns();
    assert_true(wait_done(500, 60000));
    print_message("# %.0f tasks/s\n", 500 / ((double)(clock_now_ns() - started_ns) / 1e9));
    assert_output(499, "");
}

int main(void) {
    pthread_mutex_init(&store.mutex, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_inputs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_output, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent_scheduler, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
