/* Files, clocks, sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/kept.h"
#include "os/net.h"
#include "os/random.h"
#include "os/scrubber.h"
#include "os/space.h"
#include "test/lib/fake_space.h"
#include "test/lib/temp_dir.h"

static void test_clock(void **state) {
    (void)state;
    uint64_t start_ns = clock_now_ns();
    clock_sleep_until(start_ns + 3 * NS_PER_MS);
    assert_true(clock_now_ns() >= start_ns + 3 * NS_PER_MS);
    assert_int_equal(clock_poll_ms(start_ns), 0);
    assert_int_equal(clock_poll_ms(DEADLINE_NONE), -1);
    int left = clock_poll_ms(clock_deadline_ms(1000));
    assert_in_range(left, 900, 1000);
    assert_true(clock_wall_ms() > 1700000000000ull);

    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    clock_cond_init(&cond);
    pthread_mutex_lock(&lock);
    uint64_t until_ns = clock_deadline_ms(5);
    while (clock_cond_wait(&cond, &lock, until_ns))
        ;
    assert_true(clock_now_ns() + NS_PER_MS >= until_ns);
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
}

static void test_random(void **state) {
    (void)state;
    assert_false(id128_equal(random_id128(), random_id128()));
}

static void test_files(void **state) {
    (void)state;
    char dir[] = "/tmp/quern-os-XXXXXX", path[128], deep[128];
    assert_non_null(mkdtemp(dir));
    struct err err = {0};
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    assert_int_equal(file_make_directories(deep, &err), 0);
    assert_int_equal(file_make_directories(deep, &err), 0);
    snprintf(path, sizeof path, "%s/a/b/c/file", dir);
    _cleanup_(buf_finip) struct buf buf = BUF_INIT;
    assert_int_equal(file_read_whole(path, 100, &buf, &err), ERR_NOT_FOUND);
    assert_int_equal(file_replace(path, 0600, span_of("one"), &err), 0);
    assert_int_equal(file_replace(path, 0600, span_of("hello"), &err), 0);
    assert_int_equal(file_read_whole(path, 100, &buf, &err), 0);
    assert_string_equal(buf.data, "hello");
    assert_int_equal(file_read_whole(path, 4, &buf, &err), ERR_LIMIT);
    assert_int_equal(file_make_directories(path, &err), ERR_IO);

    _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
    char data[8];
    assert_int_equal(file_read_at(fd, data, 8, 0, &err), ERR_CORRUPT);
    assert_int_equal(file_write_at(fd, "world", 5, 3, &err), 0);
    assert_int_equal(file_datasync(fd, &err), 0);
    assert_int_equal(file_read_at(fd, data, 8, 0, &err), 0);
    assert_memory_equal(data, "helworld", 8);

    int lock = -1, again = -1;
    assert_int_equal(file_lock(path, &lock, &err), 0);
    assert_int_equal(file_lock(path, &again, &err), ERR_EXISTS);
    assert_int_equal(again, -1);
    close(lock);
    assert_int_equal(file_lock(path, &again, &err), 0);
    close(again);

    unlink(path);
    for (char *slash = strrchr(path, '/'); strlen(path) >= strlen(dir);
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (strlen(path) >= strlen(dir))
            assert_int_equal(rmdir(path), 0);
    }
}

static void test_addresses(void **state) {
    (void)state;
    static const struct {
        const char *address, *host;
        int port; /* -1: refused */
    } rows[] = {
        {"127.0.0.1:9000", "127.0.0.1", 9000},
        {"[::1]:80", "::1", 80},
        {":9", "", 9},
        {"host:65535", "host", 65535},
        {"host", NULL, -1},
        {"host:", NULL, -1},
        {"host:65536", NULL, -1},
        {"::1:80", NULL, -1},
        {"host:+1", NULL, -1},
        {"host:1x", NULL, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char host[NET_ADDRESS_SIZE] = "untouched";
        uint16_t port = 7;
        struct err err;
        int rc = net_parse_address(rows[i].address, host, &port, &err);
        assert_int_equal(rc, rows[i].port < 0 ? ERR_INVALID : 0);
        assert_string_equal(host, rows[i].port < 0 ? "untouched" : rows[i].host);
        assert_int_equal(port, rows[i].port < 0 ? 7 : rows[i].port);
    }
}

