/* Reading a signature out of the Authorization header or of a presigned query. */
#include "wire/sigv4.h"

#include "base/codec.h"

#define PARAM_ALGORITHM "X-Amz-Algorithm"
#define ACCESS_KEY_BYTES_MAX 128u

static const char *const payload_names[] = {
    [SIGV4_PAYLOAD_UNSIGNED] = SIGV4_UNSIGNED,
    [SIGV4_PAYLOAD_STREAMING] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    [SIGV4_PAYLOAD_STREAMING_TRAILER] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    [SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER] = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
};

static bool is_version_2(const struct http1_request *request, const struct uri *uri) {
    return span_starts_with(http1_header(request, "authorization"), SPAN_LITERAL("AWS ")) ||
           uri_has(uri, "AWSAccessKeyId");
}

bool sigv4_is_anonymous(const struct http1_request *request, const struct uri *uri) {
    struct span value;
    return !http1_find(request, "authorization", &value) && !uri_has(uri, PARAM_ALGORITHM) &&
           !uri_has(uri, "X-Amz-Signature") && !uri_has(uri, "X-Amz-Credential") &&
           !is_version_2(request, uri);
}

/* A malformed signature, under the code of the place it stands in. */
static int malformed(const struct sigv4_auth *auth, struct err *err, const char *what) {
    return err_set(err, auth->is_presigned ? ERR_AUTH_QUERY_MALFORMED : ERR_AUTH_HEADER_MALFORMED,
                   "the signature is malformed: %s", what);
}

/* "ACCESS/20130524/us-east-1/s3/aws4_request" */
static int parse_credential(struct span text, struct sigv4_auth *auth, struct err *err) {
    if (!span_cut(&text, '/', &auth->access_key) || auth->access_key.size == 0 ||
        auth->access_key.size > ACCESS_KEY_BYTES_MAX)
        return malformed(auth, err, "the credential has no access key");
    auth->scope = text;
    if (!span_cut(&text, '/', &auth->date) || !span_cut(&text, '/', &auth->region) ||
        !span_cut(&text, '/', &auth->service) || !span_is(text, "aws4_request"))
        return malformed(auth, err, "the credential must end with DATE/REGION/s3/aws4_request");
    if (auth->date.size != 8 || auth->region.size == 0 || auth->region.size > 64)
        return malformed(auth, err, "the date or the region of the credential");
    if (!span_is(auth->service, "s3"))
        return malformed(auth, err, "the service of the credential must be s3");
    return 0;
}

static int parse_signature(struct span text, struct sigv4_auth *auth, struct err *err) {
    uint8_t hash[SHA256_SIZE];
    if (!hex_decode(text, hash, sizeof hash))
        return malformed(auth, err, "the signature must be 64 hexadecimal digits");
    auth->signature = text;
    return 0;
}

static int parse_authorization(struct span text, struct sigv4_auth *auth, struct err *err) {
    struct span item, name, algorithm;
    span_cut(&text, ' ', &algorithm);
    if (!span_is(algorithm, SIGV4_ALGORITHM))
        return err_set(err, ERR_AUTH_HEADER_MALFORMED,
                       "the authorization mechanism is not supported; use " SIGV4_ALGORITHM);
    struct span credential = {0}, signature = {0};
    while (text.size > 0) {
        span_cut(&text, ',', &item);
        item = span_trim(item);
        span_cut(&item, '=', &name);
        struct span *field = span_is(name, "Credential")      ? &credential
                             : span_is(name, "SignedHeaders") ? &auth->signed_headers
                             : span_is(name, "Signature")     ? &signature
                                                              : NULL;
        if (field == NULL || field->data != NULL)
            return malformed(auth, err, "a field of it is unknown or given twice");
        *field = item;
    }
    if (credential.data == NULL || signature.data == NULL || auth->signed_headers.data == NULL)
        return malformed(auth, err, "it needs Credential, SignedHeaders and Signature");
    int code = parse_credential(credential, auth, err);
    return code != 0 ? code : parse_signature(signature, auth, err);
}

static int parse_expires(struct span text, struct sigv4_auth *auth, struct err *err) {
    int64_t seconds = 0;
    for (size_t i = 0; i < text.size && seconds <= SIGV4_EXPIRES_S_MAX; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return malformed(auth, err, "X-Amz-Expires must be a number");
        seconds = seconds * 10 + (text.data[i] - '0');
    }
    if (seconds < 1 || seconds > SIGV4_EXPIRES_S_MAX)
        return malformed(auth, err, "X-Amz-Expires must be between 1 and 604800 seconds");
    auth->expires_s = seconds;
    return 0;
}

static int parse_query(const struct uri *uri, struct sigv4_auth *auth, struct err *err) {
    if (!uri_has(uri, PARAM_ALGORITHM) || !uri_has(uri, "X-Amz-Credential") ||
        !uri_has(uri, "X-Amz-Signature") || !uri_has(uri, "X-Amz-Date") ||
        !uri_has(uri, "X-Amz-SignedHeaders") || !uri_has(uri, "X-Amz-Expires"))
        return malformed(auth, err,
                         "it needs X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
                         "X-Amz-SignedHeaders and X-Amz-Expires");
    if (!span_is(uri_param(uri, PARAM_ALGORITHM), SIGV4_ALGORITHM))
        return malformed(auth, err, PARAM_ALGORITHM " must be " SIGV4_ALGORITHM);
    auth->signed_headers = uri_param(uri, "X-Amz-SignedHeaders");
    auth->time_text = uri_param(uri, "X-Amz-Date");
    if (!time_parse_basic(auth->time_text, &auth->time_s))
        return malformed(auth, err, "X-Amz-Date must be like 20130524T000000Z");
    int code = parse_credential(uri_param(uri, "X-Amz-Credential"), auth, err);
    if (code == 0)
        code = parse_expires(uri_param(uri, "X-Amz-Expires"), auth, err);
    return code != 0 ? code : parse_signature(uri_param(uri, "X-Amz-Signature"), auth, err);
}

