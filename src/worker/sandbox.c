/* Main's side of a keeper. */
#include "worker/sandbox.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "worker/launcher.h"

#define TIME_MS_DEFAULT ((uint64_t)24 * 3600 * 1000)
#define FILE_BYTES_DEFAULT ((uint64_t)64 << 30)

struct sandbox {
    int socket;
    char scratch[LAUNCH_SCRATCH_SIZE];
};

int sandbox_open(struct launcher *launcher, struct sandbox **ret_sandbox, struct err *err) {
    struct sandbox *sandbox = malloc(sizeof *sandbox);
    if (sandbox == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int code = launcher_open_sandbox(launcher, &sandbox->socket, sandbox->scratch, err);
    if (code != 0) {
        free(sandbox);
        return code;
    }
    *ret_sandbox = sandbox;
    return 0;
}

struct sandbox *sandbox_close(struct sandbox *sandbox) {
    if (sandbox == NULL)
        return NULL;
    close(sandbox->socket);
    free(sandbox);
    return NULL;
}

const char *sandbox_scratch(const struct sandbox *sandbox) {
    return sandbox->scratch;
}

static uint32_t append_strings(struct buf *message, const char *const *strings) {
    uint32_t count = 0;
    for (; strings[count] != NULL; count++)
        buf_append(message, strings[count], strlen(strings[count]) + 1);
    return count;
}

static int pack(const struct sandbox_task *task, struct buf *message, struct err *err) {
    struct launch_task head = {
        .kind = LAUNCH_TASK,
        .time_ms_max = task->time_ms_max != 0 ? task->time_ms_max : TIME_MS_DEFAULT,
        .memory_bytes_max = task->memory_bytes_max,
        .file_bytes_max = task->file_bytes_max != 0 ? task->file_bytes_max : FILE_BYTES_DEFAULT};
    buf_append(message, &head, sizeof head);
    head.argc = append_strings(message, task->argv);
    head.envc = append_strings(message, task->environment);
    if (message->failed || head.argc + head.envc > LAUNCH_STRINGS_MAX)
        return err_set(err, ERR_LIMIT,
                       "the command and its environment are longer than %zu KiB or %d strings",
                       LAUNCH_MESSAGE_MAX >> 10, LAUNCH_STRINGS_MAX);
    memcpy(message->data, &head, sizeof head);
    return 0;
}

int sandbox_start(struct sandbox *sandbox, const struct sandbox_task *task, struct err *err) {
    _cleanup_(buf_finip) struct buf message = {.limit = LAUNCH_MESSAGE_MAX};
    int code = pack(task, &message, err);
    const int fds[2] = {task->stdin_fd, task->stdout_fd};
    return code != 0 ? code : launch_send(sandbox->socket, message.data, message.size, fds, 2, err);
}

int sandbox_wait(struct sandbox *sandbox, struct launch_result *ret_result, struct err *err) {
    struct launch_result result;
    size_t size;
    unsigned count = 0;
    int none;
    int code = launch_receive(sandbox->socket, &result, sizeof result, &size, &none, &count, err);
    if (code == 0 && size != sizeof result)
        code = err_set(err, ERR_CLOSED, "the sandbox of the task died");
    if (code == 0)
        *ret_result = result;
    return code;
}

void sandbox_kill(struct sandbox *sandbox) {
    const struct launch_kill message = {LAUNCH_KILL};
    launch_send(sandbox->socket, &message, sizeof message, NULL, 0,
                NULL); /* an error: it is dead already */
}
