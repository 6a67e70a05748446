/* One node's chunks: round trips, recovery from every kind of loss, damage, deletion, a full disk,
 * a failing disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/rng.h"
#include "core/place.h"
#include "meta/client.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/space.h"
#include "store/local.h"
#include "test/lib/fake_space.h"

/* ---- a disk that fails: the calls below come instead of libc's ---- */

static atomic_int calls_to_failure; /* counts down on calls for volumes; 0 = never */
static atomic_int syncs_to_failure; /* the same, of fdatasync only */
static atomic_int failing_errno;

static bool is_of_volumes(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    return strstr(path, "/volumes") != NULL;
}

static bool fails_now(int fd) {
    if (atomic_load(&calls_to_failure) <= 0 || !is_of_volumes(fd) ||
        atomic_fetch_sub(&calls_to_failure, 1) != 1)
        return false;
    errno = atomic_load(&failing_errno);
    return true;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return fails_now(fd) ? -1 : syscall(SYS_pwrite64, fd, data, size, offset);
}

int fdatasync(int fd) {
    if (atomic_load(&syncs_to_failure) > 0 && is_of_volumes(fd) &&
        atomic_fetch_sub(&syncs_to_failure, 1) == 1) {
        errno = atomic_load(&failing_errno);
        return -1;
    }
    return fails_now(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    return fails_now(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

/* ---- no catalogue: nothing here asks for the map ---- */

struct place_map *meta_map(struct meta_client *client) {
    abort();
}
struct place_map *meta_map_refresh(struct meta_client *client, uint64_t epoch,
                                   uint64_t deadline_ns) {
    abort();
}

/* ---- the world ---- */

struct world {
    char dir[64];
    struct store *store;
};

static int open_store(struct world *world, struct err *err) {
    struct store_options options = {
        .dir = world->dir, .identity = {.cluster_id = {{7}}, .incarnation = {{1}}, .node_id = 1}};
    return store_start(&options, &world->store, err);
}

static void reopen(struct world *world) {
    struct err err = {0};
    world->store = store_stop(world->store);
    int rc = open_store(world, &err);
    if (rc != 0)
        fail_msg("%s", err.text);
}

static int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->dir, sizeof world->dir, "/tmp/quern-store-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    reopen(world);
    *state = world;
    return 0;
}

static void remove_tree(const char *path) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

static int teardown(void **state) {
    struct world *world = *state;
    atomic_store(&calls_to_failure, 0);
    fake_space_set(0, NULL, 0);
    store_stop(world->store);
    remove_tree(world->dir);
    free(world);
    return 0;
}

/* As after a power loss that took the whole index. */
static void lose_index(struct world *world) {
    char path[128];
    world->store = store_stop(world->store);
    snprintf(path, sizeof path, "%s/index", world->dir);
    remove_tree(path);
}

/* A chunk whose bytes follow from its seed. */
struct sample {
    struct id128 id;
    uint64_t length;
    char *data;
    uint32_t crc32c;
};

static struct sample sample_new(uint64_t seed, uint64_t length) {
    struct sample sample = {.length = length, .data = malloc(length + 1)};
    struct rng rng;
    rng_init(&rng, seed);
    uint64_t words[2] = {rng_next(&rng), rng_next(&rng)};
    memcpy(sample.id.bytes, words, sizeof words);
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word = rng_next(&rng);
        memcpy(sample.data + i, &word, length - i < 8 ? length - i : 8);
    }
    sample.crc32c = crc32c_update(0, sample.data, length);
    return sample;
}

static int put_with_max(struct store *store, const struct sample *sample, uint64_t length_max,
                        struct err *err) {
    struct local_write *write;
    int rc = local_write_begin(store, sample->id, length_max, &write, err);
    if (rc != 0)
        return rc;
    for (uint64_t at = 0; at < sample->length;) { /* in odd steps */
        uint64_t step = sample->length - at < 100001 ? sample->length - at : 100001;
        rc = local_write_append(write, sample->data + at, step, err);
        if (rc != 0) {
            local_write_abort(write);
            return rc;
        }
        at += step;
    }
    return local_write_end(write, sample->length, sample->crc32c, err);
}

static int put(struct store *store, const struct sample *sample, struct err *err) {
    return put_with_max(store, sample, sample->length, err);
}

struct check {
    const char *expected;
    uint64_t left;
};

static int sink_check(void *context, const void *data, size_t size) {
    struct check *check = context;
    assert_true(size <= check->left);
    assert_memory_equal(check->expected, data, size);
    check->expected += size;
    check->left -= size;
    return 0;
}

static int get_range(struct store *store, const struct sample *sample, uint64_t offset,
                     uint64_t length) {
    struct check check = {sample->data + offset, length};
    int rc = local_read(store, sample->id, offset, length, sink_check, &check, NULL);
    if (rc == 0)
        assert_int_equal(check.left, 0);
    return rc;
}

static int get(struct store *store, const struct sample *sample) {
    return get_range(store, sample, 0, sample->length);
}

#define LARGE ((uint64_t)5 << 20)

static const uint64_t lengths[] = {0, 1, 4095, 4096, 65536, 65537, 200000, LARGE, LARGE + 12345};
#define LENGTH_COUNT (sizeof lengths / sizeof *lengths)

static void put_samples(struct store *store, struct sample *samples) {
    for (size_t i = 0; i < LENGTH_COUNT; i++) {
        samples[i] = sample_new(i + 1, lengths[i]);
        assert_int_equal(put(store, &samples[i], NULL), 0);
    }
}

static void get_samples(struct store *store, struct sample *samples) {
    for (size_t i = 0; i < LENGTH_COUNT; i++)
        assert_int_equal(get(store, &samples[i]), 0);
    struct store_status status;
    store_get_status(store, &status);
    assert_int_equal(status.chunks, LENGTH_COUNT);
}

static void free_samples(struct sample *samples) {
    for (size_t i = 0; i < LENGTH_COUNT; i++)
        free(samples[i].data);
}

/* Changes bytes of a volume file behind the store's back. */
/* The volume that the chunk lies in, and where. */
static int open_region(struct world *world, const struct sample *sample, int64_t *ret_offset) {
    struct index_entry entry;
    assert_int_equal(index_get(world->store->index, sample->id, &entry, NULL), 0);
    struct volume *volume;
    assert_int_equal(volumes_get(world->store->volumes, entry.volume, sample->id, &volume, NULL),
                     0);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/volumes/%s", world->dir, volume->name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    volume_unref(volume);
    *ret_offset = (int64_t)entry.offset;
    return fd;
}

static void overwrite(struct world *world, const struct sample *sample, int64_t offset_in_region,
                      const void *data, size_t size) {
    int64_t region;
    int fd = open_region(world, sample, &region);
    assert_int_equal(pwrite(fd, data, size, (off_t)(region + offset_in_region)), size);
    close(fd);
}

/* Whatever the byte was, it is another one now. */
static void damage(struct world *world, const struct sample *sample, int64_t offset_in_region) {
    int64_t region;
    char byte;
    int fd = open_region(world, sample, &region);
    assert_int_equal(pread(fd, &byte, 1, (off_t)(region + offset_in_region)), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(region + offset_in_region)), 1);
    close(fd);
}

