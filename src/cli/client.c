/* Signed requests over libcurl, with fail-over between endpoints. */
#include "cli/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/codec.h"
#include "base/rng.h"
#include "cli/client_config.h"
#include "cli/reply.h"
#include "os/clock.h"
#include "wire/sigv4.h"

#define CONNECT_MS_MAX 3000l
#define IDLE_MS_DEFAULT 20000u
#define RETRY_MS_DEFAULT 30000u
#define HTTP_FULL 507
#define REFUSED_MS_MAX                                                                             \
    3000u /* nobody listens anywhere: a wrong endpoint, more likely than a restart */
#define PAUSE_MS_MAX 1000u
#define HEAD_BYTES_MAX ((size_t)64 << 10)
#define SIGNING_BYTES_MAX ((size_t)1 << 20)

struct client {
    struct client_config config;
    CURL *curl;
    unsigned current; /* the endpoint that answered last */
    bool pinned;
    struct rng rng; /* jitter */
};

int client_open(struct client **ret_client, struct err *err) {
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return ERR_NOMEM;
    int status = client_config_read(&client->config, err);
    if (status == 0 && (client->curl = curl_easy_init()) == NULL)
        status = ERR_NOMEM;
    if (status != 0) {
        client_close(client);
        return status;
    }
    rng_init(&client->rng, clock_now_ns());
    *ret_client = client;
    return 0;
}

struct client *client_close(struct client *client) {
    if (client == NULL)
        return NULL;
    if (client->curl != NULL)
        curl_easy_cleanup(client->curl);
    client_config_fini(&client->config);
    free(client);
    return NULL;
}

unsigned client_endpoint_count(const struct client *client) {
    return client->config.endpoint_count;
}

const char *client_endpoint(const struct client *client, unsigned index) {
    ASSERT(index < client->config.endpoint_count);
    return client->config.endpoints[index].url;
}

void client_pin(struct client *client, unsigned index) {
    ASSERT(index < client->config.endpoint_count);
    client->current = index;
    client->pinned = true;
}

void client_response_fini(struct client_response *response) {
    buf_fini(&response->head);
    buf_fini(&response->body);
}

struct span client_header(const struct client_response *response, const char *name) {
    size_t size = strlen(name);
    const char *line = response->head.data;
    while (line != NULL && *line != '\0') {
        size_t length = strcspn(line, "\r\n");
        if (length > size && line[size] == ':' && strncasecmp(line, name, size) == 0) {
            const char *value = line + size + 1 + strspn(line + size + 1, " \t");
            return (struct span){value, length - (size_t)(value - line)};
        }
        line += length + strspn(line + length, "\r\n");
    }
    return (struct span){"", 0};
}

/* ---- one try ---- */

struct exchange {
    const struct client_request *request;
    struct client_response *response;
    uint64_t sent_bytes;
    int failure; /* of the source or the sink: final */
    struct err *err;
};

static size_t on_header(char *data, size_t size, size_t count, void *context) {
    struct exchange *exchange = context;
    struct buf *head = &exchange->response->head;
    if (count > 5 && strncmp(data, "HTTP/", 5) == 0)
        buf_clear(head); /* an earlier one was 100 Continue */
    buf_append(head, data, size * count);
    return head->failed ? 0 : size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *context) {
    struct exchange *exchange = context;
    struct client_response *response = exchange->response;
    const struct client_request *request = exchange->request;
    const char *head = response->head.data;
    bool good = head != NULL && strlen(head) > 9 && head[9] == '2'; /* "HTTP/1.1 200" */
    if (request->sink == NULL || !good) {
        buf_append(&response->body, data, size * count);
        return response->body.failed ? 0 : size * count;
    }
    exchange->failure = request->sink(request->sink_context, data, size * count, exchange->err);
    if (exchange->failure != 0)
        return 0;
    response->sunk_bytes += size * count;
    return size * count;
}

static uint64_t body_size(const struct client_request *request) {
    return request->source != NULL ? request->source->size : request->body.size;
}

static size_t on_send(char *data, size_t size, size_t count, void *context) {
    struct exchange *exchange = context;
    const struct client_request *request = exchange->request;
    uint64_t left = body_size(request) - exchange->sent_bytes;
    size_t take = left < size * count ? (size_t)left : size * count;
    if (take == 0)
        return 0;
    if (request->source == NULL)
        memcpy(data, request->body.data + exchange->sent_bytes, take);
    else {
        const struct client_source *source = request->source;
        exchange->failure = source->read(source->context, data, take, &take, exchange->err);
        if (exchange->failure != 0)
            return CURL_READFUNC_ABORT;
    }
    exchange->sent_bytes += take;
    return take;
}

