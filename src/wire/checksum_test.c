/* Check values of the checksums, and that pieces give what the whole gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "wire/checksum.h"

static void test_check_values(void **state) {
    (void)state;
    static const char *const rows[CHECKSUM_END] = {
        [CHECKSUM_NONE] = "",
        [CHECKSUM_CRC32] = "y/Q5Jg==",
        [CHECKSUM_CRC32C] = "4waSgw==",
        [CHECKSUM_CRC64NVME] = "rosUhgp5mIg=",
        [CHECKSUM_SHA1] = "98O8HYCOBHMq32eZZczDTKeuNEE=",
        [CHECKSUM_SHA256] = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
    };
    for (enum checksum_kind kind = CHECKSUM_NONE; kind < CHECKSUM_END; kind++) {
        struct checksum checksum;
        char text[CHECKSUM_TEXT_SIZE];
        checksum_init(&checksum, kind);
        checksum_update(&checksum, "1234", 4);
        checksum_update(&checksum, "56789", 5);
        assert_string_equal(checksum_final_text(&checksum, text), rows[kind]);
        assert_int_equal(checksum_is_valid(kind, span_of(text)), kind != CHECKSUM_NONE);
        assert_false(checksum_is_valid(kind, SPAN_LITERAL("AAAA")));
        assert_int_equal(checksum_by_header(span_of(checksum_header(kind))), kind);
        assert_int_equal(checksum_by_name(span_of(checksum_name(kind))), kind);
        checksum_fini(&checksum);
    }
    assert_int_equal(checksum_by_name(SPAN_LITERAL("crc64nvme")), CHECKSUM_CRC64NVME);
    assert_int_equal(checksum_by_name(SPAN_LITERAL("MD5")), CHECKSUM_NONE);
}

static uint64_t crc64nvme_by_bits(const uint8_t *bytes, size_t size) {
    uint64_t crc = UINT64_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT64_C(0x9a6c9329ac4bc9b5) : crc >> 1;
    }
    return ~crc;
}

static void test_crc64nvme_of_all_lengths(void **state) {
    (void)state;
    uint8_t bytes[700];
    struct rng rng;
    rng_init(&rng, 64);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rng_next(&rng);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        size_t cut = rng_below(&rng, size + 1);
        uint64_t crc = crc64nvme_update(0, bytes, cut);
        assert_true(crc64nvme_update(crc, bytes + cut, size - cut) ==
                    crc64nvme_by_bits(bytes, size));
    }
    assert_true(crc64nvme_update(0, "123456789", 9) == UINT64_C(0xae8b14860a799888));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_values),
        cmocka_unit_test(test_crc64nvme_of_all_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
