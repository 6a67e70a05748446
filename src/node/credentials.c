/* The root user's keys: a file of two lines that a shell can read too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/codec.h"
#include "node/dir.h"
#include "os/kept.h"
#include "os/random.h"

#define ACCESS_LINE "QUERN_ACCESS_KEY="
#define SECRET_LINE "QUERN_SECRET_KEY="
#define FILE_BYTES_MAX 4096u

static bool is_key(const char *text, size_t size) {
    if (size < 3 || size >= KEY_SIZE)
        return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~' || strchr("\"'\\$`", text[i]) != NULL)
            return false;
    return true;
}

int credentials_make(struct credentials *ret_credentials, struct err *err) {
    const char *access = getenv("QUERN_ACCESS_KEY"), *secret = getenv("QUERN_SECRET_KEY");
    if (access == NULL && secret == NULL) {
        uint8_t bytes[30];
        random_bytes(bytes, sizeof bytes);
        hex_encode(bytes, 10, ret_credentials->access_key);
        hex_encode(bytes + 10, 20, ret_credentials->secret_key);
        return 0;
    }
    if (access == NULL || secret == NULL)
        return err_set(err, ERR_INVALID,
                       "QUERN_ACCESS_KEY and QUERN_SECRET_KEY: only one of them is set");
    if (!is_key(access, strlen(access)) || !is_key(secret, strlen(secret)))
        return err_set(
            err, ERR_INVALID,
            "QUERN_ACCESS_KEY and QUERN_SECRET_KEY must be 3 to 128 printable characters without "
            "spaces, quotes, $ and \\");
    memcpy(ret_credentials->access_key, access, strlen(access) + 1);
    memcpy(ret_credentials->secret_key, secret, strlen(secret) + 1);
    return 0;
}

static bool read_line(const char *text, const char *name, char *ret_key) {
    const char *line = strstr(text, name);
    if (line == NULL)
        return false;
    line += strlen(name);
    size_t size = strcspn(line, "\r\n");
    if (!is_key(line, size))
        return false;
    memcpy(ret_key, line, size);
    ret_key[size] = '\0';
    return true;
}

static int parse(void *ret_credentials, const char *path, struct span bytes, struct err *err) {
    struct credentials credentials;
    char text[FILE_BYTES_MAX + 1];
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    if (!read_line(text, ACCESS_LINE, credentials.access_key) ||
        !read_line(text, SECRET_LINE, credentials.secret_key))
        return err_set(err, ERR_CORRUPT, "%s: no good lines %s... and %s...", path, ACCESS_LINE,
                       SECRET_LINE);
    *(struct credentials *)ret_credentials = credentials;
    return 0;
}

int credentials_read(const char *path, struct credentials *ret_credentials, struct err *err) {
    return kept_read(path, FILE_BYTES_MAX, parse, ret_credentials, err);
}

int credentials_write(const char *path, const struct credentials *credentials, struct err *err) {
    _cleanup_(buf_finip) struct buf text = BUF_INIT;
    buf_printf(&text, ACCESS_LINE "%s\n" SECRET_LINE "%s\n", credentials->access_key,
               credentials->secret_key);
    return kept_write(path, 0600, buf_span(&text), err);
}