/* curl rewinds a body it had begun to send on a kept connection that turned out to be dead. */
static int on_seek(void *context, curl_off_t offset, int origin) {
    struct exchange *exchange = context;
    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    exchange->sent_bytes = 0;
    const struct client_source *source = exchange->request->source;
    if (source != NULL)
        exchange->failure = source->rewind(source->context, exchange->err);
    return exchange->failure == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

static int sign(const struct client *client, const struct client_request *request,
                struct arena *arena, struct sigv4_signed *ret_signed, struct err *err) {
    char payload[2 * SHA256_SIZE + 1];
    if (request->source == NULL) {
        uint8_t hash[SHA256_SIZE];
        digest_of(DIGEST_SHA256, request->body, hash);
        hex_encode(hash, sizeof hash, payload);
    }
    struct sigv4_request to_sign = {
        .method = request->method,
        .host = span_of(client->config.endpoints[client->current].host),
        .path = span_of(request->path),
        .params = request->params,
        .param_count = request->param_count,
        .headers = request->headers,
        .header_count = request->header_count,
        .payload = request->source == NULL ? payload : SIGV4_UNSIGNED,
    };
    struct sigv4_credentials credentials = {
        .access_key = span_of(client->config.access_key),
        .secret_key = span_of(client->config.secret_key),
        .region = SPAN_LITERAL("us-east-1"),
        .service = SPAN_LITERAL("s3"),
    };
    return sigv4_sign(&to_sign, &credentials, NULL, (int64_t)(clock_wall_ms() / 1000), arena,
                      ret_signed, err);
}

/* False, and everything freed, when memory ran out. */
static bool add_line(struct curl_slist **list, const char *line) {
    struct curl_slist *longer = line != NULL ? curl_slist_append(*list, line) : NULL;
    if (longer == NULL)
        curl_slist_free_all(*list);
    *list = longer;
    return longer != NULL;
}

/* curl leaves out "name:" and sends "name;" with an empty value. */
static const char *print_header(const struct http1_header *header, struct arena *arena) {
    return header->value.size == 0 ? arena_printf(arena, "%.*s;", SPAN_ARGS(header->name))
                                   : arena_printf(arena, "%.*s: %.*s", SPAN_ARGS(header->name),
                                                  SPAN_ARGS(header->value));
}

/* NULL when memory ran out. */
static struct curl_slist *build_headers(const struct client *client,
                                        const struct client_request *request,
                                        const struct sigv4_signed *sign, struct arena *arena) {
    const char *host = client->config.endpoints[client->current].host;
    struct curl_slist *list = NULL;
    bool good =
        add_line(&list, arena_printf(arena, "Host: %s", host)) &&
        add_line(&list, arena_printf(arena, "Authorization: %s", sign->authorization)) &&
        add_line(&list, arena_printf(arena, "x-amz-date: %s", sign->amz_date)) &&
        add_line(&list, arena_printf(arena, "x-amz-content-sha256: %s", sign->content_sha256));
    for (size_t i = 0; i < request->header_count && good; i++)
        good = add_line(&list, print_header(&request->headers[i], arena));
    return list;
}

static void set_options(CURL *curl, const struct client_request *request,
                        struct exchange *exchange) {
    uint64_t idle_ms = request->idle_ms_max != 0 ? request->idle_ms_max : IDLE_MS_DEFAULT;
    curl_easy_reset(curl); /* keeps the connections */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1l);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1l);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS_MAX);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1l);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)((idle_ms + 999) / 1000));
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256l << 10);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 512l << 10);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1l);
    } else if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1l);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_size(request));
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(curl, CURLOPT_READDATA, exchange);
        curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(curl, CURLOPT_SEEKDATA, exchange);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static int error_of_curl(CURLcode code, const char *url, struct err *err) {
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return err_set(err, ERR_REFUSED, "%s cannot be reached: is a server running there?", url);
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(err, ERR_INVALID, "%s: there is no such host", url);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, ERR_TIMEOUT, "%s does not answer", url);
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return err_set(err, ERR_CLOSED, "%s closed the connection", url);
    default:
        return err_set(err, ERR_PROTOCOL, "%s: %s", url, curl_easy_strerror(code));
    }
}

