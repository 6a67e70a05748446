/* CRC32C, and its concatenation by multiplication in GF(2)[x] modulo the polynomial. */
#include "base/crc.h"

#include <isa-l/crc.h>

#define POLYNOMIAL_REFLECTED 0x82f63b78u

uint32_t crc32c_update(uint32_t crc, const void *data, size_t size) {
    /* ISA-L takes an int length and leaves both inversions to the caller. */
    const unsigned char *bytes = data;
    uint32_t state = ~crc;
    while (size > 0) {
        int step = size > (1u << 30) ? (int)(1u << 30) : (int)size;
        state = crc32_iscsi((unsigned char *)bytes, step, state);
        bytes += step;
        size -= (size_t)step;
    }
    return ~state;
}

/* Product of two reflected polynomials modulo P; x^0 is the top bit. */
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? b >> 1 ^ POLYNOMIAL_REFLECTED : b >> 1;
    }
    return product;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b) {
    uint32_t shift = 1u << 31;  /* x^0 */
    uint32_t square = 1u << 23; /* x^8: one byte */
    for (; size_b != 0; size_b >>= 1) {
        if (size_b & 1)
            shift = multiply(shift, square);
        square = multiply(square, square);
    }
    return multiply(shift, crc_a) ^ crc_b;
}
