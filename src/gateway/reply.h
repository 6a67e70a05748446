/* Replies: a head built in one buffer, sent together with the first bytes of the body in one call.
 *
 *     reply_start(request, 200); reply_header(...)...; then one of
 *       reply_finish(request, data, size)                              a whole body
 *       reply_begin_body(request, length); reply_body(...)...; reply_end_body(request)    a
 * streamed one
 *
 * What fails here means that the client has gone or is stuck: the session closes the connection. */
#ifndef QUERN_GATEWAY_REPLY_H
#define QUERN_GATEWAY_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define REPLY_LENGTH_UNKNOWN UINT64_MAX /* chunked; HTTP/1.0: to the end of the connection */

struct request;

struct reply {
    struct buf head;
    int status;
    bool is_started; /* a head was begun */
    bool is_head_sent;
    bool is_chunked;
    bool is_bodiless; /* HEAD, 204, 304: no body whatever its length */
    bool must_close;  /* the connection ends with this reply */
    uint64_t left;    /* of the announced length */
};

void reply_start(struct request *request, int status);
void reply_header(struct request *request, const char *name, const char *value);
void reply_header_span(struct request *request, const char *name, struct span value);
void reply_header_number(struct request *request, const char *name, uint64_t value);
void reply_header_time(struct request *request, const char *name, uint64_t ms);

int reply_finish(struct request *request, const void *data, size_t size);
int reply_empty(struct request *request,
                int status); /* start and finish with nothing more to say */
int reply_xml(struct request *request, struct buf *xml); /* 200, application/xml */
int reply_json(struct request *request, int status, struct span json);

int reply_begin_body(struct request *request, uint64_t length);
int reply_body(struct request *request, const void *data, size_t size);
int reply_end_body(struct request *request);

/* An S3 error document. A JSON object {"code", "message", "request_id"} for paths under "/-/". */
int reply_error(struct request *request, int code);
int reply_error_as(struct request *request, int status, const char *code, const char *message);

#endif
