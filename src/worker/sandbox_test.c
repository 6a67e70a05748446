/* Real processes in real sandboxes, at L2 and at the highest level of this machine: what tasks may
 * do, what they may not, and that nothing of them is left. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "worker/launcher.h"
#include "worker/sandbox.h"
#include "worker/scratch.h"
#include "worker/worker.h"

struct fixture {
    char dir[64];
    struct launcher *launcher;
    struct sandbox *sandbox;
    int level;
    char output[4096];
    struct launch_result result;
};

static int setup(void **state, int level) {
    struct fixture *f = calloc(1, sizeof *f);
    struct err err = {0};
    snprintf(f->dir, sizeof f->dir, "/tmp/quern-sandbox-test-XXXXXX");
    if (f == NULL || mkdtemp(f->dir) == NULL ||
        launcher_start_at(f->dir, level, &f->launcher, &err) != 0)
        return -1;
    const char *reason;
    f->level = launcher_sandbox_level(f->launcher, &reason);
    print_message("# asked for L%d, got L%d: %s\n", level, f->level, reason);
    *state = f;
    int code = sandbox_open(f->launcher, &f->sandbox, &err);
    return code;
}

static int setup_best(void **state) {
    return setup(state, 4);
}

static int setup_low(void **state) {
    return setup(state, 2);
}

/* A launcher that is itself nice, as under nice(1): an ordinary user cannot go back. */
static int setup_nice(void **state) {
    errno = 0;
    return nice(1) == -1 && errno != 0 ? -1 : setup_best(state);
}

static void remove_folder(const char *dir) {
    char files[128];
    snprintf(files, sizeof files, "%s/" SCRATCH_FILES, dir);
    rmdir(files);
    rmdir(dir);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    sandbox_close(f->sandbox);
    launcher_stop(f->launcher);
    remove_folder(f->dir);
    free(f);
    return 0;
}

static int start_and_wait(struct fixture *f, const struct sandbox_task *task, struct err *err) {
    int code = sandbox_start(f->sandbox, task, err);
    return code != 0 ? code : sandbox_wait(f->sandbox, &f->result, err);
}

/* What run_argv() asserts to be 0. */
static int try_argv(struct fixture *f, const char *const *argv, const struct sandbox_task *limits,
                    const char *input) {
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "HOME=/tmp", NULL};
    struct sandbox_task task = limits != NULL ? *limits : (struct sandbox_task){0};
    int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
    assert_int_equal(write(in, input, strlen(input)), strlen(input));
    lseek(in, 0, SEEK_SET);
    task.argv = argv;
    task.environment = environment;
    task.stdin_fd = in;
    task.stdout_fd = out;
    struct err err = {0};
    int code = start_and_wait(f, &task, &err);
    if (code != 0)
        print_error("%s\n", err.text);
    ssize_t size = pread(out, f->output, sizeof f->output - 1, 0);
    assert_true(size >= 0);
    f->output[size] = '\0';
    close(in);
    close(out);
    return code;
}

static void run_argv(struct fixture *f, const char *const *argv, const struct sandbox_task *limits,
                     const char *input) {
    assert_int_equal(try_argv(f, argv, limits, input), 0);
}

static void run(struct fixture *f, const char *command, const struct sandbox_task *limits) {
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    run_argv(f, argv, limits, "");
}

/* The command's exit status; its stderr is shown when that is not as wanted. */
static void assert_exit(struct fixture *f, int status) {
    if (f->result.end != LAUNCH_ENDED || f->result.wait_status != status << 8)
        print_error("end %u, status %d, stdout %s, stderr %.*s\n", f->result.end,
                    f->result.wait_status, f->output, (int)f->result.stderr_bytes,
                    f->result.stderr_tail);
    assert_int_equal(f->result.end, LAUNCH_ENDED);
    assert_int_equal(f->result.wait_status, status << 8);
}

