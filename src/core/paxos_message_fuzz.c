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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span bytes = {(const char *)data, size};
    struct buf buf = BUF_INIT;
    struct paxos_message *message;
    if (paxos_message_decode(bytes, &message, NULL) == 0) {
        ASSERT(paxos_message_size(message) == size);
        paxos_message_encode(message, &buf);
        paxos_message_free(message);
        buf_fini(&buf);
    }
    struct paxos_record record;
    if (paxos_record_decode(bytes, &record, NULL) == 0) {
        paxos_record_encode(&record, &buf);
        paxos_value_unref(record.value);
        check_same(&buf, data, size);
    }
    return 0;
}
