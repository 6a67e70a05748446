/* MD5, SHA-256 and HMAC-SHA-256 by OpenSSL. */
#include "base/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "base/assert.h"

static const EVP_MD *algorithms[3];
static pthread_once_t algorithms_once = PTHREAD_ONCE_INIT;

/* An implicit fetch costs more than a short digest; these live as long as the process. */
static void algorithms_fetch(void) {
    static const char *const names[] = {"MD5", "SHA1", "SHA256"};
    for (int i = 0; i < 3; i++) {
        algorithms[i] = EVP_MD_fetch(NULL, names[i], NULL);
        if (algorithms[i] == NULL)
            panic("OpenSSL has no %s", names[i]);
    }
}

static const EVP_MD *algorithm(enum digest_kind kind) {
    pthread_once(&algorithms_once, algorithms_fetch);
    return algorithms[kind];
}

void digest_init(struct digest *digest, enum digest_kind kind) {
    const EVP_MD *md = algorithm(kind);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestInit_ex2(context, md, NULL) != 1)
        panic("out of memory for a digest");
    *digest = (struct digest){.context = context, .size = (size_t)EVP_MD_get_size(md)};
}

void digest_fini(struct digest *digest) {
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
}

void digest_update(struct digest *digest, const void *data, size_t size) {
    int ok = EVP_DigestUpdate(digest->context, data, size);
    ASSERT(ok == 1);
}

void digest_final(struct digest *digest, uint8_t *ret_hash) {
    int ok = EVP_DigestFinal_ex(digest->context, ret_hash, NULL);
    ASSERT(ok == 1);
}

void digest_of(enum digest_kind kind, struct span data, uint8_t *ret_hash) {
    struct digest digest;
    digest_init(&digest, kind);
    digest_update(&digest, data.data, data.size);
    digest_final(&digest, ret_hash);
    digest_fini(&digest);
}

/* RFC 2104, over the digest above: the one-shot calls of OpenSSL 3 fetch anew each time. */
void hmac_sha256(struct span key, struct span data, uint8_t ret_hash[SHA256_SIZE]) {
    uint8_t block[64] = {0}, pad[64], inner[SHA256_SIZE];
    if (key.size > sizeof block)
        digest_of(DIGEST_SHA256, key, block);
    else if (key.size > 0)
        memcpy(block, key.data, key.size);
    struct digest digest;
    for (int outer = 0; outer < 2; outer++) {
        for (size_t i = 0; i < sizeof pad; i++)
            pad[i] = block[i] ^ (outer ? 0x5c : 0x36);
        digest_init(&digest, DIGEST_SHA256);
        digest_update(&digest, pad, sizeof pad);
        digest_update(&digest, outer ? (const void *)inner : data.data,
                      outer ? sizeof inner : data.size);
        digest_final(&digest, outer ? ret_hash : inner);
        digest_fini(&digest);
    }
}
