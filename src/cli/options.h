/* What all subcommands share in reading their command line: a table of options fills a struct,
 * --help prints the manual from the same table, and what is not understood is refused in one line
 * with exit status 2. */
#ifndef QUERN_CLI_OPTIONS_H
#define QUERN_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum cli_status { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

#define OPTIONS_GO (-1) /* options_parse(): the command line is good, go on */

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_NUMBER,   /* uint64_t */
    OPTION_BYTES,    /* uint64_t; 512, 64K, 16M, 1G: powers of 1024 */
    OPTION_DURATION, /* uint64_t, ms; 500ms, 30s, 5m, 1h; a bare number is seconds */
};

struct option_row {
    const char *name; /* "json" for --json */
    char letter;      /* 'j' for -j, or 0 */
    enum option_kind kind;
    size_t offset;        /* of the member in the command's struct of values */
    const char *argument; /* its name in the manual; NULL for a flag */
    const char *text;
};

struct usage {
    const char *name;     /* "put" */
    const char *operands; /* "FILE... PLACE" */
    int operands_min;
    int operands_max;   /* -1: no limit */
    bool takes_command; /* what follows "--" is a command of its own, not operands */
    const char *about;
    const char *example; /* lines; each is printed indented */
    const struct option_row
        *options; /* ends with a row whose name is NULL; NULL: none but --help */
};

struct operands {
    char **words;
    int count;
    char **command; /* takes_command: what followed "--"; NULL when there was no "--" */
    int command_count;
};

/* Options and operands may be mixed. values holds the defaults and is overwritten where an option
 * was given. Returns OPTIONS_GO, or the exit status: CLI_OK after --help, CLI_USAGE after one line
 * to stderr. */
int options_parse(const struct usage *usage, int argc, char **argv, void *values,
                  struct operands *ret_operands);

/* One line, "quern NAME: ...; see quern NAME --help"; returns CLI_USAGE. */
int options_misuse(const struct usage *usage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One line, "quern NAME: the story"; returns CLI_FAILED. */
int options_fail(const struct usage *usage, const struct err *err, int code);

/* The same with what it is about: "quern NAME: ABOUT: the story". */
int options_fail_about(const struct usage *usage, const char *about, const struct err *err,
                       int code);

/* Text as a value of that kind into *ret_value; false when it is not one. */
bool options_parse_number(enum option_kind kind, const char *text, uint64_t *ret_value);

#endif
