/* One node's chunks: recovery from every kind of loss, damage, a failing disk, a full one. */
#include "store/store_harness.h"

/* Garbage and copies of headers where nothing was written; a tail cut off; all without an index. */
static void test_recovery_ignores_garbage(void **state) {
    struct world *world = *state;
    struct sample first = sample_new(1, 50000), second = sample_new(2, 50000),
                  third = sample_new(3, 300000);
    assert_int_equal(put(world->store, &first, NULL), 0);
    struct local_write *unfinished;
    struct sample lost = sample_new(4, 1000000);
    assert_int_equal(local_write_begin(world->store, lost.id, lost.length, &unfinished, NULL), 0);
    assert_int_equal(local_write_append(unfinished, lost.data, lost.length, NULL), 0);
    assert_int_equal(put(world->store, &second, NULL), 0);
    assert_int_equal(put(world->store, &third, NULL), 0);

    /* the first's whole region again, where the unfinished one has its data: a sound header at the
     * wrong offset */
    char copy[4096 + 50000];
    struct index_entry entry;
    assert_int_equal(index_get(world->store->index, first.id, &entry, NULL), 0);
    struct volume *volume;
    assert_int_equal(volumes_get(world->store->volumes, entry.volume, first.id, &volume, NULL), 0);
    assert_int_equal(pread(volume->fd, copy, sizeof copy, (off_t)entry.offset), sizeof copy);
    volume_unref(volume);
    overwrite(world, &first, 16 * 4096, copy, sizeof copy);
    /* the third loses its end */
    assert_int_equal(index_get(world->store->index, third.id, &entry, NULL), 0);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/volumes/%016llx.volume", world->dir,
             (unsigned long long)entry.volume);
    local_write_abort(unfinished);
    lose_index(world);
    assert_int_equal(truncate(path, (off_t)(entry.offset + 4096 + 200000)), 0);

    reopen(world);
    assert_int_equal(get(world->store, &first), 0);
    assert_int_equal(get(world->store, &second), 0);
    assert_int_equal(get(world->store, &lost), ERR_NOT_FOUND);
    assert_int_equal(get(world->store, &third), ERR_CORRUPT); /* known, and to be fetched again */
    assert_int_equal(put(world->store, &third, NULL), 0);     /* as repair does */
    assert_int_equal(get(world->store, &third), 0);
    reopen(world);
    assert_int_equal(get(world->store, &third), 0);
    assert_int_equal(get(world->store, &second), 0);
    free(first.data), free(second.data), free(third.data), free(lost.data);
}

/* A kill leaves files and regions half written: they go, and their space. */
static void test_crash_in_writes(void **state) {
    struct world *world = *state;
    struct sample small = sample_new(1, 1000000), large = sample_new(2, LARGE),
                  whole = sample_new(3, 60000);
    assert_int_equal(put(world->store, &whole, NULL), 0);
    if (fork() == 0) { /* its threads are not here: it only writes */
        struct local_write *write;
        if (local_write_begin(world->store, small.id, small.length, &write, NULL) != 0 ||
            local_write_append(write, small.data, small.length, NULL) != 0 ||
            local_write_begin(world->store, large.id, large.length, &write, NULL) != 0 ||
            local_write_append(write, large.data, large.length, NULL) != 0)
            _exit(1);
        _exit(0);
    }
    int status;
    assert_true(wait(&status) > 0 && status == 0);
    assert_true(blocks_used(world) > LARGE);
    reopen(world);
    assert_int_equal(get(world->store, &whole), 0);
    assert_int_equal(get(world->store, &small), ERR_NOT_FOUND);
    assert_true(blocks_used(world) < 100000);
    assert_int_equal(put(world->store, &small, NULL), 0);
    assert_int_equal(put(world->store, &large, NULL), 0);
    assert_int_equal(get(world->store, &large), 0);
    free(small.data), free(large.data), free(whole.data);
}

