/* One node's chunks: round trips, what is refused, deletion, lists, what has rotted, many writers.
 */
#include "store/scrub.h"

#include "store/store_harness.h"

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

/* ---- many writers ---- */

enum { THREADS = 8, EACH = 12 };

struct writer {
    struct store *store;
    unsigned number;
    pthread_t thread;
};

static enum chunk_state state_of(struct store *store, const struct sample *sample) {
    struct index_entry entry;
    assert_int_equal(index_get(store->index, sample->id, &entry, NULL), 0);
    return (enum chunk_state)entry.state;
}

/* A small one, and one that has a file of its own. */
static void test_a_scrub_finds_what_nobody_reads(void **state) {
    struct world *world = *state;
    struct sample samples[LENGTH_COUNT];
    put_samples(world->store, samples);
    damage(world, &samples[4], (int64_t)VOLUME_ALIGN + 100);
    damage(world, &samples[7], (int64_t)VOLUME_ALIGN + LARGE / 2);
    setenv("QUERN_SCRUB_MS", "50", 1);
    struct chunk_scrub *scrub = scrub_chunks_start(world->store);
    for (int i = 0; i < 3000 && (state_of(world->store, &samples[4]) == CHUNK_LIVE ||
                                 state_of(world->store, &samples[7]) == CHUNK_LIVE);
         i++)
        usleep(10000);
    assert_null(scrub_chunks_stop(scrub));
    unsetenv("QUERN_SCRUB_MS");
    for (size_t i = 0; i < LENGTH_COUNT; i++)
        assert_int_equal(state_of(world->store, &samples[i]),
                         i == 4 || i == 7 ? CHUNK_BAD : CHUNK_LIVE);
    free_samples(samples);
}

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
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_descriptor_is_the_chunk),
        TEST(test_wrong_content_is_refused),
        TEST(test_delete_gives_space_back),
        TEST(test_digests_and_lists),
        TEST(test_a_scrub_finds_what_nobody_reads),
        TEST(test_many_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
