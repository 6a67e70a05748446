/* Fuzzer: any bytes are a message, a record or an error, and what decodes encodes to the same
 * bytes. */
#include <stdlib.h>

#include "base/assert.h"
#include "core/paxos.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct buf *buf, const uint8_t *data, size_t size) {
    ASSERT(!buf->failed && buf->size == size && memcmp(buf->data, data, size) == 0);
    buf_fini(buf);
}

/* A newer version's message has fields that we do not know, and encode to nothing. */
static void fuzz_message(struct span bytes) {
    struct buf first = BUF_INIT, second = BUF_INIT;
    struct paxos_message *message;
    if (paxos_message_decode(bytes, &message, NULL) != 0)
        return;
    size_t size = paxos_message_size(message);
    paxos_message_encode(message, &first);
    paxos_message_free(message);
    ASSERT(first.size == size);
    ASSERT(paxos_message_decode(buf_span(&first), &message, NULL) == 0);
    paxos_message_encode(message, &second);
    paxos_message_free(message);
    check_same(&first, (const uint8_t *)second.data, second.size);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span bytes = {(const char *)data, size};
    struct buf buf = BUF_INIT;
    fuzz_message(bytes);
    struct paxos_record record;
    if (paxos_record_decode(bytes, &record, NULL) == 0) {
        paxos_record_encode(&record, &buf);
        paxos_value_unref(record.value);
        check_same(&buf, data, size);
    }
    return 0;
}
