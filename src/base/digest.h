/* MD5, SHA-256 and HMAC-SHA-256 by OpenSSL, with the algorithms fetched once. One thread a digest
 * object. */
#ifndef QUERN_BASE_DIGEST_H
#define QUERN_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum digest_kind { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256 };
#define DIGEST_SIZE_MAX 32
#define MD5_SIZE 16
#define SHA256_SIZE 32

struct digest {
    void *context;
    size_t size; /* of the result */
};

void digest_init(struct digest *digest, enum digest_kind kind); /* panics only when out of memory */
void digest_fini(struct digest *digest);                        /* also of a zeroed one */
void digest_update(struct digest *digest, const void *data, size_t size);
void digest_final(struct digest *digest,
                  uint8_t *ret_hash); /* digest->size bytes; then only digest_fini */

void digest_of(enum digest_kind kind, struct span data, uint8_t *ret_hash);
void hmac_sha256(struct span key, struct span data, uint8_t ret_hash[SHA256_SIZE]);

#endif