static void test_sockets(void **state) {
    (void)state;
    struct err err = {0};
    char address[NET_ADDRESS_SIZE];
    _cleanup_(fd_closep) int listener = -1, client = -1, other = -1;
    assert_int_equal(net_listen("127.0.0.1:0", &listener, address, &err), 0);
    assert_int_equal(net_listen(address, &other, NULL, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, "on 127.0.0.1 is in use"));
    assert_int_equal(net_connect(address, clock_deadline_ms(1000), &client, &err), 0);
    clock_sleep_until(clock_deadline_ms(2));
    other = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(other >= 0);

    char data[16];
    size_t size = 99;
    assert_int_equal(net_read(other, data, sizeof data, clock_deadline_ms(5), &size, &err),
                     ERR_TIMEOUT);
    assert_int_equal(size, 99);
    char he[] = "he", llo[] = "llo";
    struct iovec iov[] = {{NULL, 0}, {he, 2}, {he, 0}, {llo, 3}};
    assert_int_equal(net_write_all(client, iov, 4, clock_deadline_ms(1000), &err), 0);
    assert_int_equal(net_read_all(other, data, 5, clock_deadline_ms(1000), &err), 0);
    assert_memory_equal(data, "hello", 5);
    close(client);
    client = -1;
    assert_int_equal(net_read(other, data, sizeof data, clock_deadline_ms(1000), &size, &err), 0);
    assert_int_equal(size, 0);
    assert_int_equal(net_read_all(other, data, 1, clock_deadline_ms(1000), &err), ERR_CLOSED);

    close(listener);
    listener = -1;
    assert_int_equal(net_connect(address, clock_deadline_ms(1000), &client, &err), ERR_REFUSED);
    assert_int_equal(client, -1);
}

static void test_ballast(void **state) {
    char dir[TEMP_DIR_SIZE], path[TEMP_DIR_SIZE + 16];
    struct stat info;
    (void)state;
    assert_int_equal(temp_dir_make(dir), 0);
    snprintf(path, sizeof path, "%s/ballast", dir);
    uint64_t free_bytes = 0, total_bytes = 0;
    assert_int_equal(space_get(dir, &free_bytes, &total_bytes, NULL), 0);
    assert_in_range(free_bytes, 1, total_bytes);
    assert_int_equal(space_get("/proc/none", &free_bytes, &total_bytes, NULL), ERR_IO);
    assert_int_equal(space_keep_ballast(path, SPACE_LOW_BYTES, NULL), 0);
    assert_int_equal(stat(path, &info), -1); /* not enough room to make it */
    for (int twice = 0; twice < 2; twice++)
        assert_int_equal(space_keep_ballast(path, UINT64_MAX, NULL), 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, SPACE_BALLAST_BYTES);
    assert_int_equal(space_keep_ballast(path, SPACE_RELEASE_BYTES, NULL), 0);
    assert_int_equal(stat(path, &info), 0);
    for (int twice = 0; twice < 2; twice++)
        assert_int_equal(space_keep_ballast(path, 0, NULL), 0);
    assert_int_equal(stat(path, &info), -1);
    assert_int_equal(temp_dir_remove(dir), 0);
}

static int take_number(void *ret_number, const char *path, struct span bytes, struct err *err) {
    if (bytes.size != sizeof(uint64_t))
        return err_set(err, ERR_CORRUPT, "%s is damaged", path);
    memcpy(ret_number, bytes.data, sizeof(uint64_t));
    return 0;
}

static int read_number(const char *path, uint64_t *ret_number, struct err *err) {
    return kept_read(path, 64, take_number, ret_number, err);
}

