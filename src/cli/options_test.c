/* Command lines: numbers with units, options mixed with operands, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cli/options.h"

struct values {
    bool json;
    const char *output;
    uint64_t memory_bytes;
    uint64_t time_ms;
};

static const struct option_row rows[] = {
    {"json", 'j', OPTION_FLAG, offsetof(struct values, json), NULL, "as JSON"},
    {"output", 'o', OPTION_TEXT, offsetof(struct values, output), "PLACE", "where to"},
    {"mem", 0, OPTION_BYTES, offsetof(struct values, memory_bytes), "SIZE", "memory"},
    {"time", 0, OPTION_DURATION, offsetof(struct values, time_ms), "T", "time"},
    {0},
};
static const struct usage usage = {
    .name = "test",
    .operands = "A [B]",
    .operands_min = 1,
    .operands_max = 2,
    .takes_command = true,
    .about = "Tests.",
    .example = "quern test",
    .options = rows,
};

static int parse(struct values *values, struct operands *operands, const char *line) {
    static char text[256], name[] = "test";
    static char *argv[16];
    int argc = 1;
    strcpy(text, line);
    argv[0] = name;
    for (char *save, *word = strtok_r(text, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    *values = (struct values){.time_ms = 7};
    return options_parse(&usage, argc, argv, values, operands);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        enum option_kind kind;
        const char *text;
        int64_t value; /* -1: refused */
    } cases[] = {
        {OPTION_NUMBER, "12", 12},
        {OPTION_NUMBER, "12K", -1},
        {OPTION_NUMBER, "-1", -1},
        {OPTION_NUMBER, "", -1},
        {OPTION_NUMBER, " 1", -1},
        {OPTION_BYTES, "64K", 65536},
        {OPTION_BYTES, "16M", 16 << 20},
        {OPTION_BYTES, "1X", -1},
        {OPTION_BYTES, "99999999999999T", -1},
        {OPTION_DURATION, "500ms", 500},
        {OPTION_DURATION, "30", 30000},
        {OPTION_DURATION, "5m", 300000},
        {OPTION_NUMBER, "99999999999999999999", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 77;
        bool ok = options_parse_number(cases[i].kind, cases[i].text, &value);
        assert_int_equal(ok, cases[i].value >= 0);
        assert_int_equal(value, ok ? (uint64_t)cases[i].value : 77);
    }
}

static void test_good_lines(void **state) {
    (void)state;
    struct values values;
    struct operands operands;
    assert_int_equal(parse(&values, &operands, "a --json b -o out --mem 1K -- grep --json x"),
                     OPTIONS_GO);
    assert_true(values.json);
    assert_string_equal(values.output, "out");
    assert_int_equal(values.memory_bytes, 1024);
    assert_int_equal(values.time_ms, 7);
    assert_int_equal(operands.count, 2);
    assert_string_equal(operands.words[1], "b");
    assert_int_equal(operands.command_count, 3);
    assert_string_equal(operands.command[0], "grep");
    assert_int_equal(parse(&values, &operands, "a"), OPTIONS_GO);
    assert_null(operands.command);
    assert_int_equal(parse(&values, &operands, "a --"), OPTIONS_GO);
    assert_non_null(operands.command);
}

static void test_refused_lines(void **state) {
    (void)state;
    static const char *const lines[] = {"",        "a b c",      "a --nope", "a -x",       "a -o",
                                        "a --mem", "a --mem 1Q", "a --js=1", "a --time -3"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct values values;
        struct operands operands = {.count = -5};
        assert_int_equal(parse(&values, &operands, lines[i]), CLI_USAGE);
        assert_int_equal(operands.count, -5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_good_lines),
        cmocka_unit_test(test_refused_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
