/* The S3 and admin API from outside: signed requests by libcurl, to whichever of the endpoints
 * answers.
 *
 * Endpoint and keys come from QUERN_ENDPOINT (URLs, comma separated), QUERN_ACCESS_KEY,
 * QUERN_SECRET_KEY, else from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, else from
 * ~/.config/quern/config, else the endpoint is http://127.0.0.1:9000. A client belongs to one
 * thread; connections are kept between requests. */
#ifndef QUERN_CLI_CLIENT_H
#define QUERN_CLI_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http1.h"
#include "wire/uri.h"

struct client;

/* Errors: ERR_INVALID (an endpoint that is none), ERR_ACCESS_DENIED (no keys anywhere). */
int client_open(struct client **ret_client, struct err *err);
struct client *client_close(struct client *client);

unsigned client_endpoint_count(const struct client *client);
const char *client_endpoint(const struct client *client, unsigned index);
/* Requests go to this endpoint only, without fail-over (doctor). */
void client_pin(struct client *client, unsigned index);

/* A body that is sent as it is read. A retry begins it anew. */
struct client_source {
    void *context;
    uint64_t size;
    int (*rewind)(void *context, struct err *err);
    /* Up to size bytes; *ret_size > 0. Not called again once source.size bytes were read. */
    int (*read)(void *context, void *data, size_t size, size_t *ret_size, struct err *err);
};

/* Receives the body of a good reply in pieces; not 0 ends the request with that error, which is not
 * retried. */
typedef int client_sink(void *context, const void *data, size_t size, struct err *err);

struct client_request {
    const char *method; /* "GET" */
    const char *path;   /* decoded: "/", "/bucket", "/bucket/some key", "/-/api/v1/jobs" */
    const struct uri_param *params; /* decoded */
    size_t param_count;
    const struct http1_header *headers; /* further ones; they are signed */
    size_t header_count;
    struct span body; /* sent, and its hash signed */
    const struct client_source
        *source;       /* instead of body; not NULL: sent with an unsigned payload */
    client_sink *sink; /* NULL: the reply goes to response->body */
    void *sink_context;
    uint64_t idle_ms_max;  /* without a byte moving for so long the request is given up; 0 = 20 s */
    uint64_t retry_ms_max; /* transient errors are retried for so long; 0 = 30 s */
};

struct client_response {
    int status; /* of the last answer; 0 when there was none */
    unsigned tries;
    struct buf head;     /* header lines; see client_header() */
    struct buf body;     /* a reply without a sink, and every error; at most 64 MiB */
    uint64_t sunk_bytes; /* given to the sink */
};

#define CLIENT_RESPONSE_INIT ((struct client_response){0})
void client_response_fini(struct client_response *response);
static inline void client_response_finip(struct client_response *response) {
    client_response_fini(response);
}

/* One request and its reply. 0 for a status below 300. Else the error that the server named, with
 * its text, or what went wrong on the way. Transient failures are tried again, at the next
 * endpoint and at each of them at least once, unless the sink has seen bytes already. response is
 * begun anew. */
int client_perform(struct client *client, const struct client_request *request,
                   struct client_response *response, struct err *err);

/* The value of a header of the reply, case-insensitively; an empty span when there is none. */
struct span client_header(const struct client_response *response, const char *name);

/* A place is BUCKET, BUCKET/KEY or s3://BUCKET/KEY. */
struct place {
    char bucket[64];
    char key[1025]; /* "" for a bucket alone */
};
/* ERR_INVALID with one line. */
int client_parse_place(const char *text, struct place *ret_place, struct err *err);
#define CLIENT_PATH_SIZE (64 + 1025 + 2)
/* "/bucket/key" or "/bucket" into path[CLIENT_PATH_SIZE]; returns path. */
const char *client_path(const struct place *place, char *path);

#endif
