/* Checksums of a transfer against the headers of its reply. */
#include "cli/verify.h"

#include <string.h>

#include "base/codec.h"
#include "base/crc.h"

void verify_init(struct verify *verify) {
    *verify = (struct verify){0};
    digest_init(&verify->md5, DIGEST_MD5);
}

void verify_fini(struct verify *verify) {
    digest_fini(&verify->md5);
}

void verify_update(struct verify *verify, const void *data, size_t size) {
    digest_update(&verify->md5, data, size);
    verify->crc32c = crc32c_update(verify->crc32c, data, size);
    verify->bytes += size;
}

int verify_check_etag(const char *etag, struct span header, struct err *err) {
    if (header.size >= 2 && header.data[0] == '"')
        header = (struct span){header.data + 1, header.size - 2};
    return span_is(header, etag)
               ? 0
               : err_set(err, ERR_CORRUPT,
                         "the bytes here have the MD5 %s, the server's ETag is %.*s", etag,
                         SPAN_ARGS(header));
}

int verify_check_crc(uint32_t crc32c, const struct client_response *response, struct err *err) {
    struct span header = client_header(response, "x-amz-checksum-crc32c");
    uint8_t bytes[4] = {(uint8_t)(crc32c >> 24), (uint8_t)(crc32c >> 16), (uint8_t)(crc32c >> 8),
                        (uint8_t)crc32c};
    char text[BASE64_SIZE(4)];
    base64_encode(bytes, sizeof bytes, text);
    if (header.size == 0 || memchr(header.data, '-', header.size) != NULL || span_is(header, text))
        return 0; /* one with a '-' is a checksum of checksums */
    return err_set(err, ERR_CORRUPT, "the bytes here have the CRC32C %s, the server's is %.*s",
                   text, SPAN_ARGS(header));
}

int verify_check(struct verify *verify, const struct client_response *response, struct err *err) {
    uint8_t hash[MD5_SIZE];
    char etag[2 * MD5_SIZE + 1];
    digest_final(&verify->md5, hash);
    hex_encode(hash, sizeof hash, etag);
    struct span header = client_header(response, "etag");
    if (memchr(header.data, '-', header.size) == NULL) {
        int status = verify_check_etag(etag, header, err);
        if (status != 0)
            return status;
    }
    return verify_check_crc(verify->crc32c, response, err);
}
