/* Commands of one slot as bytes. */
#include "meta/batch.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "numbers are written as they lie in memory");

void batch_begin(char *data, uint32_t count) {
    memcpy(data, &count, BATCH_HEAD);
}

char *batch_add(char *to, struct span command) {
    uint32_t size = (uint32_t)command.size;
    memcpy(to, &size, BATCH_COMMAND_HEAD);
    memcpy(to + BATCH_COMMAND_HEAD, command.data, command.size);
    return to + BATCH_COMMAND_HEAD + command.size;
}

int batch_decode(struct span value, struct span ret_commands[BATCH_COMMANDS_MAX],
                 uint32_t *ret_count, struct err *err) {
    uint32_t count, size;
    if (value.size < BATCH_HEAD)
        return err_set(err, ERR_CORRUPT, "a slot's value of %zu bytes", value.size);
    memcpy(&count, value.data, BATCH_HEAD);
    if (count > BATCH_COMMANDS_MAX)
        return err_set(err, ERR_CORRUPT, "a slot's value with %u commands", count);
    size_t at = BATCH_HEAD;
    for (uint32_t i = 0; i < count; i++) {
        if (value.size - at < BATCH_COMMAND_HEAD)
            return err_set(err, ERR_CORRUPT, "a slot's value is cut off");
        memcpy(&size, value.data + at, BATCH_COMMAND_HEAD);
        at += BATCH_COMMAND_HEAD;
        if (size > value.size - at)
            return err_set(err, ERR_CORRUPT, "a slot's value is cut off");
        ret_commands[i] = (struct span){value.data + at, size};
        at += size;
    }
    if (at != value.size)
        return err_set(err, ERR_CORRUPT, "a slot's value has bytes left over");
    *ret_count = count;
    return 0;
}
