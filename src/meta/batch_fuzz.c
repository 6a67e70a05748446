/* Fuzzes the slot value: what decodes must encode to the same bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "meta/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct span commands[BATCH_COMMANDS_MAX];
    struct span value = {(const char *)data, size};
    uint32_t count;
    if (batch_decode(value, commands, &count, NULL) != 0)
        return 0;
    char *again = malloc(size);
    if (again == NULL)
        return 0;
    batch_begin(again, count);
    char *to = again + BATCH_HEAD;
    for (uint32_t i = 0; i < count; i++)
        to = batch_add(to, commands[i]);
    if (!span_equal(value, (struct span){again, (size_t)(to - again)}))
        abort();
    free(again);
    return 0;
}
