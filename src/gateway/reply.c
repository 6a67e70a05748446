/* Heads, bodies and error documents of replies. */
#include "gateway/reply.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "gateway/request.h"
#include "os/clock.h"
#include "os/net.h"
#include "wire/time.h"
#include "wire/xml.h"

#define SEND_MS_MAX 60000 /* of one piece of a reply */

static const char *status_text(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 206:
        return "Partial Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 412:
        return "Precondition Failed";
    case 416:
        return "Range Not Satisfiable";
    case 423:
        return "Locked";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 507:
        return "Insufficient Storage";
    default:
        return status >= 500 ? "Internal Server Error" : "Error";
    }
}

/* The Date header's value, printed once a second and thread. */
static const char *date_now(void) {
    static _Thread_local char text[TIME_HTTP_SIZE];
    static _Thread_local int64_t printed_s;
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    if (now_s != printed_s)
        time_print_http(now_s, text);
    printed_s = now_s;
    return text;
}

void reply_start(struct request *request, int status) {
    struct reply *reply = &request->reply;
    ASSERT(!reply->is_head_sent);
    char line[64];
    snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", status, status_text(status));
    buf_clear(&reply->head);
    buf_puts(&reply->head, line);
    reply->status = status;
    reply->is_started = true;
    reply_header(request, "Server", "quern");
    reply_header(request, "Date", date_now());
    reply_header(request, "x-amz-request-id", request->id);
}

void reply_header_span(struct request *request, const char *name, struct span value) {
    struct buf *head = &request->reply.head;
    buf_puts(head, name);
    buf_append(head, ": ", 2);
    buf_append(head, value.data, value.size);
    buf_append(head, "\r\n", 2);
}

void reply_header(struct request *request, const char *name, const char *value) {
    reply_header_span(request, name, span_of(value));
}

void reply_header_number(struct request *request, const char *name, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    reply_header(request, name, text);
}

void reply_header_time(struct request *request, const char *name, uint64_t ms) {
    char text[TIME_HTTP_SIZE];
    reply_header(request, name, time_print_http((int64_t)(ms / 1000), text));
}

/* ---- sending ---- */

static int send_parts(struct request *request, struct iovec *iov, int count) {
    int rc =
        net_write_all(request->conn->fd, iov, count, clock_deadline_ms(SEND_MS_MAX), &request->err);
    if (rc != 0)
        request->reply.must_close = true;
    return rc;
}

int reply_begin_body(struct request *request, uint64_t length) {
    struct reply *reply = &request->reply;
    ASSERT(reply->is_started && !reply->is_head_sent);
    reply->is_bodiless =
        request->http.method == HTTP1_HEAD || reply->status == 204 || reply->status == 304;
    reply->left = reply->is_bodiless ? 0 : length;
    if (length != REPLY_LENGTH_UNKNOWN) {
        if (reply->status != 204)
            reply_header_number(request, "Content-Length", length);
    } else if (request->http.minor == 0) {
        reply->must_close = true;
    } else {
        reply->is_chunked = !reply->is_bodiless;
        reply_header(request, "Transfer-Encoding", "chunked");
    }
    if (!request->http.keep_alive)
        reply->must_close = true;
    if (reply->must_close)
        reply_header(request, "Connection", "close");
    else if (request->http.minor == 0)
        reply_header(request, "Connection", "keep-alive");
    buf_append(&reply->head, "\r\n", 2);
    return reply->head.failed ? err_set(&request->err, ERR_LIMIT, "the reply's head is too large")
                              : 0;
}

int reply_body(struct request *request, const void *data, size_t size) {
    struct reply *reply = &request->reply;
    char line[24];
    struct iovec iov[4];
    int count = 0;
    if (reply->is_bodiless)
        size = 0;
    if (!reply->is_head_sent)
        iov[count++] = (struct iovec){reply->head.data, reply->head.size};
    if (size > 0 && reply->is_chunked)
        iov[count++] = (struct iovec){line, (size_t)snprintf(line, sizeof line, "%zx\r\n", size)};
    if (size > 0)
        iov[count++] = (struct iovec){(void *)(uintptr_t)data, size};
    if (size > 0 && reply->is_chunked)
        iov[count++] = (struct iovec){(char *)(uintptr_t) "\r\n", 2};
    ASSERT(size <= reply->left);
    if (reply->left != REPLY_LENGTH_UNKNOWN)
        reply->left -= size;
    reply->is_head_sent = true;
    return count > 0 ? send_parts(request, iov, count) : 0;
}

int reply_end_body(struct request *request) {
    struct reply *reply = &request->reply;
    int rc = reply->is_head_sent ? 0 : reply_body(request, NULL, 0);
    if (rc == 0 && reply->is_chunked) {
        char end[] = "0\r\n\r\n";
        rc = send_parts(request, &(struct iovec){end, 5}, 1);
    }
    ASSERT(rc != 0 || reply->left == 0 || reply->left == REPLY_LENGTH_UNKNOWN);
    return rc;
}

int reply_finish(struct request *request, const void *data, size_t size) {
    int rc = reply_begin_body(request, size);
    if (rc == 0)
        rc = reply_body(request, data, size);
    return rc;
}

int reply_empty(struct request *request, int status) {
    reply_start(request, status);
    return reply_finish(request, NULL, 0);
}

int reply_xml(struct request *request, struct buf *xml) {
    if (xml->failed)
        return err_set(&request->err, ERR_LIMIT, "the reply is too large");
    reply_start(request, 200);
    reply_header(request, "Content-Type", "application/xml");
    return reply_finish(request, xml->data, xml->size);
}

int reply_json(struct request *request, int status, struct span json) {
    reply_start(request, status);
    reply_header(request, "Content-Type", "application/json");
    return reply_finish(request, json.data, json.size);
}

/* ---- errors ---- */

static int reply_error_json(struct request *request, int status, const char *code,
                            const char *message) {
    json_t *object =
        json_pack("{s:s, s:s, s:s}", "code", code, "message", message, "request_id", request->id);
    _cleanup_(freep) char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text == NULL)
        return err_set(&request->err, ERR_NOMEM, "an error reply");
    return reply_json(request, status, span_of(text));
}

int reply_error_as(struct request *request, int status, const char *code, const char *message) {
    if (span_starts_with(request->uri.path, SPAN_LITERAL("/-/")))
        return reply_error_json(request, status, code, message);
    _cleanup_(buf_finip) struct buf xml = BUF_INIT;
    reply_start(request, status);
    if (status == 304)
        return reply_finish(request, NULL, 0);
    xml_begin(&xml);
    xml_open(&xml, "Error");
    xml_string(&xml, "Code", code);
    xml_string(&xml, "Message", message);
    xml_text(&xml, "Resource", request->uri.path);
    xml_string(&xml, "RequestId", request->id);
    xml_close(&xml, "Error");
    reply_header(request, "Content-Type", "application/xml");
    return reply_finish(request, xml.data, xml.size);
}

int reply_error(struct request *request, int code) {
    char message[sizeof request->err.text];
    snprintf(message, sizeof message, "%s", err_message(&request->err, code));
    return reply_error_as(request, err_http_status(code), err_s3_code(code), message);
}
