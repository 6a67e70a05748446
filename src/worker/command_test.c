/* Pipelines are read right, and exit statuses mean what COMPUTE.md says, with real shells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "worker/command.h"

/* Stages as letters: g for grep, c for another. "" for what is not looked into. */
static void test_one(const char *command, const char *stages) {
    struct pipeline pipeline;
    char got[COMMAND_STAGES_MAX + 1] = "";
    pipeline_parse(span_of(command), &pipeline);
    for (unsigned i = 0; i < pipeline.stages; i++)
        got[i] = pipeline.is_grep[i] ? 'g' : 'c';
    got[pipeline.stages] = '\0';
    if (strcmp(got, stages) != 0)
        print_error("%s\n", command);
    assert_string_equal(got, stages);
}

static void test_pipelines(void **state) {
    (void)state;
    test_one("grep x", "g");
    test_one("  grep x | wc -l", "gc");
    test_one("cat|/usr/bin/grep -v y|sort|uniq -c", "cgcc");
    test_one("LC_ALL=C grep 'a|b' | sort", "gc");
    test_one("awk '{print $1 | \"sort\"}' | egrep -c \"x|y\"", "cg");
    test_one("cd x; grep a 2>/dev/null | head", "gc");
    test_one("cd x && grep a;", "g");
    test_one("true || fgrep b >out 2>&1", "g");
    test_one("tr a b &>/dev/null | rg x\n", "cg");
    test_one("exec grep x", "g");
    test_one("echo a\\|b | cat", "cc");
    test_one("sed s/a/b/ |& grep b", "cg");
    test_one("\ngrep x\nwc\n", "c");
    test_one("grep x |\n wc", "gc");
    test_one("for i in 1; do grep x; done | sort", "");
    test_one("echo $(grep x) | cat", "");
    test_one("(grep x) | cat", "");
    test_one("! grep x", "");
    test_one("if grep x; then cat; fi", "");
    test_one("echo 'open", "");
    test_one("cat <<E\nE", "");
    test_one("", "c");
}

static int status_of(const struct command *command) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
            _exit(99);
        execv(command->argv[0], (char *const *)(uintptr_t)command->argv);
        _exit(98);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static enum command_verdict verdict_of(const char *shell, const char *want_reason,
                                       int want_status) {
    struct arena arena;
    struct command command;
    arena_init(&arena, 1 << 20);
    assert_int_equal(command_init(&command, 0, NULL, shell, &arena, NULL), 0);
    struct launch_result result = {.end = LAUNCH_ENDED, .wait_status = status_of(&command)};
    char reason[COMMAND_REASON_SIZE];
    int status;
    enum command_verdict verdict = command_judge(&command, &result, reason, &status);
    if (strcmp(reason, want_reason) != 0 || status != want_status)
        print_error("%s\n", shell);
    assert_string_equal(reason, want_reason);
    assert_int_equal(status, want_status);
    command_fini(&command);
    arena_fini(&arena);
    return verdict;
}

static void test_shell_statuses(void **state) {
    (void)state;
    if (access("/bin/bash", X_OK) != 0)
        skip();
    assert_int_equal(verdict_of("true", "", 0), COMMAND_OK);
    assert_int_equal(verdict_of("grep no-such-user-at-all /etc/passwd", "", 1), COMMAND_OK);
    assert_int_equal(verdict_of("grep no-such-user-at-all /etc/passwd | wc -l", "", 0), COMMAND_OK);
    assert_int_equal(verdict_of("cat /etc/passwd | grep no-such-user-at-all", "", 0), COMMAND_OK);
    assert_int_equal(verdict_of("yes | head -1", "", 0), COMMAND_OK);
    assert_int_equal(verdict_of("for i in 1; do yes; done | head -1", "", 141), COMMAND_OK);
    assert_int_equal(verdict_of("grep x /no/such/file", "exit 2", 2), COMMAND_FAILED);
    assert_int_equal(verdict_of("grep x /no/such/file | sort", "exit 2", 2), COMMAND_FAILED);
    assert_int_equal(verdict_of("false | cat", "exit 1", 1), COMMAND_FAILED);
    assert_int_equal(verdict_of("false | yes | head -1", "exit 141", 141), COMMAND_FAILED);
    assert_int_equal(verdict_of("false && echo | cat", "exit 1", 1), COMMAND_FAILED);
    assert_int_equal(verdict_of("exit 75", "exit 75", 75), COMMAND_RETRY);
    assert_int_equal(verdict_of("true | (exit 75)", "exit 75", 75), COMMAND_RETRY);
    assert_int_equal(verdict_of("true | exit 3", "exit 3", 3), COMMAND_FAILED);
    assert_int_equal(verdict_of("kill -SEGV $$", "killed by signal 11 (Segmentation fault)", -11),
                     COMMAND_RETRY);
    assert_int_equal(verdict_of("no-such-command-at-all", "exit 127", 127), COMMAND_FAILED);
}

static void test_typed_statuses(void **state) {
    (void)state;
    char grep_name[] = "/bin/grep", x[] = "x", cat_name[] = "cat";
    char *const grep[] = {grep_name, x}, *const cat[] = {cat_name};
    struct arena arena;
    struct command command;
    char reason[COMMAND_REASON_SIZE];
    int status;
    arena_init(&arena, 1 << 20);
    struct launch_result one = {.end = LAUNCH_ENDED, .wait_status = 1 << 8},
                         over = {.end = LAUNCH_MEMORY_OVER};
    assert_int_equal(command_init(&command, 2, grep, "", &arena, NULL), 0);
    assert_int_equal(command_judge(&command, &one, reason, &status), COMMAND_OK);
    assert_int_equal(command_init(&command, 1, cat, "", &arena, NULL), 0);
    assert_int_equal(command_judge(&command, &one, reason, &status), COMMAND_FAILED);
    assert_string_equal(command.argv[0], "cat");
    assert_null(command.argv[1]);
    assert_int_equal(command_judge(&command, &over, reason, &status), COMMAND_FAILED);
    assert_string_equal(reason, "out of memory");
    arena_fini(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipelines),
        cmocka_unit_test(test_shell_statuses),
        cmocka_unit_test(test_typed_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
