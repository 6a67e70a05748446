/* The log: what was durable comes back, a torn tail is discarded at every sector, and damage is
 * told for what it is: never another record, never silence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc.h"
#include "base/rng.h"
#include "os/space.h"
#include "test/lib/fake_space.h"
#include "test/lib/temp_dir.h"
#include "wal/segment.h"
#include "wal/wal.h"

#define RECORDS_MAX 8192

struct seen {
    enum wal_item_kind kind;
    uint32_t crc; /* of its bytes */
};

struct fixture {
    char dir[TEMP_DIR_SIZE];
    struct wal *wal;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    uint64_t durable_lsn;
    struct seen items[RECORDS_MAX];
    uint32_t item_count;
    uint32_t record_count;
    uint64_t lsn;
    uint64_t torn_bytes;
};

static struct fixture fixture;

static int on_replay(void *context, uint64_t lsn, const struct wal_item *item, struct err *err) {
    (void)err;
    struct fixture *f = context;
    assert_in_range(f->item_count, 0, RECORDS_MAX - 1);
    f->items[f->item_count++] =
        (struct seen){item->kind, crc32c_update(0, item->bytes.data, item->bytes.size)};
    f->record_count += item->kind == WAL_ITEM_RECORD;
    if (lsn > 0)
        assert_int_equal(lsn, ++f->lsn);
    return 0;
}

static void on_durable(void *context, uint64_t lsn) {
    struct fixture *f = context;
    pthread_mutex_lock(&f->mutex);
    f->durable_lsn = lsn;
    pthread_cond_signal(&f->moved);
    pthread_mutex_unlock(&f->mutex);
}

static int try_open(struct fixture *f, uint64_t segment_bytes, struct err *err) {
    f->item_count = f->record_count = 0;
    f->lsn = f->durable_lsn = 0;
    struct wal_options options = {.dir = f->dir,
                                  .segment_bytes = segment_bytes,
                                  .replay = on_replay,
                                  .durable = on_durable,
                                  .context = f};
    return wal_open(&options, &f->wal, &f->torn_bytes, err);
}

static void open_with(struct fixture *f, uint64_t segment_bytes) {
    struct err err = {0};
    if (try_open(f, segment_bytes, &err) != 0)
        fail_msg("%s", err.text);
}

static void open_log(struct fixture *f) {
    open_with(f, 8 << 20);
}

static void close_log(struct fixture *f) {
    f->wal = wal_close(f->wal);
}

static int setup(void **state) {
    *state = &fixture;
    fixture =
        (struct fixture){.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    return temp_dir_make(fixture.dir);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    fake_space_set(0, NULL, 0);
    close_log(f);
    return temp_dir_remove(f->dir);
}

/* Record number n: its size and bytes follow from n. */
static char record_data[100000];
static struct span record_of(uint64_t n, size_t size_max) {
    struct rng rng;
    rng_init(&rng, n);
    size_t size = rng_below(&rng, size_max + 1);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t draw = rng_next(&rng);
        memcpy(record_data + i, &draw, size - i < 8 ? size - i : 8);
    }
    return (struct span){record_data, size};
}

static uint32_t crc_of(uint64_t n, size_t size_max) {
    struct span record = record_of(n, size_max);
    return crc32c_update(0, record.data, record.size);
}

static uint64_t append(struct fixture *f, struct span record) {
    size_t half = record.size / 2;
    struct iovec parts[] = {{(char *)(uintptr_t)record.data, half},
                            {(char *)(uintptr_t)record.data + half, record.size - half}};
    return wal_append(f->wal, parts, 2);
}

