/* Patterns of inputs expanded by listing, and the objects pinned: version and chunks. */
#include <fnmatch.h>
#include <string.h>

#include "gateway/catalogue.h"
#include "gateway/gateway_impl.h"
#include "gateway/jobs.h"
#include "gateway/merge.h"
#include "gateway/request.h"
#include "os/clock.h"

#define INPUTS_MAX 100000u
#define PAGE_KEYS 256u
#define OBJECT_MS_MAX 30000

struct expansion {
    struct request *request;
    Pb__JobSpec *spec;
    size_t room;
    /* the pattern at work */
    const char *bucket;
    const char *prefix; /* up to the first wildcard */
    const char *glob;   /* NULL: all that begins with prefix, or the key prefix itself */
    bool is_exact;
};

static int append(struct expansion *expansion, Pb__JobInput *input) {
    Pb__JobSpec *spec = expansion->spec;
    struct arena *arena = &expansion->request->arena;
    if (spec->n_inputs == INPUTS_MAX)
        return err_set(&expansion->request->err, ERR_LIMIT, "more than %u objects", INPUTS_MAX);
    if (spec->n_inputs == expansion->room) {
        size_t room = expansion->room * 2 + 16;
        Pb__JobInput **inputs = arena_array(arena, Pb__JobInput *, room);
        if (inputs == NULL)
            return request_memory(expansion->request);
        if (spec->n_inputs > 0)
            memcpy(inputs, spec->inputs, spec->n_inputs * sizeof *inputs);
        spec->inputs = inputs;
        expansion->room = room;
    }
    spec->inputs[spec->n_inputs++] = input;
    return 0;
}

/* One that was deleted since it was listed is left out, unless it was named itself. */
static int pin(struct expansion *expansion, const char *key) {
    struct request *request = expansion->request;
    Pb__Object *object;
    request->deadline_ns = clock_deadline_ms(OBJECT_MS_MAX);
    int rc = catalogue_object(request, expansion->bucket, key, &object);
    if (rc == ERR_NO_SUCH_KEY && !expansion->is_exact) {
        request->err = (struct err){0};
        return 0;
    }
    Pb__JobInput *input = rc == 0 ? arena_new(&request->arena, Pb__JobInput) : NULL;
    if (input == NULL)
        return rc != 0 ? rc : request_memory(request);
    pb__job_input__init(input);
    input->bucket = (char *)(uintptr_t)expansion->bucket;
    input->key = (char *)(uintptr_t)key;
    input->version = object->version;
    input->size = object->size;
    input->chunks = object->chunks;
    input->n_chunks = object->n_chunks;
    input->inline_data = object->inline_data;
    return append(expansion, input);
}

static int fetch_page(void *context, uint32_t shard, const char *start_after,
                      Pb__Reply **ret_page) {
    struct expansion *expansion = context;
    Pb__ListObjects list = PB__LIST_OBJECTS__INIT;
    Pb__Query query = PB__QUERY__INIT;
    list.bucket = (char *)(uintptr_t)expansion->bucket;
    list.prefix = (char *)(uintptr_t)expansion->prefix;
    list.start_after = (char *)(uintptr_t)start_after;
    list.limit = PAGE_KEYS;
    query.op_case = PB__QUERY__OP_LIST_OBJECTS;
    query.list_objects = &list;
    expansion->request->deadline_ns = clock_deadline_ms(OBJECT_MS_MAX);
    return catalogue_query(expansion->request, shard, &query, ret_page);
}

static int expand_listing(struct expansion *expansion) {
    struct request *request = expansion->request;
    struct merge merge;
    struct merge_item item;
    const char *last = "";
    int rc = merge_init(&merge, catalogue_shard_count(request), "", &request->arena, fetch_page,
                        expansion);
    for (;;) {
        if (rc == 0)
            rc = merge_next(&merge, &item);
        if (rc != 0 || item.name == NULL)
            return rc;
        /* Provisional records of the same key follow one another: pinning finds the visible one. */
        if (item.object == NULL || strcmp(item.name, last) == 0)
            continue;
        last = item.name;
        if (expansion->glob == NULL || fnmatch(expansion->glob, item.name, 0) == 0)
            rc = pin(expansion, item.name);
    }
}

static int take_apart(struct expansion *expansion, const char *pattern) {
    struct request *request = expansion->request;
    if (strncmp(pattern, "s3://", 5) == 0)
        pattern += 5;
    size_t size = strcspn(pattern, "/");
    const char *key = pattern[size] == '/' ? pattern + size + 1 : "";
    size_t literal = strcspn(key, "*?[\\");
    expansion->bucket = request_string(request, (struct span){pattern, size});
    expansion->prefix = request_string(request, (struct span){key, literal});
    expansion->glob = key[literal] != '\0' ? request_string(request, span_of(key)) : NULL;
    expansion->is_exact = expansion->glob == NULL && literal > 0 && key[literal - 1] != '/';
    return size > 0 ? request_memory(request)
                    : err_set(&request->err, ERR_INVALID, "an input is named BUCKET/KEY");
}

static int expand_one(struct expansion *expansion, const char *pattern) {
    struct request *request = expansion->request;
    size_t before = expansion->spec->n_inputs;
    Pb__Bucket *bucket;
    int rc = take_apart(expansion, pattern);
    if (rc == 0)
        rc = catalogue_bucket(request, expansion->bucket, &bucket);
    if (rc == 0)
        rc = expansion->is_exact ? pin(expansion, expansion->prefix) : expand_listing(expansion);
    if (rc == 0 && expansion->spec->n_inputs == before)
        rc = err_set(&request->err, ERR_NO_SUCH_KEY, "no object is named so");
    if (rc != 0 && request->err.text[0] != '\0')
        err_wrap(&request->err, "input '%.100s'", pattern);
    return rc;
}

int job_inputs_expand(struct request *request, const json_t *patterns, Pb__JobSpec *spec) {
    struct expansion expansion = {.request = request, .spec = spec};
    if (json_array_size(patterns) == 0)
        return err_set(&request->err, ERR_INVALID, "a job needs inputs");
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        const char *pattern = json_string_value(json_array_get(patterns, i));
        if (pattern == NULL)
            return err_set(&request->err, ERR_INVALID, "inputs are strings");
        int rc = expand_one(&expansion, pattern);
        if (rc != 0)
            return rc;
    }
    return 0;
}