static void test_damage_is_never_given(void **state) {
    struct world *world = *state;
    for (int large = 0; large < 2; large++) {
        for (int where = 0; where < 3; where++) { /* the data, the header, a checksum */
            struct sample sample =
                sample_new(20 + (unsigned)(2 * where + large), large ? LARGE : 200000);
            assert_int_equal(put(world->store, &sample, NULL), 0);
            static const int64_t offsets[] = {0, 24, 80};
            int64_t offset =
                where > 0 ? offsets[where] : (int64_t)chunk_header_room(sample.length) + 100000;
            damage(world, &sample, offset);
            assert_int_equal(get(world->store, &sample), ERR_CORRUPT);
            int fd = -1;
            assert_int_equal(local_open(world->store, sample.id, &fd, NULL), ERR_CORRUPT);
            assert_int_equal(get_range(world->store, &sample, 0, 10),
                             ERR_CORRUPT); /* the copy is bad now */
            assert_int_equal(put(world->store, &sample, NULL), 0);
            assert_int_equal(get(world->store, &sample), 0);
            free(sample.data);
        }
    }
    struct store_status status;
    store_get_status(world->store, &status);
    assert_int_equal(status.chunks, 6);
    assert_false(status.failed);
}

/* The index is as before the last steps: deaths are carried out again, lives are found again. */
static void test_old_index(void **state) {
    struct world *world = *state;
    struct sample small = sample_new(1, 50000), large = sample_new(2, LARGE),
                  later = sample_new(3, 70000);
    assert_int_equal(put(world->store, &small, NULL), 0);
    assert_int_equal(put(world->store, &large, NULL), 0);
    struct index_item dead[2];
    struct id128 ids[2] = {small.id, large.id};
    unsigned count;
    assert_int_equal(index_kill(world->store->index, ids, 2, clock_wall_ms(), dead, &count, NULL),
                     0);
    assert_int_equal(count, 2); /* and here the power went */
    assert_int_equal(put(world->store, &later, NULL), 0);
    reopen(world);
    assert_int_equal(get(world->store, &small), ERR_NOT_FOUND);
    assert_int_equal(get(world->store, &large), ERR_NOT_FOUND);
    assert_int_equal(get(world->store, &later), 0);
    assert_true(blocks_used(world) < 100000);
    free(small.data), free(large.data), free(later.data);
}

/* Enough chunks to seal a volume; then they die and it goes. */
static void test_sealed_volume_goes(void **state) {
    struct world *world = *state;
    enum { COUNT = 3 };
    struct id128 ids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        struct sample sample = sample_new(100 + (unsigned)i, 5000);
        ids[i] = sample.id;
        assert_int_equal(put(world->store, &sample, NULL), 0);
        free(sample.data);
        struct volume *volume; /* a region nobody fills: the volume is full */
        uint64_t offset;
        for (uint64_t taken = 0; i < 2 && taken + (400 << 20) < VOLUME_BYTES_MAX;
             taken += 400 << 20) {
            assert_int_equal(
                volumes_reserve(world->store->volumes, 400 << 20, &volume, &offset, NULL), 0);
            volume_end_region(volume, offset, 400 << 20, 400 << 20);
            struct index_item item = {
                .entry = {volume->number, offset, 400 << 20, 0, 0, 0, CHUNK_DEAD, 0}};
            assert_int_equal(store_free_item(world->store, &item, NULL), 0);
            volume_unref(volume);
        }
    }
    assert_int_equal(local_delete(world->store, ids, 2, NULL), 0);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/volumes", world->dir);
    DIR *directory = opendir(path);
    int volumes = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        volumes += strstr(entry->d_name, ".volume") != NULL;
    closedir(directory);
    assert_int_equal(volumes, 1);
    reopen(world);
    struct store_status status;
    store_get_status(world->store, &status);
    assert_int_equal(status.chunks, 1);
}

/* Each write and sync of the volumes fails once. A full disk is a refusal and leaves nothing; any
 * other failure ends all writing; what was acknowledged before is there, also after a restart. */
