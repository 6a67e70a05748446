/* quern put: files, or stdin, as objects. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/upload.h"

static const struct usage usage = {
    .name = "put",
    .operands = "FILE... PLACE",
    .operands_min = 2,
    .operands_max = -1,
    .about = "Stores files. Several go under PLACE as a folder, and so does one when PLACE is a "
             "bucket or ends with '/';\n"
             "- is stdin. What the server got is compared with what was read.",
    .example = "quern put access.log logs/2026/07/01.log\n"
               "tar c src | quern put - backup/src.tar",
};

/* PLACE itself, or PLACE/base-name-of-FILE. */
static int choose_place(const struct place *target, const char *file, bool is_folder,
                        struct place *ret_place, struct err *err) {
    *ret_place = *target;
    if (!is_folder)
        return 0;
    const char *slash = strrchr(file, '/'), *base = slash != NULL ? slash + 1 : file;
    size_t used = strlen(target->key);
    bool joined = used == 0 || target->key[used - 1] == '/';
    if (strcmp(file, "-") == 0 || base[0] == '\0')
        return err_set(err, ERR_INVALID, "it has no name: give BUCKET/KEY");
    int size = snprintf(ret_place->key, sizeof ret_place->key, "%s%s%s", target->key,
                        joined ? "" : "/", base);
    return size < (int)sizeof ret_place->key
               ? 0
               : err_set(err, ERR_KEY_TOO_LONG, "the key is longer than 1024 bytes");
}

static int put_file(struct client *client, const struct place *target, const char *file,
                    bool is_folder, struct err *err) {
    struct place place;
    int status = choose_place(target, file, is_folder, &place, err);
    if (status != 0)
        return status;
    if (strcmp(file, "-") == 0)
        return upload_object(client, &place, STDIN_FILENO, err);
    _cleanup_(fd_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(err, errno, "cannot open") : upload_object(client, &place, fd, err);
}

static int put_files(struct client *client, const struct operands *operands) {
    struct place target;
    struct err err = {0};
    int last = operands->count - 1, exit_status = CLI_OK;
    int status = client_parse_place(operands->words[last], &target, &err);
    if (status != 0)
        return options_misuse(&usage, "%s", err.text);
    size_t size = strlen(target.key);
    bool is_folder = last > 1 || size == 0 || target.key[size - 1] == '/';
    for (int i = 0; i < last; i++) {
        status = put_file(client, &target, operands->words[i], is_folder, &err);
        if (status != 0)
            exit_status = options_fail_about(&usage, operands->words[i], &err, status);
    }
    return exit_status;
}

int cli_put(int argc, char **argv) {
    struct operands operands;
    int status = options_parse(&usage, argc, argv, NULL, &operands);
    if (status != OPTIONS_GO)
        return status;
    struct client *client;
    struct err err = {0};
    status = client_open(&client, &err);
    if (status != 0)
        return options_fail(&usage, &err, status);
    int exit_status = put_files(client, &operands);
    client_close(client);
    return exit_status;
}