/* x-amz-date, else Date. */
static int parse_date_header(const struct http1_request *request, struct arena *arena,
                             struct sigv4_auth *auth, struct err *err) {
    struct span text;
    if (http1_find(request, "x-amz-date", &text)) {
        auth->time_text = text;
        if (time_parse_basic(text, &auth->time_s))
            return 0;
    } else if (http1_find(request, "date", &text)) {
        char *basic = arena_alloc(arena, TIME_BASIC_SIZE);
        if (basic == NULL)
            return err_set(err, ERR_LIMIT, "the request is too large");
        if (time_parse_http(text, &auth->time_s)) {
            auth->time_text = span_of(time_print_basic(auth->time_s, basic));
            return 0;
        }
    }
    return err_set(err, ERR_ACCESS_DENIED, "a valid Date or x-amz-date header is required");
}

static bool is_signed(const struct sigv4_auth *auth, struct span wanted) {
    struct span names = auth->signed_headers, name;
    while (names.size > 0) {
        span_cut(&names, ';', &name);
        if (http1_name_equal(name, wanted))
            return true;
    }
    return false;
}

/* Sorted, lower case, each once; host and all x-amz-* of the request among them. */
static int check_signed_headers(const struct http1_request *request, const struct sigv4_auth *auth,
                                struct err *err) {
    struct span names = auth->signed_headers, name, previous = {0};
    for (; names.size > 0; previous = name) {
        span_cut(&names, ';', &name);
        if (span_compare(previous, name) >= 0)
            return malformed(auth, err, "the signed headers are not in order");
        for (size_t i = 0; i < name.size; i++)
            if (name.data[i] >= 'A' && name.data[i] <= 'Z')
                return malformed(auth, err, "the signed headers are not in lower case");
    }
    if (!is_signed(auth, SPAN_LITERAL("host")))
        return err_set(err, ERR_ACCESS_DENIED, "the host header must be signed");
    for (size_t i = 0; i < request->header_count; i++) {
        struct span header = request->headers[i].name;
        struct span prefix = {header.data, 6};
        if (header.size > 6 && http1_name_equal(prefix, SPAN_LITERAL("x-amz-")) &&
            !is_signed(auth, header))
            return err_set(err, ERR_ACCESS_DENIED, "the header %.*s is not signed",
                           SPAN_ARGS(header));
    }
    return 0;
}

static int parse_payload(const struct http1_request *request, const struct uri *uri,
                         struct sigv4_auth *auth, struct err *err) {
    if (!http1_find(request, "x-amz-content-sha256", &auth->payload_text) &&
        !(auth->is_presigned && uri_find(uri, "X-Amz-Content-Sha256", &auth->payload_text))) {
        if (!auth->is_presigned)
            return err_set(err, ERR_PROTOCOL,
                           "missing required header for this request: x-amz-content-sha256");
        auth->payload_text = SPAN_LITERAL(SIGV4_UNSIGNED);
    }
    for (int kind = SIGV4_PAYLOAD_UNSIGNED; kind <= SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER;
         kind++)
        if (span_is(auth->payload_text, payload_names[kind])) {
            auth->payload = (enum sigv4_payload)kind;
            return 0;
        }
    uint8_t hash[SHA256_SIZE];
    auth->payload = SIGV4_PAYLOAD_SHA256;
    if (!hex_decode(auth->payload_text, hash, sizeof hash))
        return err_set(err, ERR_INVALID,
                       "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a known STREAMING- value or "
                       "a SHA-256 in hexadecimal");
    return 0;
}

int sigv4_parse(const struct http1_request *request, const struct uri *uri, struct arena *arena,
                struct sigv4_auth *ret_auth, struct err *err) {
    struct span header;
    bool has_header = http1_find(request, "authorization", &header);
    struct sigv4_auth auth = {.is_presigned = !has_header};
    if (sigv4_is_anonymous(request, uri))
        return err_set(err, ERR_ACCESS_DENIED, "the request is not signed");
    if (is_version_2(request, uri))
        return err_set(err, ERR_PROTOCOL,
                       "the authorization mechanism is not supported; use " SIGV4_ALGORITHM);
    if (has_header && uri_has(uri, "X-Amz-Signature"))
        return err_set(err, ERR_INVALID, "only one authentication mechanism is allowed");
    int code = has_header ? parse_authorization(header, &auth, err) : parse_query(uri, &auth, err);
    if (code == 0 && has_header)
        code = parse_date_header(request, arena, &auth, err);
    if (code == 0 && memcmp(auth.date.data, auth.time_text.data, auth.date.size) != 0)
        code = malformed(&auth, err, "the date of the credential is not that of the request");
    if (code == 0)
        code = check_signed_headers(request, &auth, err);
    if (code == 0)
        code = parse_payload(request, uri, &auth, err);
    if (code == 0)
        *ret_auth = auth;
    return code;
}
