/* GET with resumption: what is lost in mid-stream is asked for again from where it broke off. */
#include "cli/download.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/progress.h"
#include "cli/verify.h"

#define RESUMES_MAX 100u

struct download {
    int fd;
    bool began;
    uint64_t size; /* of the object */
    char etag[96]; /* as sent, with its quotes */
    struct verify verify;
    struct progress progress;
    struct client_response response; /* of the try under way */
};

/* The first piece of the first reply: its headers say what is coming. */
static int begin(struct download *download, struct err *err) {
    struct span etag = client_header(&download->response, "etag");
    struct span length = client_header(&download->response, "content-length");
    if (etag.size == 0 || etag.size >= sizeof download->etag || length.size == 0)
        return err_set(err, ERR_PROTOCOL, "the reply has no ETag or no length");
    snprintf(download->etag, sizeof download->etag, "%.*s", SPAN_ARGS(etag));
    download->size = strtoull(length.data, NULL, 10);
    download->progress.total_bytes = download->size;
    download->began = true;
    return 0;
}

static int write_all(int fd, const char *data, size_t size, struct err *err) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno != EINTR)
            return err_errno(err, errno, "cannot write");
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

static int take_piece(void *context, const void *data, size_t size, struct err *err) {
    struct download *download = context;
    int status = download->began ? 0 : begin(download, err);
    if (status == 0)
        status = write_all(download->fd, data, size, err);
    if (status != 0)
        return status;
    verify_update(&download->verify, data, size);
    progress_add(&download->progress, (int64_t)size);
    return 0;
}

static int request_rest(struct client *client, const struct place *place, struct download *download,
                        struct err *err) {
    char path[CLIENT_PATH_SIZE], range[40];
    snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)download->verify.bytes);
    struct http1_header headers[] = {{SPAN_LITERAL("x-amz-checksum-mode"), SPAN_LITERAL("ENABLED")},
                                     {SPAN_LITERAL("range"), span_of(range)},
                                     {SPAN_LITERAL("if-match"), span_of(download->etag)}};
    struct client_request request = {
        .method = "GET",
        .path = client_path(place, path),
        .headers = headers,
        .header_count = download->began ? 3 : 1,
        .sink = take_piece,
        .sink_context = download,
    };
    return client_perform(client, &request, &download->response, err);
}

static int transfer(struct client *client, const struct place *place, struct download *download,
                    struct err *err) {
    int status = 0;
    for (unsigned resumes = 0; resumes < RESUMES_MAX; resumes++) {
        uint64_t before = download->verify.bytes;
        status = request_rest(client, place, download, err);
        if (status == 0 && !download->began)
            status = begin(download, err); /* an empty object */
        if (status == 0 || !err_is_transient(status) || download->verify.bytes == before)
            break;
        if (download->verify.bytes == download->size)
            return 0; /* only the end of the stream was lost */
    }
    return status;
}

static int check(struct download *download, struct err *err) {
    if (download->verify.bytes != download->size)
        return err_set(err, ERR_CORRUPT, "%llu bytes came instead of %llu",
                       (unsigned long long)download->verify.bytes,
                       (unsigned long long)download->size);
    return verify_check(&download->verify, &download->response, err);
}

int download_object(struct client *client, const struct place *place, int fd, struct err *err) {
    struct download download = {.fd = fd};
    verify_init(&download.verify);
    progress_init(&download.progress, place->key, 0);
    int status = transfer(client, place, &download, err);
    if (status == 0)
        status = check(&download, err);
    progress_fini(&download.progress);
    client_response_fini(&download.response);
    verify_fini(&download.verify);
    return status;
}