static int send_once(struct client *client, const struct client_request *request,
                     struct exchange *exchange, struct arena *arena, struct err *err) {
    struct client_response *response = exchange->response;
    const char *endpoint = client->config.endpoints[client->current].url;
    struct sigv4_signed signature;
    int status = sign(client, request, arena, &signature, err);
    if (status != 0)
        return status;
    struct curl_slist *headers = build_headers(client, request, &signature, arena);
    const char *url = arena_printf(arena, "%s%s", endpoint, signature.target);
    if (headers == NULL || url == NULL) {
        curl_slist_free_all(headers);
        return ERR_NOMEM;
    }
    set_options(client->curl, request, exchange);
    curl_easy_setopt(client->curl, CURLOPT_URL, url);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    CURLcode code = curl_easy_perform(client->curl);
    curl_slist_free_all(headers);
    if (exchange->failure != 0)
        return exchange->failure;
    long http_status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &http_status);
    response->status = (int)http_status;
    /* A refusal may arrive before all of the body was sent: the answer counts, not the broken pipe.
     */
    if (code != CURLE_OK && !(http_status >= 300 && response->sunk_bytes == 0))
        return error_of_curl(code, endpoint, err);
    return http_status < 300 ? 0
                             : reply_read_error((int)http_status, buf_span(&response->body), err);
}

static int try_once(struct client *client, const struct client_request *request,
                    struct client_response *response, bool *ret_is_final, struct err *err) {
    struct exchange exchange = {.request = request, .response = response, .err = err};
    response->status = 0;
    buf_clear(&response->head);
    buf_clear(&response->body);
    response->head.limit = HEAD_BYTES_MAX;
    int status =
        request->source != NULL ? request->source->rewind(request->source->context, err) : 0;
    if (status != 0) {
        *ret_is_final = true;
        return status;
    }
    struct arena arena;
    arena_init(&arena, SIGNING_BYTES_MAX);
    status = send_once(client, request, &exchange, &arena, err);
    arena_fini(&arena);
    *ret_is_final =
        exchange.failure != 0 || response->sunk_bytes > 0 ||
        !(err_is_transient(status) || (response->status >= 500 && response->status != HTTP_FULL));
    return status;
}

/* ---- retries ---- */

static void pause_before_retry(struct client *client, unsigned tries, uint64_t deadline_ns) {
    uint64_t ms = tries < 5 ? 20u << tries : PAUSE_MS_MAX;
    uint64_t until = clock_deadline_ms(ms / 2 + rng_below(&client->rng, ms / 2 + 1));
    clock_sleep_until(until < deadline_ns ? until : deadline_ns);
}

int client_perform(struct client *client, const struct client_request *request,
                   struct client_response *response, struct err *err) {
    uint64_t retry_ms = request->retry_ms_max != 0 ? request->retry_ms_max : RETRY_MS_DEFAULT;
    uint64_t start_ns = clock_now_ns(), deadline_ns = start_ns + retry_ms * NS_PER_MS;
    bool is_final = false, was_reached = false;
    response->tries = 0;
    response->sunk_bytes = 0;
    for (;;) {
        response->tries++;
        struct err last = {0};
        int status = try_once(client, request, response, &is_final, &last);
        if (status == 0)
            return 0;
        uint64_t now_ns = clock_now_ns();
        unsigned count = client->pinned ? 1 : client->config.endpoint_count;
        was_reached = was_reached || status != ERR_REFUSED;
        bool is_nobody = !was_reached && now_ns - start_ns >= REFUSED_MS_MAX * NS_PER_MS;
        bool is_late = now_ns >= deadline_ns && response->tries >= count;
        if (count > 1 && err_is_transient(status))
            client->current = (client->current + 1) % count; /* also for the next request */
        if (is_final || is_nobody || is_late)
            return err_set(err, status, "%s", err_message(&last, status));
        if (response->tries % count == 0)
            pause_before_retry(client, response->tries / count, deadline_ns);
    }
}

/* ---- places ---- */

int client_parse_place(const char *text, struct place *ret_place, struct err *err) {
    const char *rest = strncmp(text, "s3://", 5) == 0 ? text + 5 : text;
    size_t bucket = strcspn(rest, "/");
    const char *key = rest[bucket] == '/' ? rest + bucket + 1 : rest + bucket;
    if (bucket == 0 || bucket >= sizeof ret_place->bucket)
        return err_set(err, ERR_INVALID, "'%.80s' is not a place like BUCKET/KEY", text);
    if (strlen(key) >= sizeof ret_place->key)
        return err_set(err, ERR_INVALID, "the key '%.40s...' is longer than 1024 bytes", key);
    snprintf(ret_place->bucket, sizeof ret_place->bucket, "%.*s", (int)bucket, rest);
    snprintf(ret_place->key, sizeof ret_place->key, "%s", key);
    return 0;
}

const char *client_path(const struct place *place, char *path) {
    snprintf(path, CLIENT_PATH_SIZE, "/%s%s%s", place->bucket, place->key[0] != '\0' ? "/" : "",
             place->key);
    return path;
}