static void test_statuses(void **state) {
    struct fixture *f = *state;
    const char *const true_argv[] = {"true", NULL};
    run_argv(f, true_argv, NULL, "");
    assert_exit(f, 0);
    assert_true(f->result.wall_us > 0);
    run(f, "exit 7", NULL);
    assert_exit(f, 7);
    run(f, "kill -SEGV $$", NULL);
    assert_int_equal(f->result.end, LAUNCH_ENDED);
    assert_true(WIFSIGNALED(f->result.wait_status) && WTERMSIG(f->result.wait_status) == SIGSEGV);
    const char *const missing[] = {"no-such-command", NULL};
    run_argv(f, missing, NULL, "");
    assert_int_equal(f->result.end, LAUNCH_UNSTARTED);
    assert_int_equal(f->result.wait_status, ENOENT);
    const char *const cat[] = {"cat", NULL};
    run_argv(f, cat, NULL, "one\ntwo\n");
    assert_exit(f, 0);
    assert_string_equal(f->output, "one\ntwo\n");
}

static void test_clean_start(void **state) {
    struct fixture *f = *state;
    run(f,
        "ls -l /proc/self/fd | grep -c ' -> '; env | sort | cut -d= -f1 | tr '\\n' ' '; ulimit -c; "
        "id -u",
        NULL);
    assert_exit(f, 0);
    static const char expected[] = "4\nHOME PATH PWD 0\n"; /* 0, 1, 2 and the one of ls */
    assert_memory_equal(f->output, expected, sizeof expected - 1);
    unsigned user = (unsigned)strtoul(f->output + sizeof expected - 1, NULL, 10);
    if (geteuid() != 0)
        assert_int_equal(user, geteuid());
    else
        assert_true(f->level >= 3 ? user == 65534 : user > 65534);
}

static void test_nicer_than_nice(void **state) {
    struct fixture *f = *state;
    int wanted = getpriority(PRIO_PROCESS, 0) + 5;
    run(f, "nice", NULL);
    assert_exit(f, 0);
    assert_int_equal(atoi(f->output), wanted < 19 ? wanted : 19);
}

static void test_time_limit(void **state) {
    struct fixture *f = *state;
    const struct sandbox_task limits = {.time_ms_max = 100};
    run(f, "sleep 60 & sleep 60", &limits);
    assert_int_equal(f->result.end, LAUNCH_TIME_OVER);
    assert_true(f->result.wall_us >= 100000 && f->result.wall_us < 5000000);
    run(f, "kill -STOP $$; echo never", &limits);
    assert_int_equal(f->result.end, LAUNCH_TIME_OVER);
    assert_string_equal(f->output, "");
    run(f, "while :; do echo noise >&2; done",
        &limits); /* a full stderr keeps nobody from looking at the clock */
    assert_int_equal(f->result.end, LAUNCH_TIME_OVER);
}

static void test_memory_limit(void **state) {
    struct fixture *f = *state;
    const struct sandbox_task limits = {.memory_bytes_max = 32 << 20, .time_ms_max = 20000};
    const char *const argv[] = {"/bin/sh", "-c",
                                "head -c 400000000 /dev/zero | tail -c 300000000 | wc -c", NULL};
    for (int i = 0; i < 10; i++) { /* not once does the keeper go with it */
        assert_int_equal(try_argv(f, argv, &limits, ""), 0);
        assert_int_equal(f->result.end, LAUNCH_MEMORY_OVER);
    }
    run(f, "exit 3", &limits);
    assert_exit(f, 3);
}

static void test_file_limit(void **state) {
    struct fixture *f = *state;
    const struct sandbox_task limits = {.file_bytes_max = 1 << 20};
    run(f, "exec head -c 5000000 /dev/zero", &limits);
    assert_int_equal(f->result.end, LAUNCH_ENDED);
    assert_true(WIFSIGNALED(f->result.wait_status) && WTERMSIG(f->result.wait_status) == SIGXFSZ);
}

static void test_stderr_tail(void **state) {
    struct fixture *f = *state;
    run(f, "seq 1 300000 >&2; printf end >&2", NULL);
    assert_exit(f, 0);
    assert_int_equal(f->result.stderr_bytes, LAUNCH_STDERR_BYTES);
    assert_memory_equal(f->result.stderr_tail + LAUNCH_STDERR_BYTES - 17, "299999\n300000\nend",
                        17);
    run(f, "echo short >&2", NULL);
    assert_int_equal(f->result.stderr_bytes, 6);
}

/* Counts the processes of the machine that are `sleep MARK`. */
static int count_sleepers(const char *mark) {
    char want[64], path[300], got[64];
    size_t size = (size_t)snprintf(want, sizeof want, "sleep%c%s", '\0', mark) + 1;
    int count = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t used = fd < 0 ? -1 : read(fd, got, sizeof got);
        count += used == (ssize_t)size && memcmp(got, want, size) == 0;
        if (fd >= 0)
            close(fd);
    }
    closedir(proc);
    return count;
}