static void wait_durable(struct fixture *f, uint64_t lsn) {
    pthread_mutex_lock(&f->mutex);
    while (f->durable_lsn < lsn)
        pthread_cond_wait(&f->moved, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}

static void append_many(struct fixture *f, uint64_t first, uint64_t count, size_t size_max) {
    uint64_t lsn = 0;
    for (uint64_t n = first; n < first + count; n++) {
        lsn = append(f, record_of(n, size_max));
        if (n % 7 == 0)
            wait_durable(f, lsn);
    }
    wait_durable(f, lsn);
}

static void assert_replayed(struct fixture *f, uint64_t first, uint64_t count, size_t size_max) {
    assert_int_equal(f->item_count, count);
    assert_int_equal(f->record_count, count);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(f->items[i].crc, crc_of(first + i, size_max));
}

static void test_round_trip(void **state) {
    struct fixture *f = *state;
    open_log(f);
    assert_int_equal(f->item_count, 0);
    append_many(f, 0, 1000, 20000); /* over several segments */
    close_log(f);
    open_log(f);
    assert_int_equal(f->torn_bytes, 0);
    assert_replayed(f, 0, 1000, 20000);
    append_many(f, 1000, 10, 20000);
    close_log(f);
    open_log(f);
    assert_replayed(f, 0, 1010, 20000);
}

static void test_records_are_read_back(void **state) {
    struct fixture *f = *state;
    open_log(f);
    append_many(f, 0, 1500, 20000);
    struct wal_reader reader = {0};
    struct rng rng;
    rng_init(&rng, 1);
    for (uint64_t i = 0; i < 600; i++) { /* here and there, then in a row */
        uint64_t lsn = i < 300 ? 1 + rng_below(&rng, 1500) : i;
        struct span record;
        assert_int_equal(wal_read(f->wal, &reader, lsn, &record, NULL), 0);
        assert_int_equal(crc32c_update(0, record.data, record.size), crc_of(lsn - 1, 20000));
    }
    struct span untouched = {"x", 1};
    assert_int_equal(wal_read(f->wal, &reader, 1501, &untouched, NULL), ERR_NOT_FOUND);
    assert_int_equal(untouched.size, 1);
    wal_reader_fini(&reader);
}

static void test_trimmed_segments_are_used_again(void **state) {
    struct fixture *f = *state;
    open_log(f);
    struct wal_status status = {0};
    uint64_t first = 0;
    for (int round = 0; round < 12; round++, first += 500) {
        append_many(f, first, 500, 20000); /* about 5 MB */
        wal_get_status(f->wal, &status);
        wal_trim(f->wal, status.durable_lsn - 100);
    }
    wal_get_status(f->wal, &status);
    assert_in_range(status.live_bytes, 8 << 20, 24 << 20);
    assert_in_range(status.oldest_lsn, 2, first - 99);
    struct wal_reader reader = {0};
    struct span record;
    assert_int_equal(wal_read(f->wal, &reader, 1, &record, NULL), ERR_NOT_FOUND);
    assert_int_equal(wal_read(f->wal, &reader, status.oldest_lsn, &record, NULL), 0);
    wal_reader_fini(&reader);
    close_log(f);
    open_log(f); /* a trimmed segment that was not used again yet comes back */
    uint64_t count = f->record_count;
    assert_in_range(count, first - (status.oldest_lsn - 1), first);
    assert_replayed(f, first - count, count, 20000);
}

static void test_a_segment_is_begun_before_the_last_is_full(void **state) {
    struct fixture *f = *state;
    struct wal_status status;
    open_log(f);
    append_many(f, 0, 20, 20000);
    wal_trim(f->wal, 20);
    wal_get_status(f->wal, &status);
    assert_int_equal(status.oldest_lsn, 1);
    wal_begin_segment(f->wal);
    append_many(f, 20, 5, 20000);
    wal_get_status(f->wal, &status);
    assert_int_equal(status.trimmable_lsn, 20);
    close_log(f);
    open_log(f);
    assert_int_equal(f->torn_bytes, 0);
    assert_replayed(f, 0, 25, 20000);
    wal_trim(f->wal, 20);
    wal_get_status(f->wal, &status);
    assert_int_equal(status.oldest_lsn, 21);
    append_many(f, 25, 5, 20000); /* no further one is begun */
    wal_get_status(f->wal, &status);
    assert_int_equal(status.trimmable_lsn, 0);
}

/* ---- little room ---- */

static off_t file_bytes(struct fixture *f, uint32_t file) {
    char path[TEMP_DIR_SIZE + 16];
    struct stat info;
    snprintf(path, sizeof path, "%s/%08u.log", f->dir, file);
    return stat(path, &info) == 0 ? info.st_size : -1;
}

static void wait_file(struct fixture *f, uint32_t file, off_t bytes) {
    for (int i = 0; i < 500 && file_bytes(f, file) != bytes; i++)
        usleep(10000);
    assert_int_equal(file_bytes(f, file), bytes);
}

/* About 6 MB: more than half of a small segment, then into the next. */
static void append_half(struct fixture *f, uint64_t *first) {
    append_many(f, *first, 600, 20000);
    *first += 600;
}

static void test_a_nearly_full_disk_gets_small_segments(void **state) {
    struct fixture *f = *state;
    uint64_t first = 0;
    fake_space_set(0, f->dir, SPACE_LOW_BYTES + (16 << 20));
    open_with(f, 16 << 20);
    append_half(f, &first);
    wait_file(f, 2, 16 << 20);
    fake_space_set(0, f->dir, SPACE_LOW_BYTES);
    append_half(f, &first);
    append_half(f, &first);
    wait_file(f, 3, 8 << 20);
    fake_space_set(0, f->dir, SPACE_NONE_BYTES + (4 << 20));
    uint64_t lsn = 0;
    for (uint64_t i = 0; i < 2500; i++) /* more than a segment and a spare take */
        lsn = append(f, record_of(first + i, 20000));
    usleep(200000);
    pthread_mutex_lock(&f->mutex);
    assert_true(f->durable_lsn < lsn); /* it waits */
    pthread_mutex_unlock(&f->mutex);
    fake_space_set(0, NULL, 0);
    wait_durable(f, lsn);
    close_log(f);
    open_log(f);
    assert_replayed(f, 0, first + 2500, 20000);
}

/* ---- damage ---- */

static int file_open(struct fixture *f) {
    char path[TEMP_DIR_SIZE + 16];
    snprintf(path, sizeof path, "%s/00000001.log", f->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Two batches: record 0 in blocks 1 and 2, record 1 in blocks 3 to 6, an index block first; returns
 * the sectors of the second, saved in ret_saved. */
#define TORN_SECTORS_MAX 1024
static unsigned two_batches(struct fixture *f, char *ret_saved) {
    open_log(f);
    wait_durable(f, append(f, record_of(0, 100)));
    struct iovec parts[] = {{record_data, 9000}};
    record_of(1, 9000);
    wait_durable(f, wal_append(f->wal, parts, 1));
    close_log(f);
    int fd = file_open(f);
    unsigned sectors = 4 * WAL_SECTORS;
    assert_int_equal(pread(fd, ret_saved, sectors * WAL_SECTOR, 3 * WAL_BLOCK),
                     sectors * WAL_SECTOR);
    close(fd);
    return sectors;
}

/* Writes the second batch as a crash might have left it: only the sectors whose bit is set. */
static void tear(struct fixture *f, const char *saved, unsigned sectors, const bool *written) {
    static const char zeros[4 * WAL_BLOCK];
    int fd = file_open(f);
    off_t end = 3 * WAL_BLOCK + sectors * WAL_SECTOR;
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, end), sizeof zeros); /* of the round before */
    for (unsigned i = 0; i < sectors; i++)
        assert_int_equal(pwrite(fd, written[i] ? saved + i * WAL_SECTOR : zeros, WAL_SECTOR,
                                3 * WAL_BLOCK + i * WAL_SECTOR),
                         WAL_SECTOR);
    close(fd);
}

/* Sectors that hold nothing but zeros are as good as written. */
static bool is_missing(const char *sector) {
    for (size_t i = 0; i < WAL_SECTOR - WAL_STAMP; i++)
        if (sector[i] != 0)
            return true;
    return false;
}

static void assert_torn(struct fixture *f, const char *saved, unsigned sectors,
                        const bool *written) {
    bool torn = false;
    for (unsigned i = 0; i < sectors; i++)
        torn |= !written[i] && is_missing(saved + i * WAL_SECTOR);
    open_log(f);
    assert_int_equal(f->item_count, torn ? 1 : 2);
    assert_int_equal(f->record_count, f->item_count);
    wait_durable(f, append(f, record_of(1, 100)));
    close_log(f);
    open_log(f);
    assert_int_equal(f->torn_bytes, 0);
    assert_int_equal(f->record_count, torn ? 2 : 3);
    close_log(f);
}

static void test_torn_tail_at_every_sector(void **state) {
    struct fixture *f = *state;
    static char saved[TORN_SECTORS_MAX * WAL_SECTOR];
    bool written[TORN_SECTORS_MAX];
    unsigned sectors = two_batches(f, saved);
    for (unsigned cut = 0; cut < sectors; cut++) { /* a prefix reached the disk */
        for (unsigned i = 0; i < sectors; i++)
            written[i] = i < cut;
        tear(f, saved, sectors, written);
        assert_torn(f, saved, sectors, written);
    }
    for (unsigned hole = 0; hole < sectors; hole++) { /* all but one did */
        for (unsigned i = 0; i < sectors; i++)
            written[i] = i != hole;
        tear(f, saved, sectors, written);
        assert_torn(f, saved, sectors, written);
    }
    for (unsigned i = 0; i < sectors; i++)
        written[i] = true;
    tear(f, saved, sectors, written);
    open_log(f);
    assert_int_equal(f->record_count, 2);
}

static void flip(struct fixture *f, off_t at) {
    int fd = file_open(f);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Whole, or known by its identity. */
static void assert_known(const struct seen *item, struct span record) {
    size_t identity = record.size < WAL_IDENTITY ? record.size : WAL_IDENTITY;
    if (item->kind == WAL_ITEM_DAMAGED)
        record.size = identity;
    else
        assert_int_equal(item->kind, WAL_ITEM_RECORD);
    assert_int_equal(item->crc, crc32c_update(0, record.data, record.size));
}

static struct span second_record(void) {
    record_of(1, 9000);
    return (struct span){record_data, 9000};
}

static void test_one_bad_sector_costs_no_identity(void **state) {
    struct fixture *f = *state;
    static char saved[TORN_SECTORS_MAX * WAL_SECTOR];
    two_batches(f, saved);
    uint32_t damaged = 0;
    for (off_t sector = 0; sector < 7 * WAL_SECTORS; sector++) {
        flip(f, sector * WAL_SECTOR + 100);
        open_log(f);
        assert_int_equal(f->torn_bytes, 0);
        assert_int_equal(f->item_count, 2);
        assert_known(&f->items[0], record_of(0, 100));
        assert_known(&f->items[1], second_record());
        damaged += f->item_count - f->record_count;
        close_log(f);
        if (sector >= WAL_SECTORS) /* the head was written anew */
            flip(f, sector * WAL_SECTOR + 100);
    }
    assert_int_equal(damaged, 4 * WAL_SECTORS); /* those of the records' blocks */
}

static void test_what_is_written_behind_damage_stays(void **state) {
    struct fixture *f = *state;
    static char saved[TORN_SECTORS_MAX * WAL_SECTOR];
    two_batches(f, saved);
    flip(f, 5 * WAL_BLOCK + 600);
    for (unsigned round = 0; round < 3; round++) {
        open_log(f);
        assert_int_equal(f->item_count, 2 + round);
        assert_int_equal(f->items[1].kind, WAL_ITEM_DAMAGED);
        struct wal_reader reader = {0};
        struct span record;
        uint64_t lsn = append(f, record_of(7 + round, 5000));
        wait_durable(f, lsn);
        assert_int_equal(wal_read(f->wal, &reader, lsn, &record, NULL), 0);
        assert_int_equal(crc32c_update(0, record.data, record.size), crc_of(7 + round, 5000));
        wal_reader_fini(&reader);
        close_log(f);
    }
}

static void test_index_and_record_are_lost(void **state) {
    struct fixture *f = *state;
    static char saved[TORN_SECTORS_MAX * WAL_SECTOR];
    two_batches(f, saved);
    flip(f, 1 * WAL_BLOCK + 100); /* one block after the other; one sector is not enough */
    flip(f, 2 * WAL_BLOCK + 100);
    open_log(f);
    assert_int_equal(f->item_count, 2);
    assert_int_equal(f->items[0].kind, WAL_ITEM_LOST);
    assert_known(&f->items[1], second_record());
    close_log(f);
    for (unsigned block = 3; block < 7; block++)
        flip(f, block * WAL_BLOCK + 100);
    open_log(f);
    assert_int_equal(f->item_count, 2);
    assert_int_equal(f->items[1].kind, WAL_ITEM_LOST);
    wait_durable(f, append(f, record_of(3, 100)));
    close_log(f);
    open_log(f);
    assert_int_equal(f->record_count, 1);
    assert_known(&f->items[f->item_count - 1], record_of(3, 100));
}

static void test_lost_segment_is_told(void **state) {
    struct fixture *f = *state;
    open_log(f);
    append_many(f, 0, 2000, 20000); /* about 20 MB: three segments */
    close_log(f);
    char path[TEMP_DIR_SIZE + 16];
    snprintf(path, sizeof path, "%s/00000002.log", f->dir);
    assert_int_equal(unlink(path), 0);
    open_log(f);
    uint32_t lost = 0;
    for (uint32_t i = 0; i < f->item_count; i++)
        lost += f->items[i].kind == WAL_ITEM_LOST;
    assert_int_equal(lost, 1);
    assert_known(&f->items[0], record_of(0, 20000));
    assert_known(&f->items[f->item_count - 1], record_of(1999, 20000));
}

/* Nothing is ever told twice, in another order or with other bytes; where something is left out,
 * LOST stands. */
static void assert_truthful(struct fixture *f, uint64_t count, size_t size_max) {
    uint64_t next = 0;
    bool lost = false;
    for (uint32_t i = 0; i < f->item_count; i++) {
        const struct seen *item = &f->items[i];
        struct span record = record_of(next, size_max);
        size_t size = item->kind == WAL_ITEM_DAMAGED && record.size > WAL_IDENTITY ? WAL_IDENTITY
                                                                                   : record.size;
        while (lost && next < count && crc32c_update(0, record.data, size) != item->crc) {
            record = record_of(++next, size_max);
            size = item->kind == WAL_ITEM_DAMAGED && record.size > WAL_IDENTITY ? WAL_IDENTITY
                                                                                : record.size;
        }
        lost = item->kind == WAL_ITEM_LOST;
        if (lost)
            continue;
        assert_in_range(next, 0, count - 1);
        assert_known(item, record);
        next++;
    }
    assert_true(lost || next == count);
}

static void damage(struct rng *rng, int fd, uint32_t blocks) {
    char bytes[4 * WAL_SECTOR];
    for (size_t i = 0; i < sizeof bytes; i += 8) {
        uint64_t draw = rng_next(rng);
        memcpy(bytes + i, &draw, sizeof draw);
    }
    uint64_t how = rng_below(rng, 3);
    if (how == 1)
        memset(bytes, 0, sizeof bytes); /* a write that was lost */
    size_t size = how == 2 ? 1 : (1 + rng_below(rng, 4)) * WAL_SECTOR;
    off_t at = (off_t)(rng_below(rng, (uint64_t)blocks * WAL_SECTORS) * WAL_SECTOR);
    assert_int_equal(pwrite(fd, bytes, size, at), size);
}

#define DAMAGE_RECORDS 600u

static void test_damage_anywhere_is_told(void **state) {
    struct fixture *f = *state;
    open_log(f);
    append_many(f, 0, DAMAGE_RECORDS, 3000); /* 900 KB in some 90 batches */
    close_log(f);
    enum { BLOCKS = 240 }; /* all before the last batches */
    static char saved[BLOCKS * WAL_BLOCK];
    int fd = file_open(f);
    assert_int_equal(pread(fd, saved, sizeof saved, 0), sizeof saved);
    uint32_t whole = 0;
    for (uint64_t seed = 0; seed < 150; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        for (uint64_t n = 1 + rng_below(&rng, 6); n > 0; n--)
            damage(&rng, fd, n % 2 == 0 ? 8 : BLOCKS);
        open_log(f);
        assert_truthful(f, DAMAGE_RECORDS, 3000);
        whole += f->record_count == DAMAGE_RECORDS;
        close_log(f);
        assert_int_equal(pwrite(fd, saved, sizeof saved, 0), sizeof saved);
    }
    close(fd);
    assert_in_range(whole, 1, 149);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_are_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trimmed_segments_are_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_segment_is_begun_before_the_last_is_full, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_nearly_full_disk_gets_small_segments, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_torn_tail_at_every_sector, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_bad_sector_costs_no_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_written_behind_damage_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index_and_record_are_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_segment_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_anywhere_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
