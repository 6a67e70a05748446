/* How a job's tasks see its inputs, and how leases come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sched/impl.h"

/* One object of three chunks, of which the first ends a record, and one inline object. */
struct example {
    uint8_t ids[3][16];
    Pb__ChunkRef chunks[3], *chunk_list[3];
    Pb__JobInput inputs[2], *input_list[2];
    char *argv[1];
    Pb__JobSpec spec;
    Pb__TaskUsage usage;
    Pb__Job record;
    struct sched sched;
    struct job *job;
    struct arena arena;
};

static void make_example(struct example *example, bool each_object) {
    *example = (struct example){.argv = {pb_text("wc")}};
    pb__job_spec__init(&example->spec);
    pb__job__init(&example->record);
    pb__task_usage__init(&example->usage);
    for (unsigned i = 0; i < 3; i++) {
        pb__chunk_ref__init(&example->chunks[i]);
        example->ids[i][0] = (uint8_t)i;
        example->chunks[i].id = pb_bytes(example->ids[i], 16);
        example->chunks[i].length = 100 + i;
        example->chunk_list[i] = &example->chunks[i];
    }
    example->chunks[0].ends_line = true;
    for (unsigned i = 0; i < 2; i++) {
        pb__job_input__init(&example->inputs[i]);
        example->inputs[i].key = pb_text(i == 0 ? "large" : "small");
        example->input_list[i] = &example->inputs[i];
    }
    example->inputs[0].chunks = example->chunk_list;
    example->inputs[0].n_chunks = 3;
    example->inputs[0].size = 303;
    example->inputs[1].inline_data = pb_bytes("abc", 3);
    example->inputs[1].size = 3;
    example->spec.argv = example->argv;
    example->spec.n_argv = 1;
    example->spec.reduce = pb_text("cat");
    example->spec.each_object = each_object;
    example->spec.inputs = example->input_list;
    example->spec.n_inputs = 2;
    example->spec.max_record_bytes = 100;
    example->record.spec = &example->spec;
    example->record.usage = &example->usage;
    example->record.map_tasks = each_object ? 2 : 4;
    example->record.reduce_tasks = 1;
    list_init(&example->sched.jobs);
    list_init(&example->sched.leases);
    pthread_cond_init(&example->sched.changed, NULL);
    arena_init(&example->arena, 1 << 20);
    example->job = sched_job_new((struct id128){{7}});
    assert_int_equal(sched_job_set(example->job, &example->record, NULL), 0);
    sched_job_add(&example->sched, example->job);
}

static void drop_example(struct example *example) {
    sched_job_drop(&example->sched, example->job);
    assert_true(list_is_empty(&example->sched.leases));
    pthread_cond_destroy(&example->sched.changed);
    arena_fini(&example->arena);
}

static Pb__TaskWork *work_of(struct example *example, uint32_t phase, uint32_t index) {
    struct lease *lease = sched_lease_new(&example->sched, example->job, phase, index, 2);
    Pb__TaskWork *work = sched_job_work(example->job, lease, &example->arena);
    sched_lease_free(lease);
    return work;
}

static void test_slices(void **state) {
    (void)state;
    static const struct {
        const char *key;
        uint64_t offset, length;
        size_t chunks, following, inline_bytes;
        bool inside_record;
    } rows[] = {
        {"large", 0, 100, 1, 0, 0, false}, /* ends a record: nothing that follows is its */
        {"large", 100, 101, 1, 1, 0, false},
        {"large", 201, 102, 1, 0, 0, true},
        {"small", 0, 3, 0, 0, 3, false},
    };
    struct example example;
    make_example(&example, false);
    for (uint32_t i = 0; i < 4; i++) {
        const Pb__TaskWork *work = work_of(&example, PHASE_MAP, i);
        const Pb__TaskInput *input = work->input;
        assert_string_equal(work->argv[0], "wc");
        assert_string_equal(input->key, rows[i].key);
        assert_int_equal(input->offset, rows[i].offset);
        assert_int_equal(input->length, rows[i].length);
        assert_int_equal(input->n_chunks, rows[i].chunks);
        assert_int_equal(input->n_following, rows[i].following);
        assert_int_equal(input->inline_data.len, rows[i].inline_bytes);
        assert_int_equal(input->inside_record, rows[i].inside_record);
    }
    const Pb__TaskWork *reduce = work_of(&example, PHASE_REDUCE, 0);
    assert_string_equal(reduce->command, "cat");
    assert_int_equal(reduce->n_argv, 0);
    assert_int_equal(reduce->input->n_chunks, 0);
    drop_example(&example);
}

