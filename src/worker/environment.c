/* Writing down what a task is told about itself. */
#include "worker/environment.h"

#include "wire/pb.h"

#define VARIABLES_MAX 24

const char *const *environment_new(const Pb__TaskWork *work, const char *scratch,
                                   struct arena *arena) {
    const Pb__TaskInput *input = work->input;
    const Pb__TaskAddress *task = work->lease->task;
    char version[ID128_HEX_SIZE];
    id128_print(pb_id128(input->version), version);
    const char **variables = arena_array(arena, const char *, VARIABLES_MAX);
    if (variables == NULL)
        return NULL;
    unsigned count = 0;
    variables[count++] = "PATH=" TASK_PATH;
    variables[count++] = "LANG=C.UTF-8";
    variables[count++] = arena_printf(arena, "HOME=%s", scratch);
    variables[count++] = arena_printf(arena, "TMPDIR=%s", scratch);
    variables[count++] = arena_printf(arena, "QUERN_TMP=%s", scratch);
    variables[count++] = arena_printf(arena, "QUERN_JOB=%s", work->job_name);
    variables[count++] = task->phase == 0 ? "QUERN_PHASE=map" : "QUERN_PHASE=reduce";
    variables[count++] = arena_printf(arena, "QUERN_TASK=%u", task->index);
    variables[count++] = arena_printf(arena, "QUERN_ATTEMPT=%u", work->lease->attempt);
    variables[count++] = arena_printf(arena, "QUERN_BUCKET=%s", input->bucket);
    variables[count++] = arena_printf(arena, "QUERN_KEY=%s", input->key);
    variables[count++] = arena_printf(arena, "QUERN_VERSION=%s", version);
    variables[count++] =
        arena_printf(arena, "QUERN_OFFSET=%llu", (unsigned long long)input->offset);
    variables[count++] =
        arena_printf(arena, "QUERN_LENGTH=%llu", (unsigned long long)input->length);
    variables[count++] =
        arena_printf(arena, "QUERN_PARTITION=%u", task->phase == 0 ? 0 : task->index);
    variables[count++] = "QUERN_PARTITIONS=1";
    return arena->overflowed ? NULL : variables;
}
