/* One HTTP request on its way through the gateway: what was asked, by whom, its memory, and the
 * body still to be read. Inside gateway/ only. A request belongs to one pool thread from its head
 * to its reply.
 *
 * A handler replies (gateway/reply.h) and returns 0, or returns an error code with its story in
 * request->err and leaves the error reply to the session. Everything it allocates comes from
 * request->arena, which ends with the request. */
#ifndef QUERN_GATEWAY_REQUEST_H
#define QUERN_GATEWAY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "gateway/body.h"
#include "gateway/reply.h"
#include "os/server.h"
#include "wire/http1.h"
#include "wire/sigv4.h"
#include "wire/uri.h"

#define REQUEST_ARENA_BYTES_MAX ((size_t)32 << 20)
#define REQUEST_ID_SIZE 17

struct gateway;

/* Bytes read from the connection and not yet taken: the next head, or the beginning of a body. */
struct input {
    char *data;
    size_t room;
    size_t start;
    size_t end;
    uint64_t head_deadline_ns; /* of the head that is being read */
};

struct request {
    struct gateway *gateway;
    struct server_conn *conn;
    struct input *input;
    struct arena arena;
    struct http1_request http;
    struct uri uri;
    const char *bucket; /* NUL-terminated; "" when there is none */
    const char *key;
    struct sigv4_auth auth;
    uint8_t signing_key[SHA256_SIZE];
    struct body body;
    struct reply reply;
    struct err err;
    uint64_t deadline_ns; /* for calls to the catalogue and the stores that move no bytes of the
                             client's */
    char id[REQUEST_ID_SIZE];
};

typedef int request_handler(struct request *request);

/* The query parameter as a number; fallback when it is absent. ERR_INVALID when it is no number of
 * 0..max. */
int request_number(struct request *request, const char *param, uint64_t fallback, uint64_t max,
                   uint64_t *ret_number);

/* NUL-terminated copies in the arena; "" when absent. They never fail: a full arena yields "" and
 * is found by request_memory() before anything is decided. */
const char *request_string(struct request *request, struct span text);
/* ERR_LIMIT once the arena is full. */
int request_memory(struct request *request);

#endif
