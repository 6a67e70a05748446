/* Frames: what is written is read; damage is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/frame.h"

static void test_header(void **state) {
    (void)state;
    const struct frame frame = {.type = 300, .length = 70000, .body_crc32c = 0xdeadbeef};
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode(&frame, header);
    struct frame again;
    assert_int_equal(frame_decode(header, 70000, &again, NULL), 0);
    assert_int_equal(again.type, 300);
    assert_int_equal(again.length, 70000);
    assert_int_equal(again.body_crc32c, 0xdeadbeef);
    assert_int_equal(frame_decode(header, 69999, &again, NULL), ERR_LIMIT);
    for (unsigned bit = 0; bit < 8 * FRAME_HEADER_SIZE; bit++) {
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(frame_decode(header, UINT32_MAX, &again, NULL), ERR_CORRUPT);
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(again.type, 300);
}

static void test_hello(void **state) {
    (void)state;
    const struct frame_hello hello = {
        .version = 1, .node_id = 3, .cluster_id = {{1, 2}}, .incarnation = {{9}}};
    uint8_t body[FRAME_HELLO_SIZE];
    frame_encode_hello(&hello, body);
    struct frame_hello again;
    assert_int_equal(frame_decode_hello((struct span){(char *)body, sizeof body}, &again, NULL), 0);
    assert_memory_equal(&again, &hello, sizeof hello);
    assert_int_equal(frame_decode_hello((struct span){(char *)body, sizeof body - 1}, &again, NULL),
                     ERR_CORRUPT);
}

static void test_error(void **state) {
    (void)state;
    char body[64];
    struct err err;
    frame_encode_error(ERR_BUSY, (uint8_t *)body);
    memcpy(body + 4, "later", 5);
    assert_int_equal(frame_decode_error((struct span){body, 9}, &err), ERR_BUSY);
    assert_string_equal(err.text, "later");
    assert_int_equal(frame_decode_error((struct span){body, 4}, &err), ERR_BUSY);
    assert_string_equal(err.text, err_text(ERR_BUSY));
    assert_int_equal(frame_decode_error((struct span){body, 3}, &err), ERR_CORRUPT);
    frame_encode_error(0, (uint8_t *)body);
    assert_int_equal(frame_decode_error((struct span){body, 9}, &err), ERR_CORRUPT);
    frame_encode_error(-ERR_NUMBER_END, (uint8_t *)body);
    assert_int_equal(frame_decode_error((struct span){body, 9}, &err), ERR_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_header), cmocka_unit_test(test_hello),
                                       cmocka_unit_test(test_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
