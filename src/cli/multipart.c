/* CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload. */
#include "cli/multipart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/codec.h"
#include "base/crc.h"
#include "cli/reply.h"

static int take_id(void *context, const char *parent, const char *name, struct span text,
                   struct err *err) {
    struct multipart *multipart = context;
    if (strcmp(name, "UploadId") == 0)
        snprintf(multipart->id, sizeof multipart->id, "%.*s", SPAN_ARGS(text));
    return 0;
}

int multipart_begin(struct multipart *multipart, struct client *client, const struct place *place,
                    struct err *err) {
    *multipart = (struct multipart){.place = place};
    multipart->parts = calloc(MULTIPART_PARTS_MAX, sizeof *multipart->parts);
    if (multipart->parts == NULL)
        return ERR_NOMEM;
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    char path[CLIENT_PATH_SIZE];
    struct uri_param uploads = {SPAN_LITERAL("uploads"), SPAN_LITERAL("")};
    struct client_request request = {
        .method = "POST", .path = client_path(place, path), .params = &uploads, .param_count = 1};
    int status = client_perform(client, &request, &response, err);
    if (status == 0)
        status = reply_read_xml(buf_span(&response.body), take_id, multipart, err);
    if (status == 0 && multipart->id[0] == '\0')
        status = err_set(err, ERR_PROTOCOL, "the reply has no upload id");
    return status;
}

void multipart_fini(struct multipart *multipart) {
    free(multipart->parts);
    multipart->parts = NULL;
}

int multipart_send(struct multipart *multipart, struct client *client, unsigned number,
                   struct client_request *request, struct verify *verify, struct err *err) {
    ASSERT(number >= 1 && number <= MULTIPART_PARTS_MAX);
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    char path[CLIENT_PATH_SIZE], text[12], etag[2 * MD5_SIZE + 1];
    snprintf(text, sizeof text, "%u", number);
    struct uri_param params[] = {{SPAN_LITERAL("partNumber"), span_of(text)},
                                 {SPAN_LITERAL("uploadId"), span_of(multipart->id)}};
    request->method = "PUT";
    request->path = client_path(multipart->place, path);
    request->params = params;
    request->param_count = 2;
    int status = client_perform(client, request, &response, err);
    if (status != 0)
        return status;
    struct multipart_part *part = &multipart->parts[number - 1];
    part->bytes = verify->bytes;
    part->crc32c = verify->crc32c;
    digest_final(&verify->md5, part->md5);
    status = verify_check_etag(hex_encode(part->md5, MD5_SIZE, etag),
                               client_header(&response, "etag"), err);
    return status != 0 ? status : verify_check_crc(part->crc32c, &response, err);
}

static void print_parts(const struct multipart *multipart, struct buf *body) {
    char hex[2 * MD5_SIZE + 1];
    buf_puts(body, "<CompleteMultipartUpload>");
    for (unsigned i = 0; i < multipart->part_count; i++)
        buf_printf(body, "<Part><PartNumber>%u</PartNumber><ETag>\"%s\"</ETag></Part>", i + 1,
                   hex_encode(multipart->parts[i].md5, MD5_SIZE, hex));
    buf_puts(body, "</CompleteMultipartUpload>");
}

/* The MD5 of the parts' MD5s, and their number. */
static void print_etag(const struct multipart *multipart, char *etag, size_t size) {
    struct digest digest;
    uint8_t hash[MD5_SIZE];
    char hex[2 * MD5_SIZE + 1];
    digest_init(&digest, DIGEST_MD5);
    for (unsigned i = 0; i < multipart->part_count; i++)
        digest_update(&digest, multipart->parts[i].md5, MD5_SIZE);
    digest_final(&digest, hash);
    digest_fini(&digest);
    snprintf(etag, size, "%s-%u", hex_encode(hash, sizeof hash, hex), multipart->part_count);
}

static uint32_t combine_crcs(const struct multipart *multipart) {
    uint32_t crc = 0;
    for (unsigned i = 0; i < multipart->part_count; i++)
        crc = crc32c_combine(crc, multipart->parts[i].crc32c, multipart->parts[i].bytes);
    return crc;
}

/* What the object is now: the reply to the completion may have been lost. */
static int check_object(const struct multipart *multipart, struct client *client, struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    char path[CLIENT_PATH_SIZE], etag[64];
    struct http1_header mode = {SPAN_LITERAL("x-amz-checksum-mode"), SPAN_LITERAL("ENABLED")};
    struct client_request request = {.method = "HEAD",
                                     .path = client_path(multipart->place, path),
                                     .headers = &mode,
                                     .header_count = 1};
    int status = client_perform(client, &request, &response, err);
    if (status != 0)
        return status;
    print_etag(multipart, etag, sizeof etag);
    status = verify_check_etag(etag, client_header(&response, "etag"), err);
    return status != 0 ? status : verify_check_crc(combine_crcs(multipart), &response, err);
}

int multipart_complete(struct multipart *multipart, struct client *client, struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    char path[CLIENT_PATH_SIZE];
    print_parts(multipart, &body);
    if (body.failed)
        return ERR_NOMEM;
    struct uri_param id = {SPAN_LITERAL("uploadId"), span_of(multipart->id)};
    struct client_request request = {.method = "POST",
                                     .path = client_path(multipart->place, path),
                                     .params = &id,
                                     .param_count = 1,
                                     .body = buf_span(&body)};
    int status = client_perform(client, &request, &response, err);
    if (status != 0 && !(status == ERR_NO_SUCH_UPLOAD && response.tries > 1))
        return status;
    return check_object(multipart, client, err);
}

void multipart_abort(struct multipart *multipart, struct client *client) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    char path[CLIENT_PATH_SIZE];
    struct uri_param id = {SPAN_LITERAL("uploadId"), span_of(multipart->id)};
    struct client_request request = {.method = "DELETE",
                                     .path = client_path(multipart->place, path),
                                     .params = &id,
                                     .param_count = 1,
                                     .retry_ms_max = 2000};
    if (multipart->id[0] != '\0')
        (void)client_perform(client, &request, &response,
                             NULL); /* else the server collects it by age */
}
