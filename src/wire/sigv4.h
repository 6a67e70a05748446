/* AWS Signature Version 4: reading, verifying and making signatures of requests and of their
 * chunks.
 *
 * Server: sigv4_parse -> find the secret of auth.access_key -> sigv4_check_time ->
 * sigv4_signing_key (cache it: it depends on the secret and auth.scope only) -> sigv4_verify; then,
 * if sigv4_is_streaming(auth.payload), sigv4_chain_init and a struct chunked over the body. Client:
 * sigv4_sign. Comparison is in constant time. */
#ifndef QUERN_WIRE_SIGV4_H
#define QUERN_WIRE_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/http1.h"
#include "wire/time.h"
#include "wire/uri.h"

#define SIGV4_SKEW_S_MAX 900
#define SIGV4_EXPIRES_S_MAX 604800
#define SIGV4_SIGNATURE_SIZE 65 /* in hex, with the NUL */
#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum sigv4_payload {
    SIGV4_PAYLOAD_SHA256,                    /* auth.payload_text is its hash in hex */
    SIGV4_PAYLOAD_UNSIGNED,                  /* UNSIGNED-PAYLOAD */
    SIGV4_PAYLOAD_STREAMING,                 /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
    SIGV4_PAYLOAD_STREAMING_TRAILER,         /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER */
    SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};

/* Spans point into the request and its uri. */
struct sigv4_auth {
    bool is_presigned;
    struct span access_key;
    struct span scope; /* "20130524/us-east-1/s3/aws4_request" */
    struct span date;  /* its parts */
    struct span region;
    struct span service;
    struct span signed_headers; /* "host;x-amz-date", sorted, lower case */
    struct span signature;      /* 64 hex digits */
    struct span time_text;      /* "20130524T000000Z"; printed anew when it came as a Date header */
    int64_t time_s;
    int64_t expires_s; /* presigned only */
    enum sigv4_payload payload;
    struct span payload_text; /* as it goes into the canonical request */
};

/* True when the request carries no signature of any kind (anonymous). */
bool sigv4_is_anonymous(const struct http1_request *request, const struct uri *uri);

/* Reads and checks all but the secret and the clock. Errors:
 * ERR_ACCESS_DENIED (no signature, no date, or host or an x-amz-* header is not signed);
 * ERR_AUTH_HEADER_MALFORMED, ERR_AUTH_QUERY_MALFORMED;
 * ERR_PROTOCOL (no x-amz-content-sha256; AWS Signature Version 2);
 * ERR_INVALID (an x-amz-content-sha256 that is none; header and query both carry a signature);
 * ERR_LIMIT when the arena is full. */
int sigv4_parse(const struct http1_request *request, const struct uri *uri, struct arena *arena,
                struct sigv4_auth *ret_auth, struct err *err);

/* Errors: ERR_TIME_SKEWED (more than 15 minutes off; presigned: from the future), ERR_EXPIRED
 * (presigned). */
int sigv4_check_time(const struct sigv4_auth *auth, int64_t now_s, struct err *err);

void sigv4_signing_key(struct span secret, struct span date, struct span region,
                       struct span service, uint8_t ret_key[SHA256_SIZE]);

/* Errors: ERR_SIGNATURE_MISMATCH, ERR_LIMIT. */
int sigv4_verify(const struct sigv4_auth *auth, const struct http1_request *request,
                 const struct uri *uri, const uint8_t key[SHA256_SIZE], struct err *err);

/* What the signature must be of a request with that method, uri and headers: those in
 * auth->signed_headers count. sigv4_verify and sigv4_sign are made of it. Errors: ERR_LIMIT. */
int sigv4_signature(const struct sigv4_auth *auth, const char *method, const struct uri *uri,
                    const struct http1_header *headers, size_t header_count,
                    const uint8_t key[SHA256_SIZE], char ret_signature[SIGV4_SIGNATURE_SIZE],
                    struct err *err);

static inline bool sigv4_is_streaming(enum sigv4_payload payload) {
    return payload >= SIGV4_PAYLOAD_STREAMING;
}

/* The chain of chunk signatures: each covers the one before it, the first the request's. Owns all
 * its bytes. */
struct sigv4_chain {
    uint8_t key[SHA256_SIZE];
    char previous[SIGV4_SIGNATURE_SIZE];
    char time_text[TIME_BASIC_SIZE];
    char scope[128];
};

/* Errors: ERR_AUTH_HEADER_MALFORMED (a scope longer than ours). */
int sigv4_chain_init(struct sigv4_chain *chain, const struct sigv4_auth *auth,
                     const uint8_t key[SHA256_SIZE], struct err *err);
/* What the signature of the next chunk (or of the trailer, whose canonical lines were hashed) is;
 * moves the chain on. */
void sigv4_chain_next(struct sigv4_chain *chain, const uint8_t payload_hash[SHA256_SIZE],
                      bool is_trailer, char ret_signature[SIGV4_SIGNATURE_SIZE]);

/* Signing. */
struct sigv4_request {
    const char *method;
    struct span host;               /* as the Host header will have it */
    struct span path;               /* decoded: "/bucket/key" */
    const struct uri_param *params; /* decoded */
    size_t param_count;
    const struct http1_header
        *headers; /* further ones to sign, any case and order: content-type, x-amz-meta-... */
    size_t header_count;
    const char *payload; /* hex SHA-256, SIGV4_UNSIGNED, ...; NULL = SIGV4_UNSIGNED */
};

struct sigv4_credentials {
    struct span access_key;
    struct span secret_key;
    struct span region;
    struct span service; /* "s3" */
};

/* What the client sends: the target (encoded) and three headers. NUL-terminated, in the arena. */
struct sigv4_signed {
    const char *target;         /* "/bucket/some%20key?prefix=a" */
    const char *authorization;  /* Authorization; NULL when presigned (it is in the target then) */
    const char *amz_date;       /* x-amz-date */
    const char *content_sha256; /* x-amz-content-sha256 */
    char signature[SIGV4_SIGNATURE_SIZE];
};

/* key may be NULL (it is computed then). Errors: ERR_LIMIT when the arena is full. */
int sigv4_sign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
               const uint8_t *key, int64_t now_s, struct arena *arena,
               struct sigv4_signed *ret_signed, struct err *err);
int sigv4_presign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
                  int64_t now_s, int64_t expires_s, struct arena *arena,
                  struct sigv4_signed *ret_signed, struct err *err);

#endif
