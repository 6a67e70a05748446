/* From a grant to a result. */
#include "worker/task.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/clock.h"
#include "worker/command.h"
#include "worker/environment.h"
#include "worker/input.h"
#include "worker/output.h"
#include "worker/scratch.h"

#define STORE_MS 120000u
#define TASK_MS_DEFAULT (3600000u * 24)

int slot_init(struct slot *slot, const char *dir, struct err *err) {
    slot->input_fd = slot->output_fd = -1;
    slot->sandbox = NULL;
    int code = scratch_file(dir, &slot->input_fd, err);
    return code != 0 ? code : scratch_file(dir, &slot->output_fd, err);
}

void slot_fini(struct slot *slot) {
    slot_cool(slot);
    fd_closep(&slot->input_fd);
    fd_closep(&slot->output_fd);
}

void slot_cool(struct slot *slot) {
    slot->sandbox = sandbox_close(slot->sandbox);
}

/* A sandbox serves one job only: what tasks leave behind in it, if ever, is their own. */
static int warm_sandbox(struct slot *slot, struct id128 job, struct err *err) {
    if (slot->sandbox != NULL && id128_equal(slot->job, job))
        return 0;
    slot_cool(slot);
    int code = sandbox_open(slot->launcher, &slot->sandbox, err);
    if (code == 0)
        slot->job = job;
    return code;
}

static struct chunk_ref chunk_of(const Pb__ChunkRef *ref) {
    return (struct chunk_ref){pb_id128(ref->id), ref->length, ref->crc32c, ref->ends_line};
}

static unsigned add_chunks(struct input_part *parts, unsigned count, Pb__ChunkRef *const *chunks,
                           size_t chunk_count) {
    for (size_t i = 0; i < chunk_count; i++)
        parts[count++].chunk = chunk_of(chunks[i]);
    return count;
}

static size_t count_parts(const Pb__TaskInput *input) {
    size_t count = input->n_chunks + input->n_following + 1;
    for (size_t i = 0; i < input->n_outputs; i++)
        count += input->outputs[i]->n_chunks + 1;
    return count;
}

/* The parts of a task's input in order; those that follow it last. */
static int plan_input(const Pb__TaskWork *work, struct arena *arena, struct input_plan *plan,
                      struct err *err) {
    const Pb__TaskInput *input = work->input;
    struct input_part *parts = arena_array(arena, struct input_part, count_parts(input));
    if (parts == NULL)
        return err_set(err, ERR_LIMIT, "the task has too many inputs");
    unsigned count = add_chunks(parts, 0, input->chunks, input->n_chunks);
    if (input->inline_data.len > 0)
        parts[count++].data = pb_span(input->inline_data);
    for (size_t i = 0; i < input->n_outputs; i++) {
        const Pb__TaskOutput *output = input->outputs[i];
        if (output->inline_data.len > 0)
            parts[count++].data = pb_span(output->inline_data);
        count = add_chunks(parts, count, output->chunks, output->n_chunks);
    }
    plan->parts = parts;
    plan->count = count;
    plan->part_count = add_chunks(parts, count, input->following, input->n_following);
    plan->by_line =
        work->lease->task->phase == 0 && !work->each_object && strcmp(work->records, "whole") != 0;
    plan->inside_record = input->inside_record;
    plan->offset = input->offset;
    plan->record_bytes_max = work->max_record_bytes;
    plan->name = input->key;
    return 0;
}

static int empty_output(int fd, struct err *err) {
    if (lseek(fd, 0, SEEK_END) == 0 || (ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0))
        return 0;
    return err_errno(err, errno, "cannot empty a scratch file");
}

/* Starts the process and waits for its end. */
static int run_process(struct slot *slot, struct attempt *attempt, const struct command *command,
                       int stdin_fd, struct launch_result *ret_result, struct err *err) {
    const Pb__TaskWork *work = attempt->work;
    int code = warm_sandbox(slot, pb_id128(work->lease->task->job), err);
    if (code != 0)
        return code;
    const char *const *environment =
        environment_new(work, sandbox_scratch(slot->sandbox), &attempt->arena);
    if (environment == NULL)
        return err_set(err, ERR_LIMIT, "the task's environment is too large");
    const struct sandbox_task task = {.argv = (const char *const *)command->argv,
                                      .environment = environment,
                                      .stdin_fd = stdin_fd,
                                      .stdout_fd = slot->output_fd,
                                      .time_ms_max = work->time_limit_ms,
                                      .memory_bytes_max = work->memory_limit_bytes};
    code = roster_start(slot->roster, attempt, slot->sandbox, &task, err);
    if (code != 0)
        return code;
    code = sandbox_wait(slot->sandbox, ret_result, err);
    roster_ended(slot->roster, attempt);
    if (code != 0)
        slot_cool(slot);
    return code;
}

