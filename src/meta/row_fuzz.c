/* Fuzzes rows of calls and of answers: what is taken off must add up to the same bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "meta/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct span row, struct span rest, const struct buf *again) {
    if (!span_equal((struct span){row.data, row.size - rest.size}, buf_span(again)))
        abort();
}

static void try_calls(struct span row) {
    _cleanup_(buf_finip) struct buf again = BUF_INIT;
    struct meta_call head;
    struct span rest = row, bytes, taken_to = row;
    while (row_next_call(&rest, &head, &bytes) == 0) {
        row_add_call(&again, &head, bytes);
        taken_to = rest;
    }
    check(row, taken_to, &again);
}

static void try_answers(struct span row) {
    _cleanup_(buf_finip) struct buf again = BUF_INIT;
    struct meta_call_answer head;
    struct span rest = row, bytes, taken_to = row;
    while (row_next_answer(&rest, &head, &bytes) == 0) {
        row_add_answer(&again, &head, bytes);
        taken_to = rest;
    }
    check(row, taken_to, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span row = {(const char *)data, size};
    try_calls(row);
    try_answers(row);
    return 0;
}