static void test_kept_twice(void **state) {
    char dir[TEMP_DIR_SIZE], path[TEMP_DIR_SIZE + 16], copy[TEMP_DIR_SIZE + 32];
    (void)state;
    assert_int_equal(temp_dir_make(dir), 0);
    snprintf(path, sizeof path, "%s/number", dir);
    snprintf(copy, sizeof copy, "%s.copy", path);
    uint64_t number = 42, found = 0;
    struct span bytes = {(const char *)&number, sizeof number}, bad = SPAN_LITERAL("bad");
    assert_int_equal(read_number(path, &found, NULL), ERR_NOT_FOUND);
    assert_int_equal(kept_write(path, 0600, bytes, NULL), 0);
    assert_int_equal(file_replace(path, 0600, bad, NULL), 0);
    assert_int_equal(read_number(path, &found, NULL), 0);
    assert_int_equal(found, 42);
    assert_int_equal(file_replace(copy, 0600, bad, NULL), 0); /* the first is whole again */
    assert_int_equal(read_number(path, &found, NULL), 0);
    assert_int_equal(kept_write(path, 0600, bytes, NULL), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(read_number(path, &found, NULL), 0);
    struct buf flipped = BUF_INIT;
    assert_int_equal(file_read_whole(copy, 64, &flipped, NULL), 0);
    flipped.data[flipped.size - 1] ^= 1; /* what its checksum says */
    assert_int_equal(file_replace(copy, 0600, buf_span(&flipped), NULL), 0);
    buf_fini(&flipped);
    assert_int_equal(file_replace(path, 0600, bad, NULL), 0);
    struct err err = {0};
    assert_int_equal(read_number(path, &found, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "number is damaged"));
    assert_int_equal(temp_dir_remove(dir), 0);
}

static void test_ballast_goes_when_needed(void **state) {
    char dir[TEMP_DIR_SIZE], path[TEMP_DIR_SIZE + 16];
    (void)state;
    assert_int_equal(temp_dir_make(dir), 0);
    snprintf(path, sizeof path, "%s/ballast", dir);
    space_make_room(NULL);
    space_make_room(path); /* there is none */
    assert_int_equal(space_keep_ballast(path, UINT64_MAX, NULL), 0);
    fake_space_set(0, dir, SPACE_RELEASE_BYTES);
    space_make_room(path);
    assert_int_equal(access(path, F_OK), 0);
    fake_space_set(0, dir, SPACE_RELEASE_BYTES - 4096);
    space_make_room(path);
    assert_int_equal(access(path, F_OK), -1);
    fake_space_set(0, NULL, 0);
    assert_int_equal(temp_dir_remove(dir), 0);
}

/* The last words of a process that ends because of err; or, without one, is aborted by a library.
 */
static void last_words(const struct err *err, char *ret_words, size_t size) {
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        uint64_t free_bytes, total_bytes;
        space_explain_abort();
        space_get("/", &free_bytes, &total_bytes, NULL);
        if (err == NULL)
            abort();
        space_panic(err, "the log");
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t got; (got = read(ends[0], ret_words + used, size - 1 - used)) > 0;)
        used += (size_t)got;
    ret_words[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_want_of_room_is_not_for_good(void **state) {
    (void)state;
    char words[512];
    struct err err = {0};
    err_errno(&err, ENOSPC, "write");
    last_words(&err, words, sizeof words);
    assert_non_null(strstr(words, SPACE_ADVICE ": the log: write: No space left"));
    err_errno(&err, EIO, "write");
    last_words(&err, words, sizeof words);
    assert_null(strstr(words, SPACE_ADVICE));
    assert_non_null(strstr(words, "the log: write: Input/output error"));
    last_words(NULL, words, sizeof words);
    assert_string_equal(words, "");
    fake_space_set(0, "/", 0);
    last_words(NULL, words, sizeof words);
    assert_string_equal(words, "quern: fatal: " SPACE_ADVICE "\n");
    err_errno(&err, ENOSPC, "write");
    last_words(&err, words, sizeof words);
    assert_ptr_equal(strchr(words, '\n'), words + strlen(words) - 1); /* said once */
    fake_space_set(0, NULL, 0);
}

/* ---- a scrubber ---- */

static atomic_uint_fast64_t scrubbed;

static uint64_t scrub_total(void *context) {
    return *(uint64_t *)context;
}

static uint64_t scrub_read(void *context, uint64_t bytes) {
    assert_in_range(bytes, 1, *(uint64_t *)context);
    atomic_fetch_add(&scrubbed, bytes);
    return bytes;
}

static uint64_t scrub_for(uint64_t total, uint64_t period_ms, uint64_t enough, int tries) {
    struct scrub_work work = {
        .period_ms = period_ms, .total = scrub_total, .read = scrub_read, .context = &total};
    atomic_store(&scrubbed, 0);
    struct scrubber *scrubber = scrubber_start(&work);
    while (tries-- > 0 && atomic_load(&scrubbed) < enough)
        usleep(10000);
    assert_null(scrubber_stop(scrubber));
    return atomic_load(&scrubbed);
}

static void test_a_scrubber_reads_what_is_due(void **state) {
    (void)state;
    unsetenv("QUERN_SCRUB_MS");
    assert_in_range(scrub_for(1 << 20, 100, 3 << 20, 3000), 3 << 20, 8 << 20);
    assert_int_equal(scrub_for(1 << 20, 3600000, 1, 30), 0); /* not in 0.3 s */
    assert_int_equal(scrub_for(0, 100, 1, 30), 0);
    setenv("QUERN_SCRUB_MS", "50", 1);
    assert_in_range(scrub_for(1000, 3600000, 3000, 3000), 3000, 8000);
    unsetenv("QUERN_SCRUB_MS");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ballast_goes_when_needed),
        cmocka_unit_test(test_want_of_room_is_not_for_good),
        cmocka_unit_test(test_a_scrubber_reads_what_is_due),
        cmocka_unit_test(test_ballast),
        cmocka_unit_test(test_kept_twice),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
