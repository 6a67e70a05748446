/* What both ends of a transfer must agree on: MD5 (the ETag) and CRC32C of the bytes that went
 * through. */
#ifndef QUERN_CLI_VERIFY_H
#define QUERN_CLI_VERIFY_H

#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "cli/client.h"

struct verify {
    struct digest md5;
    uint32_t crc32c;
    uint64_t bytes;
};

void verify_init(struct verify *verify);
void verify_fini(struct verify *verify); /* also of a zeroed one */
void verify_update(struct verify *verify, const void *data, size_t size);

/* Compares with ETag (unless it is that of a multipart object) and x-amz-checksum-crc32c (if there
 * is one) of the response. Ends the MD5. Errors: ERR_CORRUPT. */
int verify_check(struct verify *verify, const struct client_response *response, struct err *err);

/* The checksum header against a CRC32C. */
int verify_check_crc(uint32_t crc32c, const struct client_response *response, struct err *err);
/* A header's value against an ETag without quotes. */
int verify_check_etag(const char *etag, struct span header, struct err *err);

#endif
