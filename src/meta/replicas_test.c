/* The table of replicas: what it says lasts, and no birth is used twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/temp_dir.h"
#include "meta/replicas.h"
#include "os/file.h"
#include "os/kept.h"

static void test_founders_are_those_of_the_map(void **state) {
    (void)state;
    char dir[TEMP_DIR_SIZE];
    assert_int_equal(temp_dir_make(dir), 0);
    struct place_map *map = place_map_new(3, 2, 1);
    map->shards = 2;
    map->groups[0] = (struct place_group){2, {1, 2}};
    map->groups[2] = (struct place_group){1, {2}};
    struct replicas replicas;
    assert_int_equal(replicas_found(dir, map, 2, NULL), 0);
    assert_int_equal(replicas_open(&replicas, dir, 1, NULL), 0);
    assert_int_equal(replicas_get(&replicas, 0).born, REPLICA_FOUNDER);
    assert_int_equal(replicas_get(&replicas, 1).born, 0);
    assert_int_equal(replicas_get(&replicas, 2).born, REPLICA_FOUNDER);
    replicas_close(&replicas);
    place_map_unref(map);
    assert_int_equal(temp_dir_remove(dir), 0);
}

static void test_births_are_never_used_twice(void **state) {
    (void)state;
    char dir[TEMP_DIR_SIZE];
    assert_int_equal(temp_dir_make(dir), 0);
    struct replicas replicas;
    uint32_t last = REPLICA_FOUNDER, born;
    for (uint32_t boot = 1; boot <= 3; boot++) {
        assert_int_equal(replicas_open(&replicas, dir, boot, NULL), 0);
        assert_int_equal(replicas_get(&replicas, 5).born, last == REPLICA_FOUNDER ? 0 : last);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(replicas_drop(&replicas, 5, NULL), 0);
            assert_int_equal(replicas_make(&replicas, 5, 70, &born, NULL), 0);
            assert_true(born > last);
            last = born;
        }
        assert_int_equal(replicas_get(&replicas, 5).since_seq, 70);
        replicas_close(&replicas);
    }
    assert_int_equal(temp_dir_remove(dir), 0);
}

static void test_trimmed_slots_last_and_only_grow(void **state) {
    (void)state;
    char dir[TEMP_DIR_SIZE];
    assert_int_equal(temp_dir_make(dir), 0);
    struct replicas replicas;
    uint32_t born;
    assert_int_equal(replicas_open(&replicas, dir, 1, NULL), 0);
    assert_int_equal(replicas_make(&replicas, 1, 0, &born, NULL), 0);
    uint64_t upto[2] = {9, 7}, less[2] = {9, 3};
    assert_int_equal(replicas_set_trimmed(&replicas, upto, 2, NULL), 0);
    assert_int_equal(replicas_set_trimmed(&replicas, less, 2, NULL), 0);
    replicas_close(&replicas);
    assert_int_equal(replicas_open(&replicas, dir, 2, NULL), 0);
    assert_int_equal(replicas_get(&replicas, 0).trimmed_upto, 0); /* there is no replica */
    assert_int_equal(replicas_get(&replicas, 1).trimmed_upto, 7);
    replicas_close(&replicas);
    assert_int_equal(temp_dir_remove(dir), 0);
}

static void test_a_damaged_table_is_refused(void **state) {
    (void)state;
    char dir[TEMP_DIR_SIZE], path[TEMP_DIR_SIZE + 16];
    assert_int_equal(temp_dir_make(dir), 0);
    snprintf(path, sizeof path, "%s/replicas", dir);
    struct replicas replicas;
    uint32_t born;
    assert_int_equal(replicas_open(&replicas, dir, 1, NULL), 0);
    assert_int_equal(replicas_make(&replicas, 1, 0, &born, NULL), 0);
    replicas_close(&replicas);
    struct buf bytes = BUF_INIT;
    assert_int_equal(file_read_whole(path, 1 << 16, &bytes, NULL), 0);
    for (size_t i = 0; i < bytes.size; i += 97) {
        bytes.data[i] ^= 1;
        assert_int_equal(file_replace(path, 0600, buf_span(&bytes), NULL), 0);
        assert_int_equal(replicas_open(&replicas, dir, 2, NULL), 0); /* from its copy */
        assert_int_equal(replicas_get(&replicas, 1).born, born);
        replicas_close(&replicas);
        assert_int_equal(kept_write(path, 0600, buf_span(&bytes), NULL), 0); /* that as well */
        assert_int_equal(replicas_open(&replicas, dir, 2, NULL), ERR_CORRUPT);
        replicas_close(&replicas);
        bytes.data[i] ^= 1;
        assert_int_equal(kept_write(path, 0600, buf_span(&bytes), NULL), 0);
    }
    assert_int_equal(kept_write(path, 0600, (struct span){bytes.data, 40}, NULL), 0);
    assert_int_equal(replicas_open(&replicas, dir, 2, NULL), ERR_CORRUPT);
    replicas_close(&replicas);
    buf_fini(&bytes);
    assert_int_equal(temp_dir_remove(dir), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_founders_are_those_of_the_map),
        cmocka_unit_test(test_births_are_never_used_twice),
        cmocka_unit_test(test_trimmed_slots_last_and_only_grow),
        cmocka_unit_test(test_a_damaged_table_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
