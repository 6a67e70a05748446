/* quern get, quern cat: objects into a file or to stdout. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/download.h"
#include "cli/options.h"
#include "os/file.h"

static const struct usage get_usage = {
    .name = "get",
    .operands = "PLACE [FILE]",
    .operands_min = 1,
    .operands_max = 2,
    .about = "Fetches an object into FILE (or into the folder FILE; by default the last part of "
             "its key; - is stdout).\n"
             "FILE appears only when it is whole and its checksums are right.",
    .example = "quern get logs/2026/07/01.gz today.gz",
};

static const struct usage cat_usage = {
    .name = "cat",
    .operands = "PLACE...",
    .operands_min = 1,
    .operands_max = -1,
    .about = "Writes objects to stdout, one after the other.",
    .example = "quern cat books/moby-dick.txt | wc",
};

static int parse_object(const char *text, struct place *ret_place, struct err *err) {
    int status = client_parse_place(text, ret_place, err);
    if (status == 0 && ret_place->key[0] == '\0')
        status = err_set(err, ERR_INVALID, "'%s' is a bucket, not an object", text);
    return status;
}

static int choose_file(const struct place *place, const char *file, char path[PATH_MAX],
                       struct err *err) {
    const char *slash = strrchr(place->key, '/'), *base = slash != NULL ? slash + 1 : place->key;
    struct stat st;
    if (file == NULL)
        snprintf(path, PATH_MAX, "%s", base);
    else if (stat(file, &st) == 0 && S_ISDIR(st.st_mode))
        snprintf(path, PATH_MAX, "%s/%s", file, base);
    else
        snprintf(path, PATH_MAX, "%s", file);
    if (path[0] == '\0' || path[strlen(path) - 1] == '/' || strcmp(base, "..") == 0)
        return err_set(err, ERR_INVALID, "'%s' is no name for a file; give one", path);
    return 0;
}

/* The mode that open(2) would have given. */
static void set_usual_mode(int fd) {
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask); /* a file system without modes: the file is good all the same */
}

static int get_to_file(struct client *client, const struct place *place, const char *path,
                       struct err *err) {
    char temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.quern-XXXXXX", path) >= sizeof temporary)
        return err_set(err, ERR_INVALID, "the path is too long");
    _cleanup_(fd_closep) int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot create %s", path);
    int status = download_object(client, place, fd, err);
    if (status == 0)
        status = file_datasync(fd, err);
    set_usual_mode(fd);
    if (status == 0 && rename(temporary, path) != 0)
        status = err_errno(err, errno, "cannot create %s", path);
    if (status != 0)
        unlink(temporary);
    return status;
}

static int get(struct client *client, const struct operands *operands, struct err *err) {
    struct place place;
    char path[PATH_MAX];
    const char *file = operands->count > 1 ? operands->words[1] : NULL;
    int status = parse_object(operands->words[0], &place, err);
    if (status != 0)
        return status;
    if (file != NULL && strcmp(file, "-") == 0)
        return download_object(client, &place, STDOUT_FILENO, err);
    status = choose_file(&place, file, path, err);
    return status != 0 ? status : get_to_file(client, &place, path, err);
}

static int cat(struct client *client, const struct operands *operands, struct err *err) {
    struct place place;
    int status = 0;
    for (int i = 0; i < operands->count && status == 0; i++) {
        status = parse_object(operands->words[i], &place, err);
        if (status == 0)
            status = download_object(client, &place, STDOUT_FILENO, err);
    }
    return status;
}

static int run(const struct usage *usage, int argc, char **argv,
               int (*command)(struct client *, const struct operands *, struct err *)) {
    struct operands operands;
    int status = options_parse(usage, argc, argv, NULL, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status == 0) {
        status = command(client, &operands, &err);
        client_close(client);
    }
    return status == 0 ? CLI_OK : options_fail(usage, &err, status);
}

int cli_get(int argc, char **argv) {
    return run(&get_usage, argc, argv, get);
}

int cli_cat(int argc, char **argv) {
    return run(&cat_usage, argc, argv, cat);
}
