/* Errors: one table of codes (tbl/errors.h) and the story that goes with one.
 *
 * What can fail returns int: 0, or a negative ERR_* code. The story travels in the caller's struct
 * err, which may be NULL; each layer prefixes its part with err_wrap(). It is untouched on success.
 * Library code never logs. */
#ifndef QUERN_BASE_ERR_H
#define QUERN_BASE_ERR_H

#include <stdarg.h>

enum err_number {
    ERR_NUMBER_OK,
#define X(name, status, s3_code, text) ERR_NUMBER_##name,
#include "tbl/errors.h"
#undef X
    ERR_NUMBER_END
};

enum err_code {
#define X(name, status, s3_code, text) ERR_##name = -ERR_NUMBER_##name,
#include "tbl/errors.h"
#undef X
};

struct err {
    int code;       /* 0 or ERR_* */
    char text[256]; /* cut when longer */
};

/* Sets code and text; returns code, so that `return err_set(err, ERR_IO, "...")` reads well. err
 * may be NULL. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like err_set with the text of errno_value appended; ENOSPC, EDQUOT become ERR_NOSPACE, ENOMEM
 * ERR_NOMEM, ECONNREFUSED ERR_REFUSED, EPIPE and ECONNRESET ERR_CLOSED, ETIMEDOUT and EAGAIN
 * ERR_TIMEOUT, others ERR_IO. */
int err_errno(struct err *err, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text; returns err->code (ERR_INTERNAL when err is NULL: use it only
 * with one). */
int err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Static strings; any int is allowed and unknown ones read as INTERNAL. */
const char *err_name(int code);    /* "NO_SUCH_KEY" */
const char *err_s3_code(int code); /* "NoSuchKey" */
const char *err_text(int code);    /* the default sentence */
int err_http_status(int code);

/* The story if there is one, else the default sentence. */
const char *err_message(const struct err *err, int code);

/* Whether the same request may succeed when sent again, here or elsewhere. */
_Bool err_is_transient(int code);

#endif