static void test_nothing_is_left(void **state) {
    struct fixture *f = *state;
    char mark[32], command[256];
    snprintf(mark, sizeof mark, "60.%d", (int)getpid());
    pid_t own = fork(); /* shows that the counting works */
    if (own == 0)
        execlp("sleep", "sleep", mark, (char *)NULL);
    snprintf(command, sizeof command,
             "setsid sh -c '(setsid sleep %s &) & (sleep %s &)'; sleep 0.05; exit 0", mark, mark);
    run(f, command, NULL);
    assert_exit(f, 0);
    assert_int_equal(count_sleepers(mark), 1);
    kill(own, SIGKILL);
    waitpid(own, NULL, 0);
}

static void test_fork_bomb(void **state) {
    struct fixture *f = *state;
    const struct sandbox_task limits = {.time_ms_max = 500};
    const char *const argv[] = {"/bin/sh", "-c",
                                "bomb() { bomb & bomb & wait; }; bomb 2>/dev/null; sleep 60", NULL};
    run_argv(f, argv, &limits, "");
    assert_true(f->result.wall_us < 20000000);
    run(f, "echo alive", NULL);
    assert_exit(f, 0);
    assert_string_equal(f->output, "alive\n");
}

static void test_secrets_are_hidden(void **state) {
    struct fixture *f = *state;
    char path[128], command[512];
    snprintf(path, sizeof path, "%s/credentials", f->dir);
    int fd =
        open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644); /* the mode would let anybody read it */
    chmod(f->dir, 0755);
    assert_int_equal(write(fd, "secret\n", 7), 7);
    close(fd);
    snprintf(command, sizeof command,
             "cat %s; ls %s; cat /etc/shadow; ls /root; ls /home; cat /proc/%d/environ; echo $?",
             path, f->dir, (int)getpid());
    run(f, command, NULL);
    unlink(path);
    assert_exit(f, 0);
    assert_string_equal(f->output, "1\n");
    run(f, "touch /etc/x || touch /usr/x || touch /x || echo x > /proc/sys/kernel/hostname", NULL);
    assert_true(f->result.wait_status != 0);
    run(f, "echo x 1<>/proc/self/fd/0", NULL); /* the input cannot be opened for writing */
    assert_string_equal(f->output, "");
}

static void test_scratch(void **state) {
    struct fixture *f = *state;
    run(f,
        "pwd; ls -A; echo data > file; mkdir -p a/b/c/d; touch a/b/c/d/e; chmod 0 a/b/c; ln -s / "
        "link; cat file",
        NULL);
    assert_exit(f, 0);
    assert_non_null(strstr(f->output, "/tmp"));
    assert_non_null(strstr(f->output, "\ndata\n"));
    run(f,
        "ls -A . | wc -l; i=0; while [ $i -lt 300 ]; do mkdir d; cd d || exit 1; i=$((i+1)); done",
        NULL);
    assert_exit(f, 0);
    assert_string_equal(f->output, "0\n");
    run(f, "ls -A . | wc -l", NULL);
    assert_string_equal(f->output, "0\n");
}

static void test_scratch_is_removed(void **state) {
    struct fixture *f = *state;
    run(f, "pwd", NULL);
    f->output[strcspn(f->output, "\n")] = '\0';
    f->sandbox = sandbox_close(f->sandbox);
    struct err err = {0};
    for (int i = 0; i < 200 && strcmp(f->output, "/tmp") != 0 && access(f->output, F_OK) == 0; i++)
        usleep(10000);
    assert_true(strcmp(f->output, "/tmp") == 0 || access(f->output, F_OK) != 0);
    assert_int_equal(sandbox_open(f->launcher, &f->sandbox, &err), 0);
}

/* A C program would be better, but a task has no compiler; perl is in every Debian (perl-base is
 * essential). */
static void assert_denied(struct fixture *f, const char *perl) {
    const char *const argv[] = {"perl", "-e", perl, NULL};
    run_argv(f, argv, NULL, "");
    if (f->result.end == LAUNCH_UNSTARTED)
        skip();
    assert_exit(f, 1); /* EPERM */
}

