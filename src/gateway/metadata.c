/* Headers to pairs and back. */
#include "gateway/metadata.h"

#include <stdbool.h>
#include <string.h>

#include "gateway/request.h"

#define METADATA_BYTES_MAX 2048u
#define META_PREFIX SPAN_LITERAL("x-amz-meta-")

/* Headers that are kept, and the parameter that overrides each in a reply. */
static const struct {
    const char *name;
    const char *param;
} kept[] = {
    {"Content-Type", "response-content-type"},
    {"Cache-Control", "response-cache-control"},
    {"Content-Disposition", "response-content-disposition"},
    {"Content-Encoding", "response-content-encoding"},
    {"Content-Language", "response-content-language"},
    {"Expires", "response-expires"},
};
#define KEPT (sizeof kept / sizeof *kept)

/* Headers that ask for more than we do. allowed: the values, separated by spaces, that ask for
 * nothing. */
static const struct {
    const char *name;
    const char *allowed;
} refused[] = {
    {"x-amz-acl", "private bucket-owner-full-control"},
    {"x-amz-storage-class", "STANDARD"},
    {"x-amz-server-side-encryption", ""},
    {"x-amz-server-side-encryption-customer-algorithm", ""},
    {"x-amz-tagging", ""},
    {"x-amz-object-lock-mode", ""},
    {"x-amz-object-lock-legal-hold", ""},
    {"x-amz-website-redirect-location", ""},
    {"x-amz-grant-full-control", ""},
    {"x-amz-grant-read", ""},
    {"x-amz-grant-read-acp", ""},
    {"x-amz-grant-write-acp", ""},
};

static int check_refused(struct request *request) {
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct span value = http1_header(&request->http, refused[i].name);
        if (value.size > 0 && !span_in_words(value, refused[i].allowed))
            return err_set(&request->err, ERR_NOT_IMPLEMENTED, "%s: %.*s is not implemented here",
                           refused[i].name, (int)(value.size < 64 ? value.size : 64), value.data);
    }
    return 0;
}

static Pb__Pair *pair_new(struct request *request, struct span name, struct span value) {
    Pb__Pair *pair = arena_new(&request->arena, Pb__Pair);
    if (pair == NULL)
        return NULL;
    pb__pair__init(pair);
    pair->name = arena_strndup(&request->arena, name.data, name.size);
    pair->value = arena_strndup(&request->arena, value.data, value.size);
    return pair;
}

/* "aws-chunked" describes the transfer, not the object. */
static struct span without_aws_chunked(struct span value) {
    const struct span aws = SPAN_LITERAL("aws-chunked");
    if (!span_starts_with(value, aws))
        return value;
    value = (struct span){value.data + aws.size, value.size - aws.size};
    while (value.size > 0 && (value.data[0] == ',' || value.data[0] == ' '))
        value = (struct span){value.data + 1, value.size - 1};
    return value;
}

static int read_headers(struct request *request, struct metadata *metadata) {
    metadata->headers = arena_array(&request->arena, Pb__Pair *, KEPT);
    for (size_t i = 0; i < KEPT && metadata->headers != NULL; i++) {
        struct span value;
        if (!http1_find(&request->http, kept[i].name, &value))
            continue;
        value = without_aws_chunked(value);
        if (value.size > 0)
            metadata->headers[metadata->header_count++] =
                pair_new(request, span_of(kept[i].name), value);
    }
    return request_memory(request);
}

static bool is_meta(const struct http1_header *header) {
    return header->name.size > META_PREFIX.size &&
           http1_name_equal((struct span){header->name.data, META_PREFIX.size}, META_PREFIX);
}

static Pb__Pair *meta_pair(struct request *request, const struct http1_header *header) {
    struct span name = {header->name.data + META_PREFIX.size, header->name.size - META_PREFIX.size};
    Pb__Pair *pair = pair_new(request, name, header->value);
    for (char *c = pair != NULL ? pair->name : NULL; c != NULL && *c != '\0'; c++)
        *c |= *c >= 'A' && *c <= 'Z' ? 0x20 : 0;
    return pair;
}

int metadata_read(struct request *request, struct metadata *ret_metadata) {
    struct metadata metadata = {0};
    size_t bytes = 0;
    int rc = check_refused(request);
    if (rc == 0)
        rc = read_headers(request, &metadata);
    if (rc != 0)
        return rc;
    metadata.pairs = arena_array(&request->arena, Pb__Pair *, request->http.header_count);
    for (size_t i = 0; i < request->http.header_count && metadata.pairs != NULL; i++) {
        const struct http1_header *header = &request->http.headers[i];
        if (!is_meta(header))
            continue;
        bytes += header->name.size - META_PREFIX.size + header->value.size;
        metadata.pairs[metadata.pair_count++] = meta_pair(request, header);
    }
    if (bytes > METADATA_BYTES_MAX)
        return err_set(&request->err, ERR_METADATA_TOO_LARGE, "%s",
                       err_text(ERR_METADATA_TOO_LARGE));
    *ret_metadata = metadata;
    return request_memory(request);
}

static struct span stored_header(const Pb__Object *object, const char *name) {
    for (size_t i = 0; i < object->n_headers; i++)
        if (strcmp(object->headers[i]->name, name) == 0)
            return span_of(object->headers[i]->value);
    return (struct span){0};
}

/* A value from the query must not end the header and begin another. */
static bool is_header_value(struct span value) {
    for (size_t i = 0; i < value.size; i++)
        if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7f)
            return false;
    return true;
}

void metadata_reply(struct request *request, const Pb__Object *object) {
    for (size_t i = 0; i < KEPT; i++) {
        struct span value = stored_header(object, kept[i].name), wanted;
        if (uri_find(&request->uri, kept[i].param, &wanted) && is_header_value(wanted))
            value = wanted;
        if (value.size == 0 && i == 0)
            value = SPAN_LITERAL("binary/octet-stream");
        if (value.size > 0)
            reply_header_span(request, kept[i].name, value);
    }
    for (size_t i = 0; i < object->n_metadata; i++) {
        buf_puts(&request->reply.head, META_PREFIX.data);
        reply_header(request, object->metadata[i]->name, object->metadata[i]->value);
    }
}
