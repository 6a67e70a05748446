/* Reading command lines with getopt_long(3) from a command's table of options. */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define OPTIONS_MAX 32
#define HELP_VALUE                                                                                 \
    256 /* getopt's values of options: HELP_VALUE for --help, HELP_VALUE + 1 + row                 \
         */

int options_misuse(const struct usage *usage, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "quern %s: %s; see quern %s --help\n", usage->name, text, usage->name);
    return CLI_USAGE;
}

int options_fail(const struct usage *usage, const struct err *err, int code) {
    fprintf(stderr, "quern %s: %s\n", usage->name, err_message(err, code));
    return CLI_FAILED;
}

int options_fail_about(const struct usage *usage, const char *about, const struct err *err,
                       int code) {
    fprintf(stderr, "quern %s: %s: %s\n", usage->name, about, err_message(err, code));
    return CLI_FAILED;
}

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit byte_units[] = {{"", 1},           {"K", 1ull << 10}, {"M", 1ull << 20},
                                         {"G", 1ull << 30}, {"T", 1ull << 40}, {NULL, 0}};
static const struct unit time_units[] = {{"", 1000},   {"ms", 1},      {"s", 1000},
                                         {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

bool options_parse_number(enum option_kind kind, const char *text, uint64_t *ret_value) {
    const struct unit *unit = kind == OPTION_BYTES      ? byte_units
                              : kind == OPTION_DURATION ? time_units
                                                        : no_units;
    if (text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    while (unit->name != NULL && strcmp(unit->name, end) != 0)
        unit++;
    if (errno != 0 || unit->name == NULL || number > UINT64_MAX / unit->factor)
        return false;
    *ret_value = number * unit->factor;
    return true;
}

static void print_option(const struct option_row *row) {
    char left[64];
    snprintf(left, sizeof left, "%s%c%s--%s%s%s", row->letter != 0 ? "-" : " ",
             row->letter != 0 ? row->letter : ' ', row->letter != 0 ? ", " : "  ", row->name,
             row->argument != NULL ? " " : "", row->argument != NULL ? row->argument : "");
    printf("  %-24s %s\n", left, row->text);
}

static void print_example(const char *example) {
    for (const char *line = example; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        printf("  %.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static void print_help(const struct usage *usage) {
    printf("usage: quern %s%s%s%s\n\n%s\n\n", usage->name,
           usage->options != NULL ? " [OPTIONS]" : "", usage->operands[0] != '\0' ? " " : "",
           usage->operands, usage->about);
    printf("Options\n");
    for (const struct option_row *row = usage->options; row != NULL && row->name != NULL; row++)
        print_option(row);
    printf("  %-24s %s\n\nExample\n", "-h, --help", "this text");
    print_example(usage->example);
}

/* The rows as getopt_long wants them. */
static void build_getopt(const struct usage *usage, struct option *longs, char *shorts) {
    int count = 0;
    *shorts++ = ':'; /* a missing argument is told apart from an unknown option */
    *shorts++ = 'h';
    longs[count++] = (struct option){"help", no_argument, NULL, HELP_VALUE};
    for (const struct option_row *row = usage->options; row != NULL && row->name != NULL; row++) {
        ASSERT(count < OPTIONS_MAX - 1);
        bool argument = row->kind != OPTION_FLAG;
        longs[count] = (struct option){row->name, argument ? required_argument : no_argument, NULL,
                                       HELP_VALUE + count};
        count++;
        if (row->letter == 0)
            continue;
        *shorts++ = row->letter;
        if (argument)
            *shorts++ = ':';
    }
    *shorts = '\0';
    longs[count] = (struct option){0};
}

static const struct option_row *row_of(const struct usage *usage, int value) {
    if (value > HELP_VALUE)
        return &usage->options[value - HELP_VALUE - 1];
    for (const struct option_row *row = usage->options; row != NULL && row->name != NULL; row++)
        if (row->letter == value)
            return row;
    return NULL;
}

static int store_value(const struct usage *usage, const struct option_row *row, void *values) {
    void *target = (char *)values + row->offset;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)target = true;
        return OPTIONS_GO;
    case OPTION_TEXT:
        *(const char **)target = optarg;
        return OPTIONS_GO;
    case OPTION_NUMBER:
    case OPTION_BYTES:
    case OPTION_DURATION:
        break;
    }
    if (!options_parse_number(row->kind, optarg, target))
        return options_misuse(usage, "--%s does not take '%s'", row->name, optarg);
    return OPTIONS_GO;
}

static int parse_options(const struct usage *usage, int argc, char **argv, void *values) {
    struct option longs[OPTIONS_MAX + 1];
    char shorts[2 * OPTIONS_MAX + 3];
    build_getopt(usage, longs, shorts);
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    for (int value; (value = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (value == HELP_VALUE || value == 'h') {
            print_help(usage);
            return CLI_OK;
        }
        if (value == ':')
            return options_misuse(usage, "%s needs a value", argv[optind - 1]);
        const struct option_row *row = value == '?' ? NULL : row_of(usage, value);
        if (row == NULL && optopt > 0 && optopt < HELP_VALUE)
            return options_misuse(usage, "unknown option -%c", optopt);
        if (row == NULL)
            return options_misuse(usage, "unknown option %s", argv[optind - 1]);
        int status = store_value(usage, row, values);
        if (status != OPTIONS_GO)
            return status;
    }
    return OPTIONS_GO;
}

static int check_operands(const struct usage *usage, const struct operands *operands) {
    if (operands->count < usage->operands_min)
        return options_misuse(usage, "it takes %s", usage->operands);
    if (usage->operands_max >= 0 && operands->count > usage->operands_max)
        return options_misuse(usage, "'%s' is too much", operands->words[usage->operands_max]);
    return OPTIONS_GO;
}

int options_parse(const struct usage *usage, int argc, char **argv, void *values,
                  struct operands *ret_operands) {
    struct operands operands = {0};
    int end = argc;
    if (usage->takes_command) {
        for (end = 1; end < argc && strcmp(argv[end], "--") != 0;)
            end++;
        if (end < argc) {
            operands.command = argv + end + 1;
            operands.command_count = argc - end - 1;
        }
    }
    int status = parse_options(usage, end, argv, values);
    if (status != OPTIONS_GO)
        return status;
    operands.words = argv + optind;
    operands.count = end - optind;
    status = check_operands(usage, &operands);
    if (status == OPTIONS_GO)
        *ret_operands = operands;
    return status;
}
