/* A multipart upload: its parts may be sent by several threads, each with a client of its own. */
#ifndef QUERN_CLI_MULTIPART_H
#define QUERN_CLI_MULTIPART_H

#include <stdint.h>

#include "base/err.h"
#include "cli/client.h"
#include "cli/verify.h"

#define MULTIPART_PARTS_MAX 10000u

struct multipart_part {
    uint64_t bytes;
    uint32_t crc32c;
    uint8_t md5[MD5_SIZE];
};

struct multipart {
    const struct place *place;
    char id[256];
    struct multipart_part *parts; /* MULTIPART_PARTS_MAX of them */
    unsigned part_count;
};

int multipart_begin(struct multipart *multipart, struct client *client, const struct place *place,
                    struct err *err);
void multipart_fini(struct multipart *multipart); /* also of a zeroed one */

/* Sends part number (from 1); request has body or source, and verify has hashed it (see upload.c)
 * when this returns from the request. A number is sent by one thread. */
int multipart_send(struct multipart *multipart, struct client *client, unsigned number,
                   struct client_request *request, struct verify *verify, struct err *err);

/* The object appears. Its ETag and checksum are compared with those of the parts. */
int multipart_complete(struct multipart *multipart, struct client *client, struct err *err);
/* Nothing of it stays; best effort. */
void multipart_abort(struct multipart *multipart, struct client *client);

#endif
