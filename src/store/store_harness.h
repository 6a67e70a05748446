/* For the tests of one node's chunks: a store over a folder, sample chunks, and a disk that fails.
 * Its functions stand for libc's: for one test program each. */
#ifndef QUERN_STORE_STORE_HARNESS_H
#define QUERN_STORE_STORE_HARNESS_H

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
#include "test/lib/temp_dir.h"

/* ---- a disk that fails: the calls below come instead of libc's ---- */

static atomic_int calls_to_failure; /* counts down on calls for volumes; 0 = never */
static atomic_int syncs_to_failure; /* the same, of fdatasync only */
static atomic_int failing_errno;

static inline bool is_of_volumes(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    return strstr(path, "/volumes") != NULL;
}

static inline bool fails_now(int fd) {
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

static inline int open_store(struct world *world, struct err *err) {
    struct store_options options = {
        .dir = world->dir, .identity = {.cluster_id = {{7}}, .incarnation = {{1}}, .node_id = 1}};
    return store_start(&options, &world->store, err);
}

static inline void reopen(struct world *world) {
    struct err err = {0};
    world->store = store_stop(world->store);
    int rc = open_store(world, &err);
    if (rc != 0)
        fail_msg("%s", err.text);
}

static inline int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->dir, sizeof world->dir, "/tmp/quern-store-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    reopen(world);
    *state = world;
    return 0;
}

static inline int teardown(void **state) {
    struct world *world = *state;
    atomic_store(&calls_to_failure, 0);
    fake_space_set(0, NULL, 0);
    store_stop(world->store);
    assert_int_equal(temp_dir_remove(world->dir), 0);
    free(world);
    return 0;
}

/* As after a power loss that took the whole index. */
static inline void lose_index(struct world *world) {
    char path[128];
    world->store = store_stop(world->store);
    snprintf(path, sizeof path, "%s/index", world->dir);
    assert_int_equal(temp_dir_remove(path), 0);
}

/* A chunk whose bytes follow from its seed. */
struct sample {
    struct id128 id;
    uint64_t length;
    char *data;
    uint32_t crc32c;
};

static inline struct sample sample_new(uint64_t seed, uint64_t length) {
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

static inline int put_with_max(struct store *store, const struct sample *sample,
                               uint64_t length_max, struct err *err) {
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

static inline int put(struct store *store, const struct sample *sample, struct err *err) {
    return put_with_max(store, sample, sample->length, err);
}

struct check {
    const char *expected;
    uint64_t left;
};

static inline int sink_check(void *context, const void *data, size_t size) {
    struct check *check = context;
    assert_true(size <= check->left);
    assert_memory_equal(check->expected, data, size);
    check->expected += size;
    check->left -= size;
    return 0;
}

static inline int get_range(struct store *store, const struct sample *sample, uint64_t offset,
                            uint64_t length) {
    struct check check = {sample->data + offset, length};
    int rc = local_read(store, sample->id, offset, length, sink_check, &check, NULL);
    if (rc == 0)
        assert_int_equal(check.left, 0);
    return rc;
}

static inline int get(struct store *store, const struct sample *sample) {
    return get_range(store, sample, 0, sample->length);
}

#define LARGE ((uint64_t)5 << 20)

static const uint64_t lengths[] = {0, 1, 4095, 4096, 65536, 65537, 200000, LARGE, LARGE + 12345};
#define LENGTH_COUNT (sizeof lengths / sizeof *lengths)

static inline void put_samples(struct store *store, struct sample *samples) {
    for (size_t i = 0; i < LENGTH_COUNT; i++) {
        samples[i] = sample_new(i + 1, lengths[i]);
        assert_int_equal(put(store, &samples[i], NULL), 0);
    }
}

static inline void get_samples(struct store *store, struct sample *samples) {
    for (size_t i = 0; i < LENGTH_COUNT; i++)
        assert_int_equal(get(store, &samples[i]), 0);
    struct store_status status;
    store_get_status(store, &status);
    assert_int_equal(status.chunks, LENGTH_COUNT);
}

static inline void free_samples(struct sample *samples) {
    for (size_t i = 0; i < LENGTH_COUNT; i++)
        free(samples[i].data);
}

/* Changes bytes of a volume file behind the store's back. */
/* The volume that the chunk lies in, and where. */
static inline int open_region(struct world *world, const struct sample *sample,
                              int64_t *ret_offset) {
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

static inline void overwrite(struct world *world, const struct sample *sample,
                             int64_t offset_in_region, const void *data, size_t size) {
    int64_t region;
    int fd = open_region(world, sample, &region);
    assert_int_equal(pwrite(fd, data, size, (off_t)(region + offset_in_region)), size);
    close(fd);
}

/* Whatever the byte was, it is another one now. */
static inline void damage(struct world *world, const struct sample *sample,
                          int64_t offset_in_region) {
    int64_t region;
    char byte;
    int fd = open_region(world, sample, &region);
    assert_int_equal(pread(fd, &byte, 1, (off_t)(region + offset_in_region)), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(region + offset_in_region)), 1);
    close(fd);
}

static inline uint64_t blocks_used(const struct world *world) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
