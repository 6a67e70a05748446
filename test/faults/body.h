/* The bytes of objects, made from a seed: so that every one is different, and none need be kept to
 * know what it must be. */
#ifndef QUERN_TEST_FAULTS_BODY_H
#define QUERN_TEST_FAULTS_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/span.h"

#define BODY_BYTES_MIN 16u /* shorter ones of two seeds could be equal */

/* Writes size bytes, a multiple of nothing in particular. */
void body_fill(uint64_t seed, char *ret_bytes, size_t size);
bool body_is(uint64_t seed, struct span bytes);

/* An ETag as quern computes it, and the history's name for it: its first 8 bytes. */
void body_etag(struct span bytes, uint8_t ret_etag[MD5_SIZE]);
uint64_t body_value(const uint8_t etag[MD5_SIZE]);

#endif
