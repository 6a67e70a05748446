/* Small files kept twice. */
#include "os/kept.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/crc.h"
#include "base/log.h"
#include "os/file.h"

#define LINE 9u /* eight digits and a newline */

static const char *copy_of(const char *path, char copy[PATH_MAX]) {
    snprintf(copy, PATH_MAX, "%s.copy", path);
    return copy;
}

static void print_line(struct span data, char line[LINE + 1]) {
    snprintf(line, LINE + 1, "%08x\n", crc32c_update(0, data.data, data.size));
}

int kept_write(const char *path, mode_t mode, struct span data, struct err *err) {
    char copy[PATH_MAX], line[LINE + 1];
    _cleanup_(buf_finip) struct buf both = BUF_INIT;
    print_line(data, line);
    buf_append(&both, line, LINE);
    buf_append(&both, data.data, data.size);
    if (both.failed)
        return err_set(err, ERR_NOMEM, "write %s", path);
    int r = file_replace(copy_of(path, copy), mode, buf_span(&both), err);
    return r != 0 ? r : file_replace(path, mode, data, err);
}

static int read_first(const char *path, size_t limit, kept_take *take, void *context,
                      struct err *err) {
    _cleanup_(buf_finip) struct buf bytes = BUF_INIT;
    int r = file_read_whole(path, limit, &bytes, err);
    return r != 0 ? r : take(context, path, buf_span(&bytes), err);
}

static int read_copy(const char *path, size_t limit, kept_take *take, void *context) {
    char copy[PATH_MAX], line[LINE + 1];
    _cleanup_(buf_finip) struct buf both = BUF_INIT;
    int r = file_read_whole(copy_of(path, copy), limit + LINE, &both, NULL);
    if (r == 0 && both.size < LINE)
        r = ERR_CORRUPT;
    if (r != 0)
        return r;
    struct span data = {both.data + LINE, both.size - LINE};
    print_line(data, line);
    if (memcmp(line, both.data, LINE) != 0)
        return ERR_CORRUPT;
    r = take(context, copy, data, NULL);
    return r != 0 ? r : file_replace(path, 0600, data, NULL);
}

int kept_read(const char *path, size_t limit, kept_take *take, void *context, struct err *err) {
    int r = read_first(path, limit, take, context, err);
    if (r != ERR_CORRUPT && r != ERR_IO && r != ERR_NOT_FOUND && r != ERR_LIMIT)
        return r;
    if (read_copy(path, limit, take, context) != 0)
        return r;
    log_warn("%s was damaged, and is had again from its copy", path);
    return 0;
}