static uint64_t blocks_used(const struct world *world) {
    char path[PATH_MAX];
    uint64_t blocks = 0;
    snprintf(path, sizeof path, "%s/volumes", world->dir);
    DIR *directory = opendir(path);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(directory), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            blocks += (uint64_t)st.st_blocks * 512;
    }
    closedir(directory);
    return blocks;
}

/* ---- the tests ---- */

static void test_round_trip(void **state) {
    struct world *world = *state;
    struct sample samples[LENGTH_COUNT];
    put_samples(world->store, samples);
    get_samples(world->store, samples);
    const struct sample *large = &samples[LENGTH_COUNT - 1];
    static const uint64_t ranges[][2] = {
        {0, 1}, {65535, 2}, {65536, 65536}, {300000, 1000000}, {LARGE, 12345}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        assert_int_equal(get_range(world->store, large, ranges[i][0], ranges[i][1]), 0);
    assert_int_equal(local_read(world->store, large->id, LARGE, 12346, sink_check, NULL, NULL),
                     ERR_INVALID);
    assert_int_equal(put(world->store, large, NULL), ERR_EXISTS);
    struct id128 unknown = random_id128();
    assert_int_equal(local_read(world->store, unknown, 0, 1, sink_check, NULL, NULL),
                     ERR_NOT_FOUND);
    reopen(world);
    get_samples(world->store, samples);
    lose_index(world);
    reopen(world);
    get_samples(world->store, samples);
    char mark[128];
    snprintf(mark, sizeof mark, "%s/index.corrupt", world->dir); /* as a process before found it */
    close(open(mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    reopen(world);
    get_samples(world->store, samples);
    assert_int_equal(access(mark, F_OK), -1);
    free_samples(samples);
}

static void test_descriptor_is_the_chunk(void **state) {
    struct world *world = *state;
    for (int large = 0; large < 2; large++) {
        struct sample sample = sample_new(11 + (unsigned)large, large ? LARGE + 77 : 777);
        assert_int_equal(put_with_max(world->store, &sample,
                                      CHUNK_BYTES_MAX - (large ? 0 : CHUNK_BYTES_MAX / 2), NULL),
                         0);
        reopen(world); /* not verified any more */
        int fd = -1;
        assert_int_equal(local_open(world->store, sample.id, &fd, NULL), 0);
        char *data = malloc(sample.length + 1);
        uint64_t got = 0;
        for (ssize_t n; (n = read(fd, data + got, sample.length + 1 - got)) > 0;)
            got += (uint64_t)n;
        assert_int_equal(got, sample.length);
        assert_memory_equal(data, sample.data, got);
        assert_int_equal(write(fd, "x", 1), -1); /* a task cannot change it */
        close(fd);
        struct id128 id = sample.id;
        assert_int_equal(local_delete(world->store, &id, 1, NULL), 0);
        free(data);
        free(sample.data);
    }
}

static void test_wrong_content_is_refused(void **state) {
    struct world *world = *state;
    struct sample sample = sample_new(1, 100000);
    struct local_write *write;
    assert_int_equal(local_write_begin(world->store, sample.id, sample.length, &write, NULL), 0);
    assert_int_equal(local_write_append(write, sample.data, 99999, NULL), 0);
    assert_int_equal(local_write_append(write, sample.data, 2, NULL), ERR_LIMIT);
    assert_int_equal(local_write_end(write, sample.length, sample.crc32c, NULL), ERR_CORRUPT);
    sample.crc32c ^= 1;
    assert_int_equal(put(world->store, &sample, NULL), ERR_CORRUPT);
    assert_int_equal(get(world->store, &sample), ERR_NOT_FOUND);
    assert_true(blocks_used(world) <= 8192);
    struct local_write *none;
    assert_int_equal(local_write_begin(world->store, sample.id, CHUNK_BYTES_MAX + 1, &none, NULL),
                     ERR_LIMIT);
    free(sample.data);
}

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

static void test_delete_gives_space_back(void **state) {
    struct world *world = *state;
    struct sample samples[LENGTH_COUNT];
    put_samples(world->store, samples);
    assert_true(blocks_used(world) > 2 * LARGE);
    struct id128 ids[LENGTH_COUNT + 1];
    for (size_t i = 0; i < LENGTH_COUNT; i++)
        ids[i] = samples[i].id;
    ids[LENGTH_COUNT] = random_id128(); /* never seen here */
    assert_int_equal(local_delete(world->store, ids, LENGTH_COUNT + 1, NULL), 0);
    assert_int_equal(local_delete(world->store, ids, LENGTH_COUNT, NULL),
                     0); /* again is harmless */
    assert_in_range(blocks_used(world), 4096,
                    8192); /* the header, and how the file system counts */
    struct store_status status;
    store_get_status(world->store, &status);
    assert_int_equal(status.chunks, 0);
    assert_int_equal(status.bytes, 0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < LENGTH_COUNT; i++) {
            assert_int_equal(get(world->store, &samples[i]), ERR_NOT_FOUND);
            assert_int_equal(put(world->store, &samples[i], NULL),
                             ERR_CONFLICT); /* nobody brings it back */
        }
        reopen(world);
    }
    free_samples(samples);
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

static void test_digests_and_lists(void **state) {
    struct world *world = *state;
    struct place_map *map = place_map_new(1, 4, 1);
    uint64_t before[16], after[16];
    index_digests(world->store->index, 4, before);
    struct sample samples[LENGTH_COUNT];
    put_samples(world->store, samples);
    index_digests(world->store->index, 4, after);
    unsigned total = 0;
    for (uint32_t slice = 0; slice < 16; slice++) {
        struct index_item items[LENGTH_COUNT + 1];
        unsigned count, page, expected = 0;
        for (size_t i = 0; i < LENGTH_COUNT; i++)
            expected += place_slice_of(map, samples[i].id) == slice;
        assert_int_equal(index_list(world->store->index, 4, slice, (struct id128){0}, items,
                                    LENGTH_COUNT + 1, &count, NULL),
                         0);
        assert_int_equal(count, expected);
        assert_true((before[slice] == after[slice]) == (count == 0));
        struct id128 at = {0};
        for (unsigned i = 0; i < count; i++) { /* the same, one at a time */
            assert_int_equal(
                index_list(world->store->index, 4, slice, at, items + LENGTH_COUNT, 1, &page, NULL),
                0);
            assert_int_equal(page, 1);
            at = items[LENGTH_COUNT].id;
            assert_true(id128_equal(at, items[i].id));
        }
        total += count;
    }
    assert_int_equal(total, LENGTH_COUNT);
    reopen(world);
    uint64_t again[16];
    index_digests(world->store->index, 4, again);
    assert_memory_equal(after, again, sizeof after);
    assert_int_equal(index_mark_bad(world->store->index, samples[0].id, NULL), 0);
    for (size_t i = 1; i < LENGTH_COUNT; i++)
        assert_int_equal(local_delete(world->store, &samples[i].id, 1, NULL), 0);
    index_digests(world->store->index, 4, again);
    assert_memory_equal(before, again, sizeof before);
    place_map_unref(map);
    free_samples(samples);
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

/* ---- many writers ---- */

enum { THREADS = 8, EACH = 12 };

struct writer {
    struct store *store;
    unsigned number;
    pthread_t thread;
};

static void *writer_run(void *context) {
    struct writer *writer = context;
    for (unsigned i = 0; i < EACH; i++) {
        struct sample sample =
            sample_new(1000 + writer->number * EACH + i, i % 6 == 5 ? LARGE : 1000 + 30000 * i);
        assert_int_equal(put_with_max(writer->store, &sample, sample.length + 5000, NULL), 0);
        assert_int_equal(get(writer->store, &sample), 0);
        if (i % 3 == 0)
            assert_int_equal(local_delete(writer->store, &sample.id, 1, NULL), 0);
        free(sample.data);
    }
    return NULL;
}

static void test_many_writers(void **state) {
    struct world *world = *state;
    struct writer writers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.store = world->store, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(writers[i].thread, NULL);
    for (int round = 0; round < 2; round++) {
        struct store_status status;
        store_get_status(world->store, &status);
        assert_int_equal(status.chunks, THREADS * EACH * 2 / 3);
        reopen(world);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_descriptor_is_the_chunk),
        TEST(test_wrong_content_is_refused),
        TEST(test_recovery_ignores_garbage),
        TEST(test_crash_in_writes),
        TEST(test_damage_is_never_given),
        TEST(test_delete_gives_space_back),
        TEST(test_old_index),
        TEST(test_digests_and_lists),
        TEST(test_sealed_volume_goes),
        TEST(test_each_call_fails_once),
        TEST(test_a_late_refusal_costs_one_chunk),
        TEST(test_without_room_it_reads_and_deletes),
        TEST(test_many_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
