/* Fuzzes the way of a request through head, URI and signature; and the dates. */
#include <stdint.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "wire/sigv4.h"

static void fuzz_times(struct span text) {
    int64_t time, back;
    char http[TIME_HTTP_SIZE], iso[TIME_ISO8601_SIZE], basic[TIME_BASIC_SIZE];
    if (time_parse_http(text, &time))
        ASSERT(time_parse_http(span_of(time_print_http(time, http)), &back) && back == time);
    if (time_parse_basic(text, &time))
        ASSERT(time_parse_basic(span_of(time_print_basic(time, basic)), &back) && back == time);
    if (time_parse_iso8601(text, &time))
        ASSERT(time_parse_iso8601(span_of(time_print_iso8601(time, iso)), &back) && back == time);
}

static void fuzz_signature(const struct http1_request *request, const struct uri *uri,
                           struct arena *arena) {
    static const uint8_t key[SHA256_SIZE] = {1};
    struct sigv4_auth auth;
    struct sigv4_chain chain;
    if (sigv4_parse(request, uri, arena, &auth, NULL) != 0)
        return;
    ASSERT(auth.signature.size == SIGV4_SIGNATURE_SIZE - 1 && auth.date.size == 8);
    sigv4_check_time(&auth, 1369353600, NULL);
    int code = sigv4_verify(&auth, request, uri, key, NULL);
    ASSERT(code == ERR_SIGNATURE_MISMATCH || code == ERR_LIMIT);
    sigv4_chain_init(&chain, &auth, key, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_(arena_finip) struct arena arena;
    struct span bytes = {(const char *)data, size};
    struct http1_request request;
    struct uri uri;
    size_t head = 0;
    arena_init(&arena, 1 << 20);
    fuzz_times(bytes);
    if (http1_parse(bytes, &request, &head, NULL) == 0 && head > 0 &&
        uri_parse(request.target, &arena, &uri, NULL) == 0)
        fuzz_signature(&request, &uri, &arena);
    return 0;
}