static void test_each_call_fails_once(void **state) {
    static const int errnos[] = {ENOSPC, EIO};
    for (int e = 0; e < 2; e++) {
        for (int large = 0; large < 2; large++) {
            for (int call = 1;; call++) {
                struct world *world = *state;
                teardown(state);
                setup(state);
                world = *state;
                struct sample before = sample_new(1, 60000),
                              sample = sample_new(2, large ? LARGE : 250000);
                assert_int_equal(put(world->store, &before, NULL), 0);
                atomic_store(&failing_errno, errnos[e]);
                atomic_store(&calls_to_failure, call);
                struct err err = {0};
                int rc = put(world->store, &sample, &err);
                bool fired = atomic_exchange(&calls_to_failure, 0) == 0;
                assert_true(fired == (rc != 0));
                assert_int_equal(get(world->store, &before), 0);
                struct sample other = sample_new(3, 1000);
                if (rc == ERR_NOSPACE) {
                    assert_true(blocks_used(world) < 100000);
                    assert_int_equal(put(world->store, &sample, NULL),
                                     0); /* there is space again */
                    assert_int_equal(put(world->store, &other, NULL), 0);
                } else if (rc != 0) {
                    assert_int_equal(rc, ERR_IO);
                    assert_int_equal(put(world->store, &other, NULL), ERR_IO);
                    assert_int_equal(local_delete(world->store, &before.id, 1, NULL), ERR_IO);
                }
                reopen(world);
                assert_int_equal(get(world->store, &before), 0);
                if (rc == 0)
                    assert_int_equal(get(world->store, &sample), 0);
                free(before.data), free(sample.data), free(other.data);
                if (!fired)
                    break;
            }
        }
    }
}

/* A disk that finds out late that it is full: what was being written is lost, what was there is
 * not, and the next write takes another volume. */
static void test_a_late_refusal_costs_one_chunk(void **state) {
    struct world *world = *state;
    struct sample before = sample_new(1, 60000), lost = sample_new(2, 70000),
                  after = sample_new(3, 80000), large = sample_new(4, LARGE);
    struct sample *refused[] = {&lost, &large};
    assert_int_equal(put(world->store, &before, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        atomic_store(&failing_errno, EDQUOT);
        atomic_store(&syncs_to_failure, 1);
        assert_int_equal(put(world->store, refused[i], &err), ERR_NOSPACE);
        assert_non_null(strstr(err.text, "sync"));
        assert_int_equal(atomic_load(&syncs_to_failure), 0);
        assert_int_equal(get(world->store, refused[i]), ERR_NOT_FOUND);
    }
    assert_int_equal(put(world->store, &after, NULL), 0);
    for (int again = 0; again < 2; again++) {
        struct store_status status;
        store_get_status(world->store, &status);
        assert_false(status.failed);
        assert_int_equal(status.chunks, 2);
        assert_int_equal(get(world->store, &before), 0);
        assert_int_equal(get(world->store, &after), 0);
        reopen(world);
    }
    free(before.data), free(lost.data), free(after.data), free(large.data);
}

static void test_without_room_it_reads_and_deletes(void **state) {
    struct world *world = *state;
    struct err err = {0};
    struct sample kept = sample_new(1, 60000), gone = sample_new(2, LARGE),
                  other = sample_new(3, 1000);
    assert_int_equal(put(world->store, &kept, NULL), 0);
    assert_int_equal(put(world->store, &gone, NULL), 0);
    fake_space_set(0, world->dir, SPACE_LOW_BYTES);
    assert_int_equal(put(world->store, &other, &err), ERR_NOSPACE);
    assert_non_null(strstr(err.text, "192 MiB are left on the disk"));
    assert_int_equal(get(world->store, &kept), 0);
    fake_space_set(0, world->dir, SPACE_NONE_BYTES - 4096);
    assert_int_equal(local_delete(world->store, &gone.id, 1, &err), ERR_NOSPACE);
    assert_int_equal(get(world->store, &gone), 0);
    fake_space_set(0, world->dir, SPACE_NONE_BYTES);
    assert_int_equal(local_delete(world->store, &gone.id, 1, &err), 0);
    assert_true(blocks_used(world) < 200000);
    fake_space_set(0, NULL, 0);
    assert_int_equal(put(world->store, &other, NULL), 0);
    free(kept.data), free(gone.data), free(other.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_recovery_ignores_garbage),
        TEST(test_crash_in_writes),
        TEST(test_damage_is_never_given),
        TEST(test_old_index),
        TEST(test_sealed_volume_goes),
        TEST(test_each_call_fails_once),
        TEST(test_a_late_refusal_costs_one_chunk),
        TEST(test_without_room_it_reads_and_deletes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
