/* Request heads: one pass over the lines, each byte looked at once and each rule said once. There
 * is no lenient parser behind this one, so there is nothing it could read differently. */
#include "wire/http1.h"

#include <strings.h>

static const char *const method_names[] = {
    [HTTP1_GET] = "GET",   [HTTP1_HEAD] = "HEAD",     [HTTP1_PUT] = "PUT",
    [HTTP1_POST] = "POST", [HTTP1_DELETE] = "DELETE", [HTTP1_OPTIONS] = "OPTIONS",
};
#define METHOD_COUNT (sizeof method_names / sizeof *method_names)

const char *http1_method_name(enum http1_method method) {
    return method_names[method];
}

bool http1_name_equal(struct span a, struct span b) {
    return a.size == b.size && strncasecmp(a.data, b.data, a.size) == 0;
}

bool http1_find(const struct http1_request *request, const char *name, struct span *ret_value) {
    struct span wanted = span_of(name);
    for (size_t i = 0; i < request->header_count; i++) {
        if (http1_name_equal(request->headers[i].name, wanted)) {
            *ret_value = request->headers[i].value;
            return true;
        }
    }
    return false;
}

struct span http1_header(const struct http1_request *request, const char *name) {
    struct span value = {"", 0};
    http1_find(request, name, &value);
    return value;
}

static bool is_alnum(unsigned char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* RFC 9110, 5.6.2. */
static bool is_token(struct span text) {
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!is_alnum((unsigned char)c) && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.size > 0;
}

/* RFC 9110, 5.5: field-vchar, space and tab; no CR, LF, NUL or other control byte. */
static bool is_field_value(struct span text) {
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* The next line without its CRLF; its data is NULL when it is not whole yet. */
static int next_line(struct span *rest, struct span *ret_line, struct err *err) {
    struct span line;
    if (!span_cut(rest, '\n', &line))
        line = (struct span){NULL, 0};
    else if (line.size == 0 || line.data[line.size - 1] != '\r')
        return err_set(err, ERR_BAD_REQUEST, "a line ends without CR");
    else
        line.size--;
    *ret_line = line;
    return 0;
}

static int parse_method(struct span text, struct http1_request *request, struct err *err) {
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (span_is(text, method_names[i])) {
            request->method = (enum http1_method)i;
            return 0;
        }
    }
    if (!is_token(text) || text.size > 32)
        return err_set(err, ERR_BAD_REQUEST, "the method is malformed");
    return err_set(err, ERR_METHOD_NOT_ALLOWED, "the method %.*s is not known", SPAN_ARGS(text));
}

static int parse_request_line(struct span line, struct http1_request *request, struct err *err) {
    struct span method;
    if (!span_cut(&line, ' ', &method) || !span_cut(&line, ' ', &request->target) ||
        request->target.size == 0)
        return err_set(err, ERR_BAD_REQUEST, "the request line is malformed");
    for (size_t i = 0; i < request->target.size; i++)
        if (request->target.data[i] <= 0x20 || request->target.data[i] >= 0x7f)
            return err_set(err, ERR_BAD_REQUEST,
                           "the request target has a byte that must be escaped");
    if (!span_is(line, "HTTP/1.1") && !span_is(line, "HTTP/1.0"))
        return err_set(err, ERR_BAD_REQUEST, "the HTTP version is not 1.0 or 1.1");
    request->minor = (unsigned)(line.data[line.size - 1] - '0');
    request->keep_alive = request->minor == 1;
    return parse_method(method, request, err);
}

static int take_host(struct http1_request *request, struct span value, struct err *err) {
    if (request->host.size > 0)
        return err_set(err, ERR_BAD_REQUEST, "there are two Host headers");
    for (size_t i = 0; i < value.size; i++)
        if (!is_alnum((unsigned char)value.data[i]) && strchr(".-_:[]", value.data[i]) == NULL)
            return err_set(err, ERR_BAD_REQUEST, "the Host header is malformed");
    if (value.size == 0)
        return err_set(err, ERR_BAD_REQUEST, "the Host header is empty");
    request->host = value;
    return 0;
}

static int take_content_length(struct http1_request *request, struct span value, struct err *err) {
    if (request->has_content_length)
        return err_set(err, ERR_BAD_REQUEST, "there are two Content-Length headers");
    uint64_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return err_set(err, ERR_BAD_REQUEST, "Content-Length is not a number");
        length = length * 10 + (uint64_t)(value.data[i] - '0');
        if (length > HTTP1_BODY_BYTES_MAX)
            return err_set(err, ERR_BAD_REQUEST, "Content-Length is too large");
    }
    if (value.size == 0)
        return err_set(err, ERR_BAD_REQUEST, "Content-Length is empty");
    request->has_content_length = true;
    request->content_length = length;
    return 0;
}

