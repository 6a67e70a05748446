/* Any bytes as commands and queries of a shard and of the root group: never a crash, always a
 * reply. */
#include "base/assert.h"
#include "core/catalog.h"
#include "core/catalog_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(uint32_t group, struct span bytes) {
    struct catalog_memory *memory = catalog_memory_new();
    struct catalog_kv kv = catalog_memory_kv(memory);
    struct catalog *catalog;
    int rc = catalog_open(group, &kv, &catalog, NULL);
    ASSERT(rc == 0);
    /* Pieces: u16 size, bytes. */
    for (uint64_t slot = 1; bytes.size >= 2; slot++) {
        size_t size = (uint8_t)bytes.data[0] | (size_t)(uint8_t)bytes.data[1] << 8;
        bytes = (struct span){bytes.data + 2, bytes.size - 2};
        struct span piece = {bytes.data, size < bytes.size ? size : bytes.size};
        bytes = (struct span){bytes.data + piece.size, bytes.size - piece.size};
        struct buf reply = BUF_INIT, answer = BUF_INIT;
        rc = catalog_apply(catalog, &kv, slot, &piece, 1, &reply, NULL);
        ASSERT(rc == 0);
        rc = catalog_query(group, &kv, piece, &answer, NULL);
        ASSERT(rc == 0);
        buf_fini(&reply);
        buf_fini(&answer);
    }
    catalog_close(catalog);
    catalog_memory_free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (uint32_t group = 0; group < 2; group++)
        feed(group, (struct span){(const char *)data, size});
    return 0;
}