static void test_denied_calls(void **state) {
    struct fixture *f = *state;
    assert_denied(f, "exit(syscall(425, 8, 0) < 0 ? $!+0 : 0)");       /* io_uring_setup */
    assert_denied(f, "exit(syscall(272, 0x10000000) < 0 ? $!+0 : 0)"); /* unshare NEWUSER */
    assert_denied(f,
                  "exit(syscall(56, 0x10000011, 0, 0, 0, 0) < 0 ? $!+0 : 0)"); /* clone NEWUSER */
    assert_denied(f, "exit(syscall(101, 16, 1, 0, 0) < 0 ? $!+0 : 0)");        /* ptrace */
    assert_denied(f, "exit(syscall(321, 0, 0, 0) < 0 ? $!+0 : 0)");            /* bpf */
    assert_denied(f, "exit(syscall(41, 2, 1, 0) < 0 ? $!+0 : 0)");             /* socket AF_INET */
    assert_denied(f, "exit(syscall(41, 16, 3, 0) < 0 ? $!+0 : 0)"); /* socket AF_NETLINK */
}

static void *kill_later(void *argument) {
    usleep(100000);
    sandbox_kill(argument);
    return NULL;
}

static void test_kill(void **state) {
    struct fixture *f = *state;
    sandbox_kill(f->sandbox); /* nothing runs: nothing happens */
    run(f, "echo still", NULL);
    assert_string_equal(f->output, "still\n");
    pthread_t thread;
    pthread_create(&thread, NULL, kill_later, f->sandbox);
    run(f, "sleep 60", NULL);
    pthread_join(thread, NULL);
    assert_int_equal(f->result.end, LAUNCH_KILLED);
}

/* Below L3 a user's processes are counted together, and before Landlock's ABI 6 may signal each
 * other: sandboxes share none. */
static void test_users_differ(void **state) {
    struct fixture *f = *state;
    if (geteuid() != 0)
        skip(); /* all tasks are then the user's own */
    run(f, "id -u", NULL);
    unsigned long first = strtoul(f->output, NULL, 10);
    struct sandbox *sandbox = f->sandbox;
    struct err err = {0};
    assert_int_equal(sandbox_open(f->launcher, &f->sandbox, &err), 0);
    run(f, "id -u", NULL);
    assert_true(strtoul(f->output, NULL, 10) != first);
    sandbox_close(sandbox);
}

/* A task that kills its keeper, where it can, ends the sandbox and nothing else. */
static void test_keeper_dies(void **state) {
    struct fixture *f = *state;
    const char *const argv[] = {
        "/bin/sh", "-c", "kill -9 $PPID 2>/dev/null; kill -9 -1 2>/dev/null; sleep 0.1; echo on",
        NULL};
    const char *const environment[] = {NULL};
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct sandbox_task task = {
        .argv = argv, .environment = environment, .stdin_fd = null_fd, .stdout_fd = null_fd};
    struct err err = {0};
    if (f->level < 3 && geteuid() != 0)
        skip(); /* the -1 would be all that the user runs */
    int code = f->level >= 3 ? start_and_wait(f, &task, &err) : ERR_CLOSED;
    assert_int_equal(code, f->level >= 3 ? 0 : ERR_CLOSED);
    close(null_fd);
    f->sandbox = sandbox_close(f->sandbox);
    assert_int_equal(sandbox_open(f->launcher, &f->sandbox, &err), 0);
    run(f, "echo again", NULL);
    assert_string_equal(f->output, "again\n");
}

#define BOTH(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, setup_best, teardown),                                   \
        cmocka_unit_test_setup_teardown(test, setup_low, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_statuses),
        BOTH(test_clean_start),
        BOTH(test_time_limit),
        BOTH(test_memory_limit),
        BOTH(test_file_limit),
        BOTH(test_stderr_tail),
        BOTH(test_nothing_is_left),
        BOTH(test_fork_bomb),
        BOTH(test_secrets_are_hidden),
        BOTH(test_scratch),
        BOTH(test_scratch_is_removed),
        BOTH(test_denied_calls),
        BOTH(test_kill),
        cmocka_unit_test_setup_teardown(test_users_differ, setup_low, teardown),
        BOTH(test_keeper_dies),
        cmocka_unit_test_setup_teardown(test_nicer_than_nice, setup_nice, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
