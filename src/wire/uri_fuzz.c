/* Fuzzes request targets: a decoded path, encoded again, parses to itself. */
#include <stdint.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "wire/uri.h"
#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_(arena_finip) struct arena arena;
    _cleanup_(buf_finip) struct buf target = BUF_INIT, again = BUF_INIT;
    struct uri uri, back;
    arena_init(&arena, 1 << 20);
    utf8_is_valid((struct span){(const char *)data, size});
    if (uri_parse((struct span){(const char *)data, size}, &arena, &uri, NULL) != 0 ||
        span_is(uri.path, "*"))
        return 0;
    uri_encode(&target, uri.path, true /* keep slashes */);
    buf_putc(&target, '?');
    int code = uri_print_canonical_query(&uri, NULL, &target, NULL);
    ASSERT(code == 0);
    code = uri_parse(buf_span(&target), &arena, &back, NULL);
    ASSERT(code == 0 || code == ERR_LIMIT);
    if (code != 0)
        return 0;
    ASSERT(span_equal(uri.path, back.path) && span_equal(uri.bucket, back.bucket) &&
           span_equal(uri.key, back.key));
    ASSERT(uri.param_count == back.param_count);
    uri_encode(&again, back.path, true /* keep slashes */);
    buf_putc(&again, '?');
    code = uri_print_canonical_query(&back, NULL, &again, NULL);
    ASSERT(code == 0 && span_equal(buf_span(&target), buf_span(&again)));
    return 0;
}
