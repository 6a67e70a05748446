/* CRC32C (Castagnoli, RFC 3720 B.4), by ISA-L. */
#ifndef QUERN_BASE_CRC_H
#define QUERN_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* crc32c_update(0, data, size) is the CRC of data; pass a result on to continue it. */
uint32_t crc32c_update(uint32_t crc, const void *data, size_t size);

/* The CRC of A followed by B from theirs and B's length: O(log size_b). */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

#endif