static void test_whole_objects(void **state) {
    (void)state;
    struct example example;
    make_example(&example, true);
    const Pb__TaskInput *input = work_of(&example, PHASE_MAP, 0)->input;
    assert_int_equal(input->n_chunks, 3);
    assert_int_equal(input->length, 303);
    assert_int_equal(input->n_following, 0);
    assert_string_equal(work_of(&example, PHASE_MAP, 1)->input->key, "small");
    drop_example(&example);
}

static void test_phases(void **state) {
    (void)state;
    struct example example;
    make_example(&example, true);
    struct job *job = example.job;
    assert_int_equal(sched_job_phase(job), PHASE_MAP);
    job->job->map_done = 2;
    assert_int_equal(sched_job_phase(job), PHASE_REDUCE);
    assert_false(sched_job_is_complete(job));
    job->job->reduce_done = 1;
    assert_int_equal(sched_job_phase(job), PHASES);
    assert_true(sched_job_is_complete(job));
    job->job->map_done = 0;
    sched_job_fail(job, PHASE_MAP, 1, "exit 2");
    sched_job_fail(job, PHASE_MAP, 0, "exit 3");
    assert_string_equal(job->failure, "map task 1: exit 2");
    assert_int_equal(sched_job_phase(job), PHASES);
    drop_example(&example);
}

/* A lease is found only under its epoch; the end of a job ends all but those that are being
 * granted. */
static void test_leases(void **state) {
    (void)state;
    struct example example;
    make_example(&example, false);
    struct lease *running = sched_lease_new(&example.sched, example.job, PHASE_MAP, 1, 2);
    struct lease *granting = sched_lease_new(&example.sched, example.job, PHASE_MAP, 2, 2);
    Pb__TaskLease *message = sched_lease_message(running, &example.arena);
    assert_null(sched_lease_find(&example.sched, message)); /* no epoch yet */
    running->epoch = message->lease_epoch = 5;
    assert_ptr_equal(sched_lease_find(&example.sched, message), running);
    message->lease_epoch = 4;
    assert_null(sched_lease_find(&example.sched, message));
    message->lease_epoch = 5;
    message->task->index = 99;
    assert_null(sched_lease_find(&example.sched, message));
    message->task->index = 1;
    uint64_t news = example.job->news;
    sched_job_end_leases(&example.sched, example.job);
    assert_null(sched_lease_find(&example.sched, message));
    assert_int_equal(example.job->running, 1);
    sched_job_changed(&example.sched, example.job);
    assert_int_equal(example.job->news, news + 1);
    sched_lease_free(granting);
    drop_example(&example);
}

static void test_news(void **state) {
    (void)state;
    struct example example;
    make_example(&example, false);
    struct sched *sched = &example.sched;
    sched->leading = true;
    uint64_t seen = example.job->news;
    assert_true(sched_lacks_news(sched, example.job, seen));
    assert_false(sched_lacks_news(sched, example.job, seen - 1));
    assert_false(sched_lacks_news(sched, NULL, seen)); /* it left the list meanwhile */
    sched_job_changed(sched, example.job);
    assert_false(sched_lacks_news(sched, example.job, seen));
    seen = example.job->news;
    sched->leading = false;
    assert_false(sched_lacks_news(sched, example.job, seen));
    drop_example(&example);
}

/* A job whose first tasks were given out before it was listed keeps their leases, once. */
static void test_listed_with_leases(void **state) {
    (void)state;
    struct example example;
    make_example(&example, false);
    struct sched *sched = &example.sched;
    struct lease *lease = sched_lease_new(sched, example.job, PHASE_MAP, 0, 2);
    list_remove(&example.job->node); /* as it was before */
    sched_job_add(sched, example.job);
    assert_ptr_equal(sched->leases.next, &lease->node);
    assert_ptr_equal(lease->node.next, &sched->leases);
    assert_true(example.job->listed);
    sched_lease_free(lease);
    drop_example(&example);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices), cmocka_unit_test(test_whole_objects),
        cmocka_unit_test(test_phases), cmocka_unit_test(test_leases),
        cmocka_unit_test(test_news),   cmocka_unit_test(test_listed_with_leases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
