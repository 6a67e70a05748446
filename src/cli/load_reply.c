/* Status, length and keep-alive of an HTTP reply. */
#include "cli/load_reply.h"

#include "wire/http1.h"

static bool take_length(struct span value, uint64_t *ret_length) {
    uint64_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || length > HTTP1_BODY_BYTES_MAX)
            return false;
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    *ret_length = length;
    return value.size > 0;
}

/* "HTTP/1.1 200 OK" */
static bool take_status(struct span line, struct load_reply *reply) {
    struct span version, status;
    span_cut(&line, ' ', &version);
    span_cut(&line, ' ', &status);
    uint64_t number;
    if (!span_starts_with(version, SPAN_LITERAL("HTTP/1.")) || status.size != 3 ||
        !take_length(status, &number))
        return false;
    reply->status = (int)number;
    reply->keep_alive = span_is(version, "HTTP/1.1");
    return true;
}

static bool take_header(struct span line, struct load_reply *reply, bool *has_length) {
    struct span name;
    span_cut(&line, ':', &name);
    struct span value = span_trim(line);
    if (http1_name_equal(name, SPAN_LITERAL("content-length")))
        return *has_length = take_length(value, &reply->body_bytes);
    if (http1_name_equal(name, SPAN_LITERAL("connection")))
        reply->keep_alive = reply->keep_alive && !http1_name_equal(value, SPAN_LITERAL("close"));
    return true;
}

int load_reply_parse(struct span bytes, struct load_reply *ret_reply) {
    const char *end = bytes.size >= 4 ? memmem(bytes.data, bytes.size, "\r\n\r\n", 4) : NULL;
    if (end == NULL)
        return 0;
    struct load_reply reply = {0};
    struct span rest = {bytes.data, (size_t)(end - bytes.data) + 2}, line;
    span_cut(&rest, '\n', &line);
    bool has_length = false;
    if (!take_status(span_trim(line), &reply))
        return -1;
    while (span_cut(&rest, '\n', &line))
        if (!take_header(line, &reply, &has_length))
            return -1;
    if (!has_length && reply.status != 204 && reply.status != 304)
        return -1;
    *ret_reply = reply;
    return (int)(end - bytes.data) + 4;
}
