/* Signatures: the canonical request, the string to sign, keys, the chain of chunk signatures. */
#include "wire/sigv4.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/codec.h"

#define CANONICAL_BYTES_MAX (256u << 10) /* a head of 16 KiB, each byte escaped, and to spare */

void sigv4_signing_key(struct span secret, struct span date, struct span region,
                       struct span service, uint8_t ret_key[SHA256_SIZE]) {
    char first[4 + 128] = "AWS4";
    size_t size = secret.size < sizeof first - 4 ? secret.size : sizeof first - 4;
    memcpy(first + 4, secret.data, size);
    struct span key = {first, 4 + size};
    const struct span parts[] = {date, region, service, SPAN_LITERAL("aws4_request")};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        hmac_sha256(key, parts[i], ret_key);
        key = (struct span){(const char *)ret_key, SHA256_SIZE};
    }
    OPENSSL_cleanse(first, sizeof first);
}

static void print_lower(struct buf *buf, struct span text) {
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        buf_putc(buf, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
    }
}

/* The value trimmed, with runs of spaces as one. */
static void print_value(struct buf *buf, struct span value) {
    value = span_trim(value);
    if (memmem(value.data, value.size, "  ", 2) == NULL) {
        buf_append(buf, value.data, value.size);
        return;
    }
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] != ' ' || value.data[i - 1] != ' ')
            buf_putc(buf, value.data[i]);
}

/* "name:value,value\n" of all headers of that name, in the order they came. */
static void print_header(struct buf *buf, struct span name, const struct http1_header *headers,
                         size_t header_count) {
    print_lower(buf, name);
    char separator = ':';
    for (size_t i = 0; i < header_count; i++) {
        if (!http1_name_equal(headers[i].name, name))
            continue;
        buf_putc(buf, separator);
        print_value(buf, headers[i].value);
        separator = ',';
    }
    buf_puts(buf, separator == ':' ? ":\n" : "\n");
}

static int print_canonical(struct buf *buf, const struct sigv4_auth *auth, const char *method,
                           const struct uri *uri, const struct http1_header *headers,
                           size_t header_count, struct err *err) {
    buf_puts(buf, method);
    buf_putc(buf, '\n');
    uri_encode(buf, uri->path, true /* keep slashes */);
    buf_putc(buf, '\n');
    int code = uri_print_canonical_query(uri, "X-Amz-Signature", buf, err);
    if (code != 0)
        return code;
    buf_putc(buf, '\n');
    struct span names = auth->signed_headers, name;
    while (names.size > 0) {
        span_cut(&names, ';', &name);
        print_header(buf, name, headers, header_count);
    }
    buf_putc(buf, '\n');
    buf_append(buf, auth->signed_headers.data, auth->signed_headers.size);
    buf_putc(buf, '\n');
    buf_append(buf, auth->payload_text.data, auth->payload_text.size);
    return buf->failed ? err_set(err, ERR_LIMIT, "the request is too large to be signed") : 0;
}

static void sign_text(const uint8_t key[SHA256_SIZE], struct span text,
                      char ret_signature[SIGV4_SIGNATURE_SIZE]) {
    uint8_t hash[SHA256_SIZE];
    hmac_sha256((struct span){(const char *)key, SHA256_SIZE}, text, hash);
    hex_encode(hash, sizeof hash, ret_signature);
}

