/* The state store: batches, reading through them, snapshots, iteration, and what a crash leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/kv.h"
#include "os/space.h"
#include "test/lib/fake_space.h"
#include "test/lib/temp_dir.h"

static char dir[TEMP_DIR_SIZE];

static int setup(void **state) {
    assert_int_equal(temp_dir_make(dir), 0);
    struct kv *kv;
    assert_int_equal(kv_open(dir, &(struct kv_options){0}, &kv, NULL), 0);
    *state = kv;
    return 0;
}

static int teardown(void **state) {
    fake_space_set(0, NULL, 0);
    kv_close(*state);
    return temp_dir_remove(dir);
}

static void put(struct kv *kv, const char *key, const char *value) {
    struct kv_batch *batch = kv_batch_new(kv);
    kv_batch_put(batch, span_of(key), span_of(value));
    assert_int_equal(kv_write(kv, batch, NULL), 0);
    assert_int_equal(kv_batch_count(batch), 0);
    kv_batch_free(batch);
}

static void assert_value(struct kv *kv, const struct kv_snapshot *snapshot, const char *key,
                         const char *wanted) {
    struct buf value = BUF_INIT;
    int r = kv_get(kv, snapshot, span_of(key), &value, NULL);
    if (wanted == NULL) {
        assert_int_equal(r, ERR_NOT_FOUND);
        assert_int_equal(value.size, 0);
    } else {
        assert_int_equal(r, 0);
        assert_true(span_is(buf_span(&value), wanted));
    }
    buf_fini(&value);
}

static void test_batch_reads_its_own_writes(void **state) {
    struct kv *kv = *state;
    put(kv, "a", "1");
    put(kv, "b", "2");
    struct kv_batch *batch = kv_batch_new(kv);
    kv_batch_put(batch, span_of("b"), span_of("22"));
    kv_batch_put(batch, span_of("c"), span_of("3"));
    kv_batch_delete(batch, span_of("a"));
    struct buf value = BUF_INIT;
    assert_int_equal(kv_batch_get(batch, span_of("a"), &value, NULL), ERR_NOT_FOUND);
    assert_int_equal(kv_batch_get(batch, span_of("b"), &value, NULL), 0);
    assert_true(span_is(buf_span(&value), "22"));
    buf_fini(&value);
    assert_value(kv, NULL, "b", "2");

    struct kv_iter *iter = kv_batch_iter(batch);
    kv_iter_seek(iter, span_of(""));
    assert_true(kv_iter_valid(iter) && span_is(kv_iter_key(iter), "b"));
    assert_true(span_is(kv_iter_value(iter), "22"));
    kv_iter_next(iter);
    assert_true(kv_iter_valid(iter) && span_is(kv_iter_key(iter), "c"));
    kv_iter_next(iter);
    assert_false(kv_iter_valid(iter));
    assert_int_equal(kv_iter_error(iter, NULL), 0);
    kv_iter_free(iter);

    assert_int_equal(kv_write(kv, batch, NULL), 0);
    kv_batch_free(batch);
    assert_value(kv, NULL, "a", NULL);
    assert_value(kv, NULL, "b", "22");
}

static void test_snapshot_stands_still(void **state) {
    struct kv *kv = *state;
    put(kv, "k", "old");
    struct kv_snapshot *snapshot = kv_snapshot_new(kv);
    put(kv, "k", "new");
    put(kv, "l", "x");
    assert_value(kv, snapshot, "k", "old");
    assert_value(kv, snapshot, "l", NULL);
    assert_value(kv, NULL, "k", "new");
    struct kv_iter *iter = kv_iter_new(kv, snapshot);
    kv_iter_seek(iter, span_of("k"));
    assert_true(span_is(kv_iter_value(iter), "old"));
    kv_iter_next(iter);
    assert_false(kv_iter_valid(iter));
    kv_iter_free(iter);
    kv_snapshot_free(kv, snapshot);
}

/* Writes, flushes, writes again; *state becomes a store opened from what lies on the disk at that
 * moment. */