static void fill_usage(const struct launch_result *ended, const struct input_counts *counts,
                       Pb__TaskUsage *usage) {
    usage->wall_us = ended->wall_us;
    usage->user_us = ended->user_us;
    usage->system_us = ended->system_us;
    usage->peak_bytes = ended->peak_bytes;
    usage->local_bytes = counts->local_bytes;
    usage->remote_bytes = counts->remote_bytes;
}

static void set_reason(struct arena *arena, Pb__TaskResult *result, const char *reason) {
    char *copy = arena_strdup(arena, reason);
    result->reason = copy != NULL ? copy : (char *)(uintptr_t)protobuf_c_empty_string;
}

static void judge(const struct command *command, const struct launch_result *ended,
                  struct arena *arena, Pb__TaskResult *result) {
    char reason[COMMAND_REASON_SIZE];
    enum command_verdict verdict = command_judge(command, ended, reason, &result->exit_status);
    result->ok = verdict == COMMAND_OK;
    result->retry = verdict == COMMAND_RETRY;
    set_reason(arena, result, reason);
    char *tail = arena_strndup(arena, ended->stderr_tail, ended->stderr_bytes);
    if (tail != NULL)
        result->stderr_tail = pb_bytes(tail, ended->stderr_bytes);
}

/* The attempt with its command and input at hand. */
static int run_command(struct slot *slot, struct attempt *attempt, const struct command *command,
                       const struct input_plan *plan, Pb__TaskResult *result, struct err *err) {
    uint64_t limit_ms =
        attempt->work->time_limit_ms != 0 ? attempt->work->time_limit_ms : TASK_MS_DEFAULT;
    struct input *input;
    int code =
        input_open(slot->store, plan, slot->input_fd, clock_deadline_ms(limit_ms), &input, err);
    if (code != 0)
        return code;
    struct launch_result ended;
    struct input_counts counts = {0};
    code = run_process(slot, attempt, command, input_fd(input), &ended, err);
    int feed_code = input_close(input, &counts, code == 0 ? err : NULL);
    if (code != 0 || feed_code != 0)
        return code != 0 ? code : feed_code;
    fill_usage(&ended, &counts, result->usage);
    judge(command, &ended, &attempt->arena, result);
    if (!result->ok)
        return 0;
    return output_store(slot->store, slot->output_fd, clock_deadline_ms(STORE_MS), &attempt->arena,
                        result, err);
}

static int run_attempt(struct slot *slot, struct attempt *attempt, Pb__TaskResult *result,
                       struct err *err) {
    const Pb__TaskWork *work = attempt->work;
    struct input_plan plan = {.map = meta_map(slot->meta), .self = slot->self};
    struct command command = {0};
    int code = plan_input(work, &attempt->arena, &plan, err);
    if (code == 0)
        code =
            command_init(&command, work->n_argv, work->argv, work->command, &attempt->arena, err);
    if (code == 0)
        code = empty_output(slot->output_fd, err);
    if (code == 0)
        code = run_command(slot, attempt, &command, &plan, result, err);
    command_fini(&command);
    place_map_unref(plan.map);
    return code;
}

void task_run(struct slot *slot, struct attempt *attempt) {
    Pb__TaskResult *result = arena_new(&attempt->arena, Pb__TaskResult);
    Pb__TaskUsage *usage = arena_new(&attempt->arena, Pb__TaskUsage);
    struct err err = {0};
    pb__task_result__init(result);
    pb__task_usage__init(usage);
    result->usage = usage;
    int code = run_attempt(slot, attempt, result, &err);
    if (code != 0) { /* the worker's, not the command's: only a record that is too long would be so
                        elsewhere */
        result->ok = false;
        result->retry = code != ERR_LIMIT;
        result->exit_status = 0;
        set_reason(&attempt->arena, result, err_message(&err, code));
    }
    roster_finish(slot->roster, attempt, result);
}
