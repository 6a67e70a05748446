/* The table of errors and the printing of their stories. */
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *s3_code;
    const char *text;
    int status;
} table[] = {
    {"OK", "OK", "success", 200},
#define X(name, status, s3_code, text) {#name, s3_code, text, status},
#include "tbl/errors.h"
#undef X
};

static unsigned row(int code) {
    if (code == 0)
        return 0;
    return code < 0 && -code < ERR_NUMBER_END ? (unsigned)-code : ERR_NUMBER_INTERNAL;
}

int err_set(struct err *err, int code, const char *format, ...) {
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return code;
}

static int code_of_errno(int errno_value) {
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NOSPACE;
    case ENOMEM:
        return ERR_NOMEM;
    case ECONNREFUSED:
        return ERR_REFUSED;
    case EPIPE:
    case ECONNRESET:
        return ERR_CLOSED;
    case ETIMEDOUT:
    case EAGAIN:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}

int err_errno(struct err *err, int errno_value, const char *format, ...) {
    int code = code_of_errno(errno_value);
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->text)
        snprintf(err->text + used, sizeof err->text - (size_t)used, ": %s", strerror(errno_value));
    return code;
}

int err_wrap(struct err *err, const char *format, ...) {
    if (err == NULL)
        return ERR_INTERNAL;
    struct err inner = *err;
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->text)
        snprintf(err->text + used, sizeof err->text - (size_t)used, ": %s", inner.text);
    return err->code;
}

const char *err_name(int code) {
    return table[row(code)].name;
}

const char *err_s3_code(int code) {
    return table[row(code)].s3_code;
}

const char *err_text(int code) {
    return table[row(code)].text;
}

int err_http_status(int code) {
    return table[row(code)].status;
}

const char *err_message(const struct err *err, int code) {
    return err != NULL && err->code == code && err->text[0] != '\0' ? err->text : err_text(code);
}

_Bool err_is_transient(int code) {
    switch (code) {
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_REFUSED:
    case ERR_BUSY:
    case ERR_NOT_LEADER:
    case ERR_NO_LEADER:
    case ERR_STALE:
    case ERR_SHUTDOWN:
    case ERR_FORGOTTEN:
        return true;
    default:
        return false;
    }
}
