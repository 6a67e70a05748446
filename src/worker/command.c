/* Reading shell commands just well enough to know which greps are in the last pipeline. */
#include "worker/command.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_BYTES_MAX ((size_t)64 << 10)
#define STATUS_RETRY 75
#define STATUS_SIGPIPE (128 + 13)

bool command_is_grep(const char *program) {
    static const char *const names[] = {"grep", "egrep", "fgrep", "rg"};
    const char *slash = strrchr(program, '/');
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(slash != NULL ? slash + 1 : program, names[i]) == 0)
            return true;
    return false;
}

static bool is_compound(const char *word) {
    static const char *const words[] = {"if",     "for",    "while", "until", "case",     "do",
                                        "then",   "else",   "elif",  "done",  "fi",       "esac",
                                        "{",      "}",      "!",     "[[",    "function", "time",
                                        "coproc", "select", "trap"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* NAME=value before a command, and the words that run the one after them. */
static bool is_prefix(const char *word) {
    if (strcmp(word, "exec") == 0 || strcmp(word, "command") == 0)
        return true;
    size_t name = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
    return name > 0 && !isdigit((unsigned char)word[0]) && word[name] == '=';
}

/* Copies one word without its quotes; returns what follows it. Sets *compound at what is not looked
 * into. */
static const char *read_word(const char *at, const char *end, char *word, size_t size,
                             bool *compound) {
    size_t used = 0;
    char quote = 0;
    for (; at < end; at++) {
        if (quote == 0 && strchr(" \t\n|&;<>", *at) != NULL)
            break;
        if (quote == 0 && strchr("()`", *at) != NULL)
            *compound = true;
        if (*at == '\\' && quote != '\'' && at + 1 < end)
            at++;
        else if ((*at == '\'' || *at == '"') && (quote == 0 || quote == *at)) {
            quote = quote == 0 ? *at : 0;
            continue;
        }
        if (used + 1 < size)
            word[used++] = *at;
    }
    word[used] = '\0';
    if (quote != 0 || (used > 0 && word[0] == '#'))
        *compound = true;
    return at;
}

static void begin_stage(struct pipeline *pipeline, bool *compound) {
    if (pipeline->stages == COMMAND_STAGES_MAX)
        *compound = true;
    else
        pipeline->is_grep[pipeline->stages++] = false;
}

/* An operator at *at: moves behind it, and begins a stage or a pipeline. Redirections are skipped.
 */
static const char *read_operator(const char *at, const char *end, struct pipeline *pipeline,
                                 bool *named, bool *compound) {
    bool twice = at + 1 < end && at[1] == at[0];
    if (*at == '<' || *at == '>' || (*at == '&' && at + 1 < end && at[1] == '>')) {
        char target[16];
        if (*at == '<' && twice)
            *compound = true; /* a here-document */
        while (at < end && strchr("<>&|", *at) != NULL)
            at++;
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        return read_word(at, end, target, sizeof target, compound);
    }
    if (*at == '|' && !twice) {
        begin_stage(pipeline, compound);
        *named = false;
        return at + (at + 1 < end && at[1] == '&' ? 2 : 1);
    }
    at += twice ? 2 : 1;
    const char *rest = at;
    while (rest < end && isspace((unsigned char)*rest))
        rest++;
    if (rest == end)
        return end; /* a ; or newline that nothing follows */
    pipeline->stages = 0;
    begin_stage(pipeline, compound);
    *named = false;
    return at;
}

void pipeline_parse(struct span command, struct pipeline *ret_pipeline) {
    const char *at = command.data, *end = command.data + command.size;
    bool compound = false, named = false; /* the stage's program was read */
    ret_pipeline->stages = 0;
    begin_stage(ret_pipeline, &compound);
    while (at < end && !compound) {
        if (*at == ' ' || *at == '\t' || (*at == '\n' && !named)) {
            at++;
        } else if (strchr("|&;<>\n", *at) != NULL) {
            at = read_operator(at, end, ret_pipeline, &named, &compound);
        } else {
            char word[256];
            at = read_word(at, end, word, sizeof word, &compound);
            if (named || is_prefix(word))
                continue;
            named = true;
            compound = compound || is_compound(word);
            ret_pipeline->is_grep[ret_pipeline->stages - 1] = command_is_grep(word);
        }
    }
    if (compound)
        ret_pipeline->stages = 0;
}

/* At its exit bash looks at every stage: 1 of a grep, and SIGPIPE of all but the last, are good;
 * pipefail alone would fail `grep x | wc -l` where nothing matches. */
static void append_judgement(struct buf *text, const struct pipeline *pipeline) {
    buf_puts(text, "trap 's=$? p=(\"${PIPESTATUS[@]}\"); [[ \"${p[*]}\" =~ ^");
    for (unsigned i = 0; i < pipeline->stages; i++) {
        bool last = i + 1 == pipeline->stages;
        buf_printf(text, "(0%s%s)%s", pipeline->is_grep[i] ? "|1" : "", last ? "" : "|141",
                   last ? "$" : "\\ ");
    }
    buf_puts(text, " ]] && exit 0; exit $s' EXIT; ");
}

static void write_shell(struct command *command, const char *shell, bool has_bash) {
    struct pipeline pipeline;
    pipeline_parse(span_of(shell), &pipeline);
    if (has_bash && pipeline.stages > 1)
        append_judgement(&command->text, &pipeline);
    else
        command->one_is_ok = pipeline.stages > 0 && pipeline.is_grep[pipeline.stages - 1];
    command->sigpipe_is_ok = pipeline.stages == 0;
    buf_puts(&command->text, shell);
}

int command_init(struct command *command, size_t argc, char *const *argv, const char *shell,
                 struct arena *arena, struct err *err) {
    *command = (struct command){.text = {.limit = COMMAND_BYTES_MAX}};
    bool has_bash = access("/bin/bash", X_OK) == 0;
    command->argv = arena_array(arena, const char *, (argc > 4 ? argc : 5) + 1);
    if (argc == 0)
        write_shell(command, shell, has_bash);
    else
        command->one_is_ok = command_is_grep(argv[0]);
    if (command->text.failed || command->argv == NULL) {
        buf_fini(&command->text);
        return err_set(err, ERR_LIMIT, "the command is longer than %zu KiB",
                       COMMAND_BYTES_MAX >> 10);
    }
    const char *const bash[] = {"/bin/bash", "-o", "pipefail", "-c", command->text.data};
    const char *const sh[] = {"/bin/sh", "-c", command->text.data};
    if (argc > 0)
        memcpy(command->argv, argv, argc * sizeof *argv);
    else if (has_bash)
        memcpy(command->argv, bash, sizeof bash);
    else
        memcpy(command->argv, sh, sizeof sh);
    return 0;
}

void command_fini(struct command *command) {
    buf_fini(&command->text);
}

static enum command_verdict judge_signal(int number, char reason[COMMAND_REASON_SIZE]) {
    if (number == SIGXFSZ) {
        snprintf(reason, COMMAND_REASON_SIZE, "its output is too large");
        return COMMAND_FAILED;
    }
    snprintf(reason, COMMAND_REASON_SIZE, "killed by signal %d (%s)", number, strsignal(number));
    return COMMAND_RETRY;
}

static enum command_verdict judge_status(const struct command *command, int status,
                                         char reason[COMMAND_REASON_SIZE]) {
    if (status == 0 || (status == 1 && command->one_is_ok) ||
        (status == STATUS_SIGPIPE && command->sigpipe_is_ok))
        return COMMAND_OK;
    snprintf(reason, COMMAND_REASON_SIZE, "exit %d", status);
    return status == STATUS_RETRY ? COMMAND_RETRY : COMMAND_FAILED;
}

enum command_verdict command_judge(const struct command *command,
                                   const struct launch_result *result,
                                   char reason[COMMAND_REASON_SIZE], int *ret_status) {
    reason[0] = '\0';
    *ret_status = WIFSIGNALED(result->wait_status) ? -WTERMSIG(result->wait_status)
                                                   : WEXITSTATUS(result->wait_status);
    switch ((enum launch_end)result->end) {
    case LAUNCH_ENDED:
        return WIFSIGNALED(result->wait_status)
                   ? judge_signal(WTERMSIG(result->wait_status), reason)
                   : judge_status(command, *ret_status, reason);
    case LAUNCH_UNSTARTED:
        *ret_status = result->wait_status == ENOENT ? 127 : 126; /* as shells have it */
        snprintf(reason, COMMAND_REASON_SIZE, "cannot run %.64s: %s", command->argv[0],
                 strerror(result->wait_status));
        /* Too many processes, or too little memory, here and now. */
        return result->wait_status == EAGAIN || result->wait_status == ENOMEM ? COMMAND_RETRY
                                                                              : COMMAND_FAILED;
    case LAUNCH_TIME_OVER:
        snprintf(reason, COMMAND_REASON_SIZE, "over its time limit");
        return COMMAND_FAILED;
    case LAUNCH_MEMORY_OVER:
        snprintf(reason, COMMAND_REASON_SIZE, "out of memory");
        return COMMAND_FAILED;
    default:
        snprintf(reason, COMMAND_REASON_SIZE, "stopped");
        return COMMAND_RETRY;
    }
}
