/* CRC-64/NVME (NVM Express NVM Command Set 1.0, 5.2.1.3.4; reflected polynomial
 * 0x9a6c9329ac4bc9b5).
 *
 * Four 128-bit lanes are folded over the input by carry-less multiplication (Gopal et al., "Fast
 * CRC Computation for Generic Polynomials Using PCLMULQDQ", 2009); what is left goes through a
 * table. */
#include "wire/checksum.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLYNOMIAL_REFLECTED UINT64_C(0x9a6c9329ac4bc9b5)
#define LANES 4
#define LANE_BYTES 16

static uint64_t table[256];
static uint64_t fold_by_lanes[2]; /* x^(512+63), x^(512-1) mod P: 64 bytes ahead */
static uint64_t fold_by_one[2];   /* x^(128+63), x^(128-1) mod P: 16 bytes ahead */
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

/* Times x, reflected: x^0 is the top bit. */
static uint64_t times_x(uint64_t a) {
    return a & 1 ? a >> 1 ^ POLYNOMIAL_REFLECTED : a >> 1;
}

static uint64_t power_of_x(unsigned exponent) {
    uint64_t power = UINT64_C(1) << 63;
    while (exponent-- > 0)
        power = times_x(power);
    return power;
}

static void tables_make(void) {
    for (unsigned byte = 0; byte < 256; byte++) {
        table[byte] = byte;
        for (int bit = 0; bit < 8; bit++)
            table[byte] = times_x(table[byte]);
    }
    fold_by_lanes[0] = power_of_x(512 + 63);
    fold_by_lanes[1] = power_of_x(512 - 1);
    fold_by_one[0] = power_of_x(128 + 63);
    fold_by_one[1] = power_of_x(128 - 1);
}

static uint64_t update_by_table(uint64_t state, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        state = table[(state ^ bytes[i]) & 0xff] ^ state >> 8;
    return state;
}

#if defined(__x86_64__)
#define PCLMUL __attribute__((target("pclmul,sse2")))

PCLMUL static __m128i load(const uint8_t *bytes) {
    return _mm_loadu_si128((const void *)bytes);
}

/* What lane is worth as many bytes further on as the constants say. */
PCLMUL static __m128i fold(__m128i lane, const uint64_t constants[2]) {
    __m128i by = _mm_set_epi64x((long long)constants[1], (long long)constants[0]);
    return _mm_xor_si128(_mm_clmulepi64_si128(lane, by, 0x00),
                         _mm_clmulepi64_si128(lane, by, 0x11));
}

/* size is a multiple of 64, and not 0. */
PCLMUL static uint64_t update_by_folding(uint64_t state, const uint8_t *bytes, size_t size) {
    __m128i lanes[LANES];
    for (int i = 0; i < LANES; i++)
        lanes[i] = load(bytes + i * LANE_BYTES);
    lanes[0] = _mm_xor_si128(lanes[0], _mm_set_epi64x(0, (long long)state));
    for (size_t at = sizeof lanes; at < size; at += sizeof lanes)
        for (size_t i = 0; i < LANES; i++)
            lanes[i] =
                _mm_xor_si128(fold(lanes[i], fold_by_lanes), load(bytes + at + i * LANE_BYTES));
    for (int i = 1; i < LANES; i++)
        lanes[i] = _mm_xor_si128(lanes[i], fold(lanes[i - 1], fold_by_one));
    uint8_t rest[LANE_BYTES];
    _mm_storeu_si128((void *)rest, lanes[LANES - 1]);
    return update_by_table(0, rest, sizeof rest);
}

static size_t foldable(size_t size) {
    return __builtin_cpu_supports("pclmul") ? size & ~(size_t)63 : 0;
}
#else
static size_t foldable(size_t size) {
    return size & 0;
}

static uint64_t update_by_folding(uint64_t state, const uint8_t *bytes, size_t size) {
    return update_by_table(state, bytes, size);
}
#endif

uint64_t crc64nvme_update(uint64_t crc, const void *data, size_t size) {
    pthread_once(&tables_once, tables_make);
    const uint8_t *bytes = data;
    size_t folded = foldable(size);
    uint64_t state = ~crc;
    if (folded > 0)
        state = update_by_folding(state, bytes, folded);
    return ~update_by_table(state, bytes + folded, size - folded);
}
