/* A job taken from its JSON, checked, its inputs pinned, and given to the scheduler. */
#include <string.h>

#include "base/cleanup.h"
#include "core/catalog_plan.h"
#include "gateway/api.h"
#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/jobs.h"
#include "gateway/request.h"
#include "os/clock.h"

#define BODY_BYTES_MAX ((size_t)1 << 20)
#define SPEC_BYTES_MAX ((size_t)3 << 20) /* it is one entry of the log */
#define SUBMIT_MS_MAX 30000

/* A member that is a string: in the arena; "" when it is absent. */
static int take_text(struct request *request, const json_t *body, const char *name, char **ret) {
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return err_set(&request->err, ERR_INVALID, "%s is a string", name);
    *ret = (char *)(uintptr_t)request_string(request, span_of(json_string_value(value)));
    return 0;
}

static int take_number(struct request *request, const json_t *body, const char *name,
                       uint64_t *ret) {
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return err_set(&request->err, ERR_INVALID, "%s is a number, not negative", name);
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

static int take_argv(struct request *request, const json_t *body, Pb__JobSpec *spec) {
    const json_t *list = json_object_get(body, "argv");
    size_t count = json_array_size(list);
    if (list == NULL)
        return 0;
    spec->argv = arena_array(&request->arena, char *, count + 1);
    for (size_t i = 0; i < count && spec->argv != NULL; i++) {
        const char *word = json_string_value(json_array_get(list, i));
        if (word == NULL)
            return err_set(&request->err, ERR_INVALID, "argv is a list of strings");
        spec->argv[spec->n_argv++] = (char *)(uintptr_t)request_string(request, span_of(word));
    }
    if (count == 0 || spec->argv[0][0] == '\0')
        return err_set(&request->err, ERR_INVALID, "argv names no command");
    return request_memory(request);
}

static int take_id(struct request *request, const json_t *body, Pb__JobSpec *spec) {
    struct id128 *id = arena_new(&request->arena, struct id128);
    const char *text = json_string_value(json_object_get(body, "id"));
    if (id == NULL)
        return request_memory(request);
    if (text == NULL || !id128_parse(span_of(text), id) || id128_is_zero(*id))
        return err_set(&request->err, ERR_INVALID, "id is 32 hex digits, made by the client");
    spec->id = pb_id(id);
    return 0;
}

static int take_output(struct request *request, const json_t *body, Pb__JobSpec *spec) {
    char *place = NULL;
    Pb__Bucket *bucket;
    int rc = take_text(request, body, "output", &place);
    if (rc != 0 || place == NULL)
        return rc;
    if (strncmp(place, "s3://", 5) == 0)
        place += 5;
    size_t size = strcspn(place, "/");
    spec->output_bucket = (char *)(uintptr_t)request_string(request, (struct span){place, size});
    spec->output_prefix = place[size] == '/' ? place + size + 1 : place + size;
    if (size == 0)
        return err_set(&request->err, ERR_INVALID, "output is BUCKET/PREFIX");
    rc = catalogue_bucket(request, spec->output_bucket, &bucket);
    return rc == 0 ? 0 : err_wrap(&request->err, "output '%.100s'", place);
}

static int take_kind(struct request *request, const json_t *body, Pb__JobSpec *spec) {
    char *each = (char *)(uintptr_t) "";
    spec->records = (char *)(uintptr_t) "line";
    int rc = take_text(request, body, "records", &spec->records);
    if (rc == 0)
        rc = take_text(request, body, "each", &each);
    if (rc != 0)
        return rc;
    spec->each_object = strcmp(each, "object") == 0;
    if (!spec->each_object && each[0] != '\0')
        return err_set(&request->err, ERR_INVALID, "each is object, or absent");
    if (strcmp(spec->records, "line") != 0 && strcmp(spec->records, "whole") != 0)
        return err_set(&request->err, ERR_INVALID, "records is line or whole");
    return 0;
}

static int take_limits(struct request *request, const json_t *body, Pb__JobSpec *spec) {
    uint64_t level = 0;
    int rc = take_number(request, body, "time_ms", &spec->time_limit_ms);
    if (rc == 0)
        rc = take_number(request, body, "memory_bytes", &spec->memory_limit_bytes);
    if (rc == 0)
        rc = take_number(request, body, "max_record_bytes", &spec->max_record_bytes);
    if (rc == 0)
        rc = take_number(request, body, "sandbox_level", &level);
    if (rc == 0 && level > 4)
        rc = err_set(&request->err, ERR_INVALID, "sandbox levels are 0 to 4");
    spec->sandbox_level_min = (uint32_t)level;
    return rc;
}

/* "grep-7f3k": the program, and a few letters of the id; the catalogue makes it unique. */
static char *make_name(struct request *request, const Pb__JobSpec *spec) {
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    const char *command = spec->n_argv > 0 ? spec->argv[0] : spec->map;
    size_t size = strcspn(command, " \t\n|;&<>()'\"");
    const char *slash = memrchr(command, '/', size);
    const char *base = slash != NULL ? slash + 1 : command;
    size_t base_size = size - (size_t)(base - command), used = 0;
    char program[24];
    for (size_t i = 0; i < base_size && used < sizeof program - 1; i++)
        if ((base[i] >= 'a' && base[i] <= 'z') || (base[i] >= '0' && base[i] <= '9'))
            program[used++] = base[i];
    program[used] = '\0';
    const uint8_t *id = spec->id.data;
    return arena_printf(&request->arena, "%s-%c%c%c%c", used > 0 ? program : "job",
                        letters[id[0] % 32], letters[id[1] % 32], letters[id[2] % 32],
                        letters[id[3] % 32]);
}

static int read_spec(struct request *request, const json_t *body, Pb__JobSpec *spec) {
    pb__job_spec__init(spec);
    int rc = take_id(request, body, spec);
    if (rc == 0)
        rc = take_argv(request, body, spec);
    if (rc == 0)
        rc = take_text(request, body, "map", &spec->map);
    if (rc == 0)
        rc = take_text(request, body, "reduce", &spec->reduce);
    if (rc == 0 && (spec->n_argv > 0) == (spec->map[0] != '\0'))
        rc = err_set(&request->err, ERR_INVALID, "a job has either argv or map");
    if (rc == 0 && spec->n_argv > 0 && spec->reduce[0] != '\0')
        rc = err_set(&request->err, ERR_INVALID, "argv is a map of its own: not with reduce");
    if (rc == 0)
        rc = take_kind(request, body, spec);
    if (rc == 0)
        rc = take_limits(request, body, spec);
    if (rc == 0)
        rc = take_output(request, body, spec);
    if (rc == 0)
        rc = job_inputs_expand(request, json_object_get(body, "inputs"), spec);
    spec->name = rc == 0 ? make_name(request, spec) : NULL;
    spec->submitted_ms = clock_wall_ms();
    return rc != 0 ? rc : request_memory(request);
}

static int reply_plan(struct request *request, const Pb__JobSpec *spec) {
    uint64_t tasks = 0, bytes = 0;
    for (size_t i = 0; i < spec->n_inputs; i++) {
        tasks += catalog_plan_tasks(spec, spec->inputs[i]);
        bytes += spec->inputs[i]->size;
    }
    return api_reply(request, 200,
                     json_pack("{s:I, s:I, s:I, s:i, s:i}", "inputs", (json_int_t)spec->n_inputs,
                               "bytes", (json_int_t)bytes, "map_tasks", (json_int_t)tasks,
                               "reduce_tasks", spec->reduce[0] != '\0', "sandbox_level",
                               request->gateway->options.sandbox_level));
}

static int submit(struct request *request, Pb__JobSpec *spec) {
    Pb__JobNews *news;
    if (pb__job_spec__get_packed_size(spec) > SPEC_BYTES_MAX)
        return err_set(&request->err, ERR_LIMIT,
                       "the list of %zu inputs is too long for one job: name fewer",
                       spec->n_inputs);
    int rc = sched_client_submit(request->gateway->sched, spec, clock_deadline_ms(SUBMIT_MS_MAX),
                                 &request->arena, &news, &request->err);
    if (rc == 0 && (news->job == NULL || news->job->spec == NULL))
        rc = err_set(&request->err, ERR_PROTOCOL, "a job was taken without a reply");
    return rc == 0 ? api_reply(request, 201, job_json(news->job)) : rc;
}

int api_job_submit(struct request *request) {
    json_t *body;
    int rc = api_read_body(request, BODY_BYTES_MAX, &body);
    if (rc != 0)
        return rc;
    Pb__JobSpec spec;
    rc = read_spec(request, body, &spec);
    bool is_dry = json_is_true(json_object_get(body, "dry_run"));
    json_decref(body);
    if (rc != 0)
        return rc;
    return is_dry ? reply_plan(request, &spec) : submit(request, &spec);
}
