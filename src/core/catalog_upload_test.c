/* Multipart uploads. */
#include "core/catalog_harness.h"

#include "base/codec.h"
#include "base/crc.h"
#include "base/digest.h"

#define MIB ((uint64_t)1 << 20)

static char *etag_of(struct world *world, const char *text) {
    uint8_t hash[MD5_SIZE];
    digest_of(DIGEST_MD5, span_of(text), hash);
    return hex_encode(hash, sizeof hash, arena_alloc(&world->arena, 2 * MD5_SIZE + 1));
}

static Pb__Reply *create(struct world *world, const char *key, uint64_t id) {
    Pb__Upload upload = PB__UPLOAD__INIT;
    Pb__CreateUpload op = PB__CREATE_UPLOAD__INIT;
    Pb__Pair pair = PB__PAIR__INIT, *pairs[] = {&pair};
    pair.name = pb_text("Content-Type");
    pair.value = pb_text("text/plain");
    upload.id = make_id(world, id);
    upload.headers = pairs;
    upload.n_headers = 1;
    op.bucket = pb_text("b");
    op.key = pb_text(key);
    op.upload = &upload;
    return submit_op(world, create_upload, CREATE_UPLOAD, &op);
}

/* A part with one chunk whose id is 100 * upload + chunk. */
static Pb__Reply *put_part(struct world *world, const char *key, uint64_t id, uint32_t number,
                           uint64_t chunk, uint64_t size) {
    Pb__Part part = PB__PART__INIT;
    Pb__PutPart op = PB__PUT_PART__INIT;
    part.number = number;
    part.size = size;
    part.etag = etag_of(world, arena_printf(&world->arena, "part%u", number));
    part.crc32c = number * 77;
    part.chunks = make_chunks(world, 100 * id + chunk, 1, size);
    part.n_chunks = 1;
    op.bucket = pb_text("b");
    op.key = pb_text(key);
    op.upload = make_id(world, id);
    op.part = &part;
    return submit_op(world, put_part, PUT_PART, &op);
}

static Pb__Reply *complete(struct world *world, uint64_t id, const uint32_t *numbers,
                           const char *etag) {
    Pb__CompleteUpload op = PB__COMPLETE_UPLOAD__INIT;
    op.bucket = pb_text("b");
    op.key = pb_text("k");
    op.upload = make_id(world, id);
    op.version = make_id(world, id + 7000);
    op.parts = arena_array(&world->arena, Pb__CompletePart *, 16);
    for (; numbers[op.n_parts] != 0; op.n_parts++) {
        Pb__CompletePart *part = op.parts[op.n_parts] = arena_new(&world->arena, Pb__CompletePart);
        pb__complete_part__init(part);
        part->number = numbers[op.n_parts];
        part->etag = etag != NULL
                         ? pb_text(etag)
                         : etag_of(world, arena_printf(&world->arena, "part%u", part->number));
    }
    return submit_op(world, complete_upload, COMPLETE_UPLOAD, &op);
}

static Pb__Reply *abort_upload(struct world *world, const char *key, uint64_t id) {
    Pb__AbortUpload op = PB__ABORT_UPLOAD__INIT;
    op.bucket = pb_text("b");
    op.key = pb_text(key);
    op.upload = make_id(world, id);
    return submit_op(world, abort_upload, ABORT_UPLOAD, &op);
}

static Pb__Object *get(struct world *world) {
    Pb__GetObject op = PB__GET_OBJECT__INIT;
    op.bucket = pb_text("b");
    op.key = pb_text("k");
    return query_op(world, get_object, GET_OBJECT, &op)->object;
}

static void open_shard(struct world *world) {
    world_open(world, 3);
    assert_int_equal(set_gate(world, "b", 1, true, false)->code, 0);
}

static void test_complete(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    assert_int_equal(put_part(&world, "k", 1, 1, 1, 9)->code, ERR_NO_SUCH_UPLOAD);
    assert_int_equal(create(&world, "k", 1)->code, 0);
    assert_int_equal(create(&world, "k", 1)->code, 0); /* again */
    assert_int_equal(put_part(&world, "k", 1, 2, 2, 6 * MIB)->code, 0);
    assert_int_equal(put_part(&world, "k", 1, 5, 5, 9)->code, 0);
    assert_int_equal(put_part(&world, "k", 1, 3, 3, 5 * MIB - 1)->code, 0);
    assert_int_equal(put_part(&world, "k", 1, 2, 12, 5 * MIB)->code,
                     0); /* replaces: one chunk of garbage */
    assert_int_equal(garbage_count(&world), 1);
    assert_int_equal(put_part(&world, "k", 1, 10001, 1, 9)->code, ERR_INVALID);
    static const struct {
        uint32_t numbers[4];
        const char *etag;
        int code;
    } rows[] = {
        {{0}, NULL, ERR_INVALID_PART},          {{5, 2}, NULL, ERR_INVALID_PART_ORDER},
        {{2, 2}, NULL, ERR_INVALID_PART_ORDER}, {{2, 4}, NULL, ERR_INVALID_PART},
        {{2}, "other", ERR_INVALID_PART},       {{2, 3, 5}, NULL, ERR_ENTITY_TOO_SMALL},
    };
    size_t records = catalog_memory_count(world.memory);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(complete(&world, 1, rows[i].numbers, rows[i].etag)->code, rows[i].code);
        assert_int_equal(catalog_memory_count(world.memory),
                         records + i + 1); /* but for what is remembered */
    }
    assert_int_equal(complete(&world, 1, (uint32_t[]){2, 5, 0}, NULL)->code, 0);
    const Pb__Object *object = get(&world);
    assert_int_equal(object->size, 5 * MIB + 9);
    assert_int_equal(object->n_chunks, 2);
    assert_int_equal(object->crc32c, crc32c_combine(2 * 77, 5 * 77, 9));
    assert_int_equal(object->n_part_chunks, 2);
    assert_string_equal(object->headers[0]->value, "text/plain");
    /* printf of the two binary MD5s through md5sum: the text of the parts is "part2" and "part5" */
    uint8_t hashes[2 * MD5_SIZE], hash[MD5_SIZE];
    digest_of(DIGEST_MD5, SPAN_LITERAL("part2"), hashes);
    digest_of(DIGEST_MD5, SPAN_LITERAL("part5"), hashes + MD5_SIZE);
    digest_of(DIGEST_MD5, (struct span){(char *)hashes, sizeof hashes}, hash);
    char expected[64];
    hex_encode(hash, sizeof hash, expected);
    assert_memory_equal(object->etag, expected, 2 * MD5_SIZE);
    assert_string_equal(object->etag + 2 * MD5_SIZE, "-2");
    assert_int_equal(garbage_count(&world), 2);                                  /* part 3 */
    assert_int_equal(complete(&world, 1, (uint32_t[]){2, 5, 0}, NULL)->code, 0); /* again */
    assert_int_equal(abort_upload(&world, "k", 1)->code, ERR_NO_SUCH_UPLOAD);
    world_close(&world);
}

