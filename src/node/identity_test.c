/* Identity files: what is written is read back; damaged and newer ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <fcntl.h>

#include "node/dir.h"
#include "os/file.h"

static char dir[64], path[128];

static int set_up(void **state) {
    snprintf(dir, sizeof dir, "/tmp/quern-identity-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/identity.json", dir);
    return 0;
}

static int tear_down(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static void test_round_trip(void **state) {
    struct place_node nodes[4] = {
        {.name = "a", .zone = "z", .peer_address = "h:1", .http_address = "h:2"},
        {.name = "b"},
        {.name = "c"},
        {.name = "d"}};
    struct identity written = {.node_id = 2}, read = {0};
    assert_int_equal(identity_form_cluster(nodes, 4, 0, &written.map, NULL), 0);
    assert_int_equal(written.map->voter_count, 3);
    assert_int_equal(written.map->replicas, 3);
    assert_int_equal(identity_write(path, &written, NULL), 0);
    assert_int_equal(identity_read(path, &read, NULL), 0);
    assert_int_equal(read.node_id, 2);
    assert_string_equal(identity_self(&read)->name, "b");
    assert_string_equal(read.map->nodes[0].peer_address, "h:1");
    assert_true(id128_equal(read.map->cluster_id, written.map->cluster_id));
    assert_memory_equal(read.map->owners, written.map->owners,
                        place_slice_count(read.map) * 3 * sizeof(uint16_t));
    identity_fini(&read);
    identity_fini(&written);
}

static void remove_both(void) {
    char copy[160];
    snprintf(copy, sizeof copy, "%s.copy", path);
    unlink(path);
    unlink(copy);
}

static void refuse(const char *text, int code) {
    struct identity identity = {.node_id = 99};
    assert_int_equal(file_replace(path, 0600, span_of(text), NULL), 0);
    assert_int_equal(identity_read(path, &identity, NULL), code);
    assert_int_equal(identity.node_id, 99);
}

static void test_refused(void **state) {
    struct identity identity;
    remove_both();
    assert_int_equal(identity_read(path, &identity, NULL), ERR_NOT_FOUND);
    refuse("", ERR_CORRUPT);
    refuse("{", ERR_CORRUPT);
    refuse("[]", ERR_CORRUPT);
    refuse("{\"format\": 3}", ERR_VERSION);
    refuse("{\"format\": 1}", ERR_VERSION);
    refuse("{\"format\": 2}", ERR_CORRUPT);
    refuse("{\"format\": 2, \"cluster\": \"00\", \"node\": 1, \"shards\": 8, \"replicas\": 3, "
           "\"slice_bits\": 12,"
           "\"voters\": [1], \"members\": [{}]}",
           ERR_CORRUPT);
}

/* What a cluster says to a node that joins it, and what the node makes of newer maps. */
static void test_joined(void **state) {
    struct identity identity, again;
    struct place_node nodes[2] = {{.name = "a", .peer_address = "h:1", .http_address = "h:2"},
                                  {.name = "b", .peer_address = "i:1", .http_address = "i:2"}};
    struct place_map *newest;
    assert_int_equal(identity_form_cluster(nodes, 2, 0, &newest, NULL), 0);
    assert_int_equal(identity_accept(path, SPAN_LITERAL("{\"format\": 2}"), NULL), ERR_PROTOCOL);
    identity = (struct identity){.node_id = 2, .joined = true, .map = newest};
    assert_int_equal(identity_write(path, &identity, NULL), 0);
    assert_int_equal(identity_read(path, &again, NULL), 0);
    assert_true(again.joined);
    assert_int_equal(again.map->epoch, 0); /* older than any real one, */
    for (uint32_t slice = 0; slice < place_slice_count(again.map); slice++)
        assert_int_equal(place_primary(again.map, slice), 0); /* and places nothing */
    identity_fini(&again);

    newest->groups[0] = (struct place_group){1, {2}};
    assert_int_equal(identity_read(path, &again, NULL), 0);
    assert_int_equal(identity_renew(path, &again, newest, NULL), 0);
    identity_fini(&again);
    assert_int_equal(identity_read(path, &again, NULL), 0);
    assert_int_equal(again.map->voter_count, 1);
    assert_int_equal(again.map->voters[0], 2);
    identity_fini(&again);
    identity_fini(&identity);
}

static void test_directory(void **state) {
    struct node_options options = {.dir = dir, .listen_address = "127.0.0.1:1"};
    struct node_dir first = NODE_DIR_INIT, second = NODE_DIR_INIT;
    struct err err = {0};
    remove_both();
    assert_int_equal(node_dir_open(&options, &first, &err), 0);
    assert_int_equal(first.boot, 1);
    assert_string_equal(identity_self(&first.identity)->http_address, "127.0.0.1:1");
    assert_string_equal(identity_self(&first.identity)->peer_address, "127.0.0.1:9100");
    assert_int_equal(node_dir_open(&options, &second, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, "in use"));
    node_dir_fini(&second);
    node_dir_fini(&first);
    options.listen_address = NULL; /* as before */
    second = NODE_DIR_INIT;
    assert_int_equal(node_dir_open(&options, &second, &err), 0);
    assert_int_equal(second.boot, 2);
    assert_string_equal(identity_self(&second.identity)->http_address, "127.0.0.1:1");
    assert_string_equal(second.credentials.secret_key, first.credentials.secret_key);
    node_dir_fini(&second);
}

/* One bad byte in each file. */
static void test_damaged_directory(void **state) {
    static const char *const names[] = {"identity.json", "boot", "credentials"};
    struct node_options options = {.dir = dir};
    struct node_dir before = NODE_DIR_INIT, after = NODE_DIR_INIT;
    assert_int_equal(node_dir_open(&options, &before, NULL), 0);
    node_dir_fini(&before);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        int fd = open(name, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "\x01", 1, 0), 1);
        close(fd);
    }
    assert_int_equal(node_dir_open(&options, &after, NULL), 0);
    assert_int_equal(after.boot, before.boot + 1);
    assert_string_equal(after.credentials.secret_key, before.credentials.secret_key);
    node_dir_fini(&after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_joined),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_damaged_directory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