static void write_and_crash(void **state, bool wal) {
    kv_close(*state);
    struct kv *kv;
    assert_int_equal(kv_open(dir, &(struct kv_options){.wal = wal}, &kv, NULL), 0);
    put(kv, "flushed", "1");
    assert_int_equal(kv_flush(kv, NULL), 0);
    put(kv, "later", "1");
    char command[256];
    snprintf(command, sizeof command, "mkdir %s/copy && cd %s && cp -p [A-Z0-9]* copy", dir, dir);
    assert_int_equal(system(command), 0);
    kv_close(kv);
    snprintf(command, sizeof command, "%s/copy", dir);
    assert_int_equal(kv_open(command, &(struct kv_options){.wal = wal}, &kv, NULL), 0);
    *state = kv;
}

static void test_crash_keeps_what_was_flushed(void **state) {
    write_and_crash(state, false);
    assert_value(*state, NULL, "flushed", "1");
    assert_value(*state, NULL, "later", NULL);
}

static void test_crash_with_wal_keeps_all(void **state) {
    write_and_crash(state, true);
    assert_value(*state, NULL, "flushed", "1");
    assert_value(*state, NULL, "later", "1");
}

/* All that lies in the tables. */
static void damage_tables(void) {
    char command[256];
    snprintf(command, sizeof command,
             "for f in %s/*.sst; do head -c 3000 /dev/zero | tr '\\0' x | dd of=$f conv=notrunc "
             "status=none; done",
             dir);
    assert_int_equal(system(command), 0);
}

static int read_back(struct kv *kv, const char *key) {
    struct buf value = BUF_INIT;
    int r = kv_get(kv, NULL, span_of(key), &value, NULL);
    buf_fini(&value);
    return r;
}

/* A process of its own: this test once more, with the folder as its only word. */
static int find_corrupt_here(const char *path) {
    struct kv *kv;
    close(STDERR_FILENO);
    if (kv_open(path, &(struct kv_options){.replaceable = true}, &kv, NULL) == 0)
        read_back(kv, "k1");
    return 0;
}

/* The process that finds it ends. */
static void find_corrupt(void) {
    char name[] = "kv_test", *words[] = {name, dir, NULL};
    pid_t child;
    int status;
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void note_corrupt(void *context, const struct err *why) {
    assert_int_equal(why->code, ERR_CORRUPT);
    ++*(int *)context;
}

static void put_many(struct kv *kv) {
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        put(kv, key, "a value of some length");
    }
    assert_int_equal(kv_flush(kv, NULL), 0);
}

static void test_a_corrupt_one_is_made_anew(void **state) {
    struct kv *kv = *state;
    put_many(kv);
    kv_close(kv);
    *state = NULL;
    damage_tables();
    assert_int_equal(kv_open(dir, &(struct kv_options){0}, &kv, NULL), 0);
    assert_int_equal(read_back(kv, "k1"),
                     ERR_CORRUPT); /* not replaceable: what is left is served */
    kv_close(kv);
    find_corrupt();
    struct err err = {0};
    assert_int_equal(kv_open(dir, &(struct kv_options){0}, &kv, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "found corrupt before"));
    assert_int_equal(kv_destroy(dir, &err), 0);
    assert_int_equal(kv_open(dir, &(struct kv_options){0}, &kv, &err), 0);
    *state = kv;
    assert_value(kv, NULL, "k1", NULL);
}

static void test_who_asks_is_told_that_it_is_corrupt(void **state) {
    struct kv *kv = *state;
    int told = 0;
    struct kv_options options = {.replaceable = true, .corrupt = note_corrupt, .context = &told};
    put_many(kv);
    kv_close(kv);
    damage_tables();
    assert_int_equal(kv_open(dir, &options, &kv, NULL), 0);
    *state = kv;
    assert_int_equal(read_back(kv, "k1"), ERR_CORRUPT);
    assert_int_equal(told, 1);
}

/* Reads all; how often it had to. */
static int scrub_all(struct kv *kv, unsigned *ret_steps, uint64_t *ret_bytes) {
    struct buf position = BUF_INIT;
    int r = 0;
    *ret_bytes = *ret_steps = 0;
    do {
        uint64_t bytes = 0;
        r = kv_scrub(kv, &position, 10000, &bytes, NULL);
        *ret_bytes += bytes;
        (*ret_steps)++;
    } while (r == 0 && position.size > 0);
    buf_fini(&position);
    return r;
}