static void test_inline_part(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    create(&world, "k", 1);
    Pb__Part part = PB__PART__INIT;
    Pb__PutPart op = PB__PUT_PART__INIT;
    part.number = 1;
    part.size = 3;
    part.etag = etag_of(&world, "part1");
    part.inline_data = pb_bytes("abc", 3);
    op.bucket = pb_text("b");
    op.key = pb_text("k");
    op.upload = make_id(&world, 1);
    op.part = &part;
    assert_int_equal(submit_op(&world, put_part, PUT_PART, &op)->code, 0);
    assert_int_equal(complete(&world, 1, (uint32_t[]){1, 0}, NULL)->code, 0);
    assert_true(span_is(pb_span(get(&world)->inline_data), "abc"));
    world_close(&world);
}

static void test_abort_and_gate(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    create(&world, "k", 1);
    put_part(&world, "k", 1, 1, 1, 9);
    put_part(&world, "k", 1, 2, 2, 9);
    assert_int_equal(set_gate(&world, "b", 2, false, true)->code, ERR_BUCKET_NOT_EMPTY);
    assert_int_equal(abort_upload(&world, "k", 1)->code, 0);
    assert_int_equal(garbage_count(&world), 2);
    assert_int_equal(put_part(&world, "k", 1, 1, 1, 9)->code, ERR_NO_SUCH_UPLOAD);
    assert_int_equal(set_gate(&world, "b", 2, false, true)->code, 0);
    assert_int_equal(create(&world, "k", 1)->code, ERR_NO_SUCH_BUCKET);
    world_close(&world);
}

static Pb__Reply *list_uploads(struct world *world, const char *prefix, const char *key,
                               uint64_t upload, uint32_t limit) {
    Pb__ListUploads op = PB__LIST_UPLOADS__INIT;
    op.bucket = pb_text("b");
    op.prefix = pb_text(prefix);
    op.key_marker = pb_text(key);
    if (upload != 0)
        op.upload_marker = make_id(world, upload);
    op.limit = limit;
    return query_op(world, list_uploads, LIST_UPLOADS, &op);
}

static void test_lists(void **state) {
    (void)state;
    struct world world;
    open_shard(&world);
    create(&world, "a", 1);
    create(&world, "a", 2);
    create(&world, "a\x01", 3);
    create(&world, "b", 4);
    static const struct {
        const char *prefix, *key;
        uint64_t upload;
        uint32_t limit;
        uint64_t first;
        size_t count;
        bool truncated;
    } rows[] = {
        {"", "", 0, 0, 1, 4, false},  {"a", "", 0, 2, 1, 2, true},  {"", "a", 1, 0, 2, 3, false},
        {"", "a", 2, 0, 3, 2, false}, {"", "a", 0, 0, 3, 2, false}, {"b", "a", 0, 0, 4, 1, false},
        {"", "b", 4, 0, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Pb__Reply *reply =
            list_uploads(&world, rows[i].prefix, rows[i].key, rows[i].upload, rows[i].limit);
        assert_int_equal(reply->n_uploads, rows[i].count);
        assert_int_equal(reply->truncated, rows[i].truncated);
        if (rows[i].count > 0)
            assert_true(span_equal(pb_span(reply->uploads[0]->upload->id),
                                   pb_span(make_id(&world, rows[i].first))));
    }
    for (uint32_t number = 1; number <= 5; number++)
        put_part(&world, "b", 4, number * 2, number, 9);
    Pb__ListParts op = PB__LIST_PARTS__INIT;
    op.bucket = pb_text("b");
    op.key = pb_text("b");
    op.upload = make_id(&world, 4);
    op.part_marker = 4;
    op.limit = 2;
    const Pb__Reply *reply = query_op(&world, list_parts, LIST_PARTS, &op);
    assert_int_equal(reply->n_parts, 2);
    assert_int_equal(reply->parts[0]->number, 6);
    assert_true(reply->truncated);
    op.part_marker = UINT32_MAX;
    assert_int_equal(query_op(&world, list_parts, LIST_PARTS, &op)->n_parts, 0);
    op.upload.len = 2;
    assert_int_equal(query_op(&world, list_parts, LIST_PARTS, &op)->code, ERR_NO_SUCH_UPLOAD);
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_inline_part),
        cmocka_unit_test(test_abort_and_gate),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