static int take_transfer_encoding(struct http1_request *request, struct span value,
                                  struct err *err) {
    if (request->is_chunked)
        return err_set(err, ERR_BAD_REQUEST, "there are two Transfer-Encoding headers");
    if (request->minor == 0)
        return err_set(err, ERR_BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding");
    if (!http1_name_equal(value, SPAN_LITERAL("chunked")))
        return err_set(err, ERR_NOT_IMPLEMENTED, "the only transfer encoding here is chunked");
    request->is_chunked = true;
    return 0;
}

static int take_connection(struct http1_request *request, struct span value, struct err *err) {
    struct span option;
    for (bool more = true; more;) {
        more = span_cut(&value, ',', &option);
        option = span_trim(option);
        if (http1_name_equal(option, SPAN_LITERAL("close")))
            request->keep_alive = false;
        else if (http1_name_equal(option, SPAN_LITERAL("keep-alive")) && request->minor == 0)
            request->keep_alive = true;
        else if (option.size > 0 && !is_token(option))
            return err_set(err, ERR_BAD_REQUEST, "the Connection header is malformed");
    }
    return 0;
}

static int take_expect(struct http1_request *request, struct span value, struct err *err) {
    if (!http1_name_equal(value, SPAN_LITERAL("100-continue")))
        return err_set(err, ERR_NOT_IMPLEMENTED, "the only expectation here is 100-continue");
    request->expect_continue = request->minor == 1; /* RFC 9110, 10.1.1: ignored in 1.0 */
    return 0;
}

/* The headers that decide where a message ends and what becomes of its connection. */
static int take_framing(struct http1_request *request, const struct http1_header *header,
                        struct err *err) {
    static const struct {
        struct span name;
        int (*take)(struct http1_request *request, struct span value, struct err *err);
    } rows[] = {
        {SPAN_LITERAL("host"), take_host},
        {SPAN_LITERAL("content-length"), take_content_length},
        {SPAN_LITERAL("transfer-encoding"), take_transfer_encoding},
        {SPAN_LITERAL("connection"), take_connection},
        {SPAN_LITERAL("expect"), take_expect},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (http1_name_equal(header->name, rows[i].name))
            return rows[i].take(request, header->value, err);
    return 0;
}

static int parse_header(struct span line, struct http1_request *request, struct err *err) {
    if (request->header_count == HTTP1_HEADERS_MAX)
        return err_set(err, ERR_HEADER_TOO_LARGE, "more than %u headers", HTTP1_HEADERS_MAX);
    struct http1_header *header = &request->headers[request->header_count++];
    /* A folded line begins with white space and a space may stand before the colon: neither is a
     * token. */
    if (!span_cut(&line, ':', &header->name) || !is_token(header->name))
        return err_set(err, ERR_BAD_REQUEST, "a header line is malformed");
    if (!is_field_value(line))
        return err_set(err, ERR_BAD_REQUEST, "a header value has a control byte");
    header->value = span_trim(line);
    return take_framing(request, header, err);
}

static int check_whole(const struct http1_request *request, struct err *err) {
    if (request->minor == 1 && request->host.size == 0)
        return err_set(err, ERR_BAD_REQUEST, "there is no Host header");
    if (request->is_chunked && request->has_content_length)
        return err_set(err, ERR_BAD_REQUEST, "both Content-Length and Transfer-Encoding are given");
    return 0;
}

/* Lines up to and with the empty one; *ret_is_whole is false when it has not come yet. */
static int parse_lines(struct span *rest, struct http1_request *request, bool *ret_is_whole,
                       struct err *err) {
    struct span line = {NULL, 0};
    *ret_is_whole = false;
    for (bool is_first = true;; is_first = false) {
        int code = next_line(rest, &line, err);
        if (code != 0 || line.data == NULL)
            return code;
        if (!is_first && line.size == 0)
            break;
        code = is_first ? parse_request_line(line, request, err) : parse_header(line, request, err);
        if (code != 0)
            return code;
    }
    *ret_is_whole = true;
    return check_whole(request, err);
}

int http1_parse(struct span bytes, struct http1_request *ret_request, size_t *ret_head_bytes,
                struct err *err) {
    struct span rest = bytes;
    if (rest.size > HTTP1_HEAD_BYTES_MAX)
        rest.size = HTTP1_HEAD_BYTES_MAX;
    if (span_starts_with(rest, SPAN_LITERAL("\r\n"))) /* RFC 9112, 2.2 */
        rest = (struct span){rest.data + 2, rest.size - 2};
    /* Not the headers, which header_count guards: clearing 3 KiB for each request would show. */
    memset(ret_request, 0, offsetof(struct http1_request, headers));
    bool is_whole;
    int code = parse_lines(&rest, ret_request, &is_whole, err);
    if (code != 0)
        return code;
    if (!is_whole && bytes.size >= HTTP1_HEAD_BYTES_MAX)
        return err_set(err, ERR_HEADER_TOO_LARGE, "the header is longer than %u bytes",
                       HTTP1_HEAD_BYTES_MAX);
    *ret_head_bytes = is_whole ? (size_t)(rest.data - bytes.data) : 0;
    return 0;
}
