/* Requests that are sent once. */
#include "faults/http.h"

#include <poll.h>

#include "base/cleanup.h"
#include "base/codec.h"
#include "cli/load_reply.h"
#include "os/clock.h"
#include "os/net.h"
#include "wire/sigv4.h"

#define SIGNING_BYTES_MAX ((size_t)1 << 20)
#define READ_BYTES ((size_t)64 << 10)

void http_init(struct http *http, const struct client_config *config, unsigned gateway) {
    *http = (struct http){.config = config, .gateway = gateway, .fd = -1};
    http->reply.limit = HTTP_REPLY_BYTES_MAX;
}

static void disconnect(struct http *http) {
    fd_closep(&http->fd);
    http->fd = -1;
}

void http_fini(struct http *http) {
    disconnect(http);
    buf_fini(&http->reply);
}

/* A kept connection on which something can be read was closed by the other side. */
static bool is_stale(const struct http *http) {
    struct pollfd poll_fd = {.fd = http->fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) != 0;
}

static int print_head(const struct http *http, const struct http_request *request,
                      struct buf *ret_head, struct err *err) {
    const struct client_config *config = http->config;
    const char *host = config->endpoints[http->gateway].host;
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, SIGNING_BYTES_MAX);
    const struct sigv4_request to_sign = {.method = request->method,
                                          .host = span_of(host),
                                          .path = span_of(request->path),
                                          .params = request->params,
                                          .param_count = request->param_count,
                                          .headers = request->headers,
                                          .header_count = request->header_count};
    const struct sigv4_credentials credentials = {span_of(config->access_key),
                                                  span_of(config->secret_key),
                                                  SPAN_LITERAL("us-east-1"), SPAN_LITERAL("s3")};
    struct sigv4_signed made;
    int code = sigv4_sign(&to_sign, &credentials, NULL, (int64_t)(clock_wall_ms() / 1000), &arena,
                          &made, err);
    if (code != 0)
        return code;
    buf_printf(ret_head,
               "%s %s HTTP/1.1\r\nHost: %s\r\nx-amz-date: %s\r\nx-amz-content-sha256: %s\r\n"
               "Authorization: %s\r\nContent-Length: %zu\r\n",
               request->method, made.target, host, made.amz_date, made.content_sha256,
               made.authorization, request->body.size);
    for (size_t i = 0; i < request->header_count; i++)
        buf_printf(ret_head, "%.*s: %.*s\r\n", SPAN_ARGS(request->headers[i].name),
                   SPAN_ARGS(request->headers[i].value));
    buf_puts(ret_head, "\r\n");
    return ret_head->failed ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}

static int receive_some(struct http *http, uint64_t deadline_ns, struct err *err) {
    char *at = buf_reserve(&http->reply, READ_BYTES);
    if (at == NULL)
        return err_set(err, ERR_LIMIT, "the reply is too long");
    size_t got;
    int code = net_read(http->fd, at, READ_BYTES, deadline_ns, &got, err);
    if (code == 0 && got == 0)
        return err_set(err, ERR_CLOSED, "the connection was closed");
    if (code == 0)
        http->reply.size += got;
    return code;
}

/* "ETag: "<32 hex digits>"" somewhere in the head. */
static void find_etag(struct span head, struct http_reply *reply) {
    struct span line, name;
    while (span_cut(&head, '\n', &line)) {
        span_cut(&line, ':', &name);
        struct span value = span_trim(line);
        if (http1_name_equal(name, SPAN_LITERAL("etag")) && value.size == 2 * MD5_SIZE + 2)
            reply->has_etag = hex_decode((struct span){value.data + 1, 2 * (size_t)MD5_SIZE},
                                         reply->etag, MD5_SIZE);
    }
}

static int receive(struct http *http, bool is_head, uint64_t deadline_ns,
                   struct http_reply *ret_reply, bool *ret_keep, struct err *err) {
    struct load_reply head;
    int head_bytes = 0, code = 0;
    buf_clear(&http->reply);
    while (code == 0 && (head_bytes = load_reply_parse(buf_span(&http->reply), &head)) == 0)
        code = receive_some(http, deadline_ns, err);
    if (code == 0 && head_bytes < 0)
        code = err_set(err, ERR_PROTOCOL, "a reply that is none");
    if (code != 0)
        return code;
    size_t body_bytes = is_head || head.status == 204 || head.status == 304 ? 0 : head.body_bytes;
    while (code == 0 && http->reply.size < (size_t)head_bytes + body_bytes)
        code = receive_some(http, deadline_ns, err);
    if (code != 0)
        return code;
    *ret_reply = (struct http_reply){.status = head.status};
    find_etag((struct span){http->reply.data, (size_t)head_bytes}, ret_reply);
    ret_reply->body = (struct span){http->reply.data + head_bytes, body_bytes};
    *ret_keep = head.keep_alive && http->reply.size == (size_t)head_bytes + body_bytes;
    return 0;
}

static int exchange(struct http *http, const struct http_request *request, struct span head,
                    uint64_t deadline_ns, struct http_reply *ret_reply, struct err *err) {
    bool keep = false;
    struct iovec parts[] = {{(void *)(uintptr_t)head.data, head.size},
                            {(void *)(uintptr_t)request->body.data, request->body.size}};
    int code = net_write_all(http->fd, parts, request->body.size > 0 ? 2 : 1, deadline_ns, err);
    if (code == 0)
        code =
            receive(http, strcmp(request->method, "HEAD") == 0, deadline_ns, ret_reply, &keep, err);
    if (!keep)
        disconnect(http);
    return code;
}

int http_perform(struct http *http, const struct http_request *request,
                 struct http_reply *ret_reply, struct err *err) {
    uint64_t deadline_ns = clock_deadline_ms(request->timeout_ms);
    _cleanup_(buf_finip) struct buf head = BUF_INIT;
    int code = print_head(http, request, &head, err);
    if (code == 0 && http->fd >= 0 && is_stale(http))
        disconnect(http);
    if (code == 0 && http->fd < 0)
        code =
            net_connect(http->config->endpoints[http->gateway].host, deadline_ns, &http->fd, err);
    if (code != 0) {
        http->fd = -1;
        return ERR_REFUSED;
    }
    code = exchange(http, request, buf_span(&head), deadline_ns, ret_reply, err);
    return code == ERR_REFUSED ? ERR_CLOSED : code;
}
