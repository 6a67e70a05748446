/* One attempt at a signed request to one gateway. Unlike cli/client.h it never sends anything a
 * second time, neither here nor elsewhere: an attempt is an operation of the history, and one that
 * was sent twice could have happened twice. */
#ifndef QUERN_TEST_FAULTS_HTTP_H
#define QUERN_TEST_FAULTS_HTTP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/span.h"
#include "cli/client_config.h"
#include "wire/http1.h"
#include "wire/uri.h"

/* A connection, kept between requests. One thread. */
struct http {
    const struct client_config *config;
    unsigned gateway; /* index of the endpoint */
    int fd;           /* -1: not connected */
    struct buf reply;
};

#define HTTP_REPLY_BYTES_MAX ((size_t)80 << 20)

struct http_request {
    const char *method;
    const char *path; /* decoded */
    const struct uri_param *params;
    size_t param_count;
    const struct http1_header *headers;
    size_t header_count;
    struct span body;
    uint64_t timeout_ms; /* for all of it */
};

struct http_reply {
    int status;
    bool has_etag;
    uint8_t etag[MD5_SIZE]; /* of one part */
    struct span body;       /* lives until the next request */
};

void http_init(struct http *http, const struct client_config *config, unsigned gateway);
void http_fini(struct http *http);

/* 0: the whole reply is there. ERR_REFUSED: no byte of the request was sent. Any other error: it
 * may have been carried out, may still be, or never. */
int http_perform(struct http *http, const struct http_request *request,
                 struct http_reply *ret_reply, struct err *err);

#endif