int sigv4_signature(const struct sigv4_auth *auth, const char *method, const struct uri *uri,
                    const struct http1_header *headers, size_t header_count,
                    const uint8_t key[SHA256_SIZE], char ret_signature[SIGV4_SIGNATURE_SIZE],
                    struct err *err) {
    _cleanup_(buf_finip) struct buf buf = {.limit = CANONICAL_BYTES_MAX};
    buf_reserve(&buf, 2000); /* most requests: one allocation */
    int code = print_canonical(&buf, auth, method, uri, headers, header_count, err);
    if (code != 0)
        return code;
    uint8_t hash[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    digest_of(DIGEST_SHA256, buf_span(&buf), hash);
    buf_clear(&buf);
    buf_puts(&buf, SIGV4_ALGORITHM "\n");
    buf_append(&buf, auth->time_text.data, auth->time_text.size);
    buf_putc(&buf, '\n');
    buf_append(&buf, auth->scope.data, auth->scope.size);
    buf_putc(&buf, '\n');
    buf_append(&buf, hex_encode(hash, sizeof hash, hex), sizeof hex - 1);
    if (buf.failed)
        return err_set(err, ERR_LIMIT, "the request is too large to be signed");
    sign_text(key, buf_span(&buf), ret_signature);
    return 0;
}

int sigv4_verify(const struct sigv4_auth *auth, const struct http1_request *request,
                 const struct uri *uri, const uint8_t key[SHA256_SIZE], struct err *err) {
    char signature[SIGV4_SIGNATURE_SIZE];
    int code = sigv4_signature(auth, http1_method_name(request->method), uri, request->headers,
                               request->header_count, key, signature, err);
    if (code != 0)
        return code;
    if (auth->signature.size != SIGV4_SIGNATURE_SIZE - 1 ||
        CRYPTO_memcmp(signature, auth->signature.data, SIGV4_SIGNATURE_SIZE - 1) != 0)
        return err_set(err, ERR_SIGNATURE_MISMATCH,
                       "the request signature we calculated does not match the signature you "
                       "provided; check your key and signing method");
    return 0;
}

int sigv4_check_time(const struct sigv4_auth *auth, int64_t now_s, struct err *err) {
    int64_t ahead = auth->time_s - now_s;
    if (auth->is_presigned && ahead <= SIGV4_SKEW_S_MAX)
        return now_s <= auth->time_s + auth->expires_s
                   ? 0
                   : err_set(err, ERR_EXPIRED, "the presigned request has expired");
    if (ahead > SIGV4_SKEW_S_MAX || ahead < -SIGV4_SKEW_S_MAX)
        return err_set(err, ERR_TIME_SKEWED,
                       "the difference between the request time and the server's time is too "
                       "large: %lld s",
                       (long long)ahead);
    return 0;
}

int sigv4_chain_init(struct sigv4_chain *chain, const struct sigv4_auth *auth,
                     const uint8_t key[SHA256_SIZE], struct err *err) {
    if (auth->scope.size >= sizeof chain->scope ||
        auth->signature.size != SIGV4_SIGNATURE_SIZE - 1 ||
        auth->time_text.size != TIME_BASIC_SIZE - 1)
        return err_set(err, ERR_AUTH_HEADER_MALFORMED, "the credential scope is too long");
    *chain = (struct sigv4_chain){0};
    memcpy(chain->key, key, sizeof chain->key);
    memcpy(chain->previous, auth->signature.data, auth->signature.size);
    memcpy(chain->time_text, auth->time_text.data, auth->time_text.size);
    memcpy(chain->scope, auth->scope.data, auth->scope.size);
    return 0;
}

void sigv4_chain_next(struct sigv4_chain *chain, const uint8_t payload_hash[SHA256_SIZE],
                      bool is_trailer, char ret_signature[SIGV4_SIGNATURE_SIZE]) {
    char hex[2 * SHA256_SIZE + 1], text[512];
    int size = snprintf(text, sizeof text, SIGV4_ALGORITHM "-%s\n%s\n%s\n%s\n%s%s",
                        is_trailer ? "TRAILER" : "PAYLOAD", chain->time_text, chain->scope,
                        chain->previous, is_trailer ? "" : SIGV4_EMPTY_SHA256 "\n",
                        hex_encode(payload_hash, SHA256_SIZE, hex));
    sign_text(chain->key, (struct span){text, (size_t)size}, chain->previous);
    memcpy(ret_signature, chain->previous, sizeof chain->previous);
}