static void test_a_scrub_reads_all_and_survives(void **state) {
    struct kv *kv = *state;
    unsigned steps;
    uint64_t bytes;
    assert_int_equal(scrub_all(kv, &steps, &bytes), 0);
    assert_int_equal(bytes, 0);
    put_many(kv);
    assert_int_equal(scrub_all(kv, &steps, &bytes), 0);
    assert_in_range(bytes, 2000 * 24, 2000 * 30);
    assert_int_equal(steps, bytes / 10000 + 1);
    assert_in_range(kv_file_bytes(kv), 10000, 200000);
    kv_close(kv);
    damage_tables();
    assert_int_equal(kv_open(dir, &(struct kv_options){.replaceable = true}, &kv, NULL), 0);
    *state = kv;
    assert_int_equal(scrub_all(kv, &steps, &bytes), ERR_CORRUPT); /* and the process goes on */
}

/* ---- little room ---- */

static int count_tables(void) {
    char command[256];
    snprintf(command, sizeof command, "exit $(ls %s/*.sst | wc -l)", dir);
    int status = system(command);
    return WEXITSTATUS(status);
}

/* The tables overlap: what does not is moved, not compacted. */
static void flush_one(struct kv *kv) {
    put(kv, "a", "a value");
    put(kv, "k", "a value");
    assert_int_equal(kv_flush(kv, NULL), 0);
}

#define MANY 7 /* RocksDB compacts 4 */

static void open_with_ballast(void **state, const char *ballast) {
    struct kv *kv;
    kv_close(*state);
    assert_int_equal(kv_open(dir, &(struct kv_options){.ballast = ballast}, &kv, NULL), 0);
    *state = kv;
}

static void test_it_is_not_compacted_without_room(void **state) {
    open_with_ballast(state, NULL);
    fake_space_set(0, dir, SPACE_COMPACT_BYTES - 4096);
    for (int i = 0; i < MANY; i++)
        flush_one(*state);
    assert_int_equal(count_tables(), MANY);
    open_with_ballast(state, NULL); /* nor when it is opened */
    flush_one(*state);
    assert_int_equal(count_tables(), MANY + 1);
    fake_space_set(0, dir, SPACE_COMPACT_BYTES);
    flush_one(*state);
    for (int i = 0; i < 1000 && count_tables() > 4; i++)
        usleep(10000);
    assert_in_range(count_tables(), 1, 4);
    assert_value(*state, NULL, "k", "a value");
}

static void test_it_flushes_into_the_ballast(void **state) {
    char ballast[TEMP_DIR_SIZE + 16];
    snprintf(ballast, sizeof ballast, "%s/ballast", dir);
    open_with_ballast(state, ballast);
    for (int opening = 0; opening < 2; opening++) {
        fake_space_set(0, NULL, 0);
        assert_int_equal(space_keep_ballast(ballast, UINT64_MAX, NULL), 0);
        flush_one(*state);
        assert_int_equal(access(ballast, F_OK), 0);
        assert_true(kv_has_room(*state));
        fake_space_set(0, dir, SPACE_NONE_BYTES - 4096);
        if (opening)
            open_with_ballast(state, ballast);
        else
            flush_one(*state);
        assert_int_equal(access(ballast, F_OK), -1);
        assert_false(kv_has_room(*state));
    }
}

static void test_errors_have_a_story(void **state) {
    struct err err = {0};
    struct kv *untouched = *state;
    assert_int_not_equal(kv_open("/proc/nowhere", &(struct kv_options){0}, &untouched, &err), 0);
    assert_ptr_equal(untouched, *state);
    assert_non_null(strstr(err.text, "opening the state store"));
}

int main(int argc, char **argv) {
    if (argc == 2)
        return find_corrupt_here(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_crash_keeps_what_was_flushed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crash_with_wal_keeps_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_corrupt_one_is_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_asks_is_told_that_it_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_scrub_reads_all_and_survives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_reads_its_own_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_is_not_compacted_without_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_flushes_into_the_ballast, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_have_a_story, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
