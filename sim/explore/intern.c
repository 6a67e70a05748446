/* Equal bytes get equal numbers: 0, 1, 2, ... */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "sim/explore/explore.h"

static void *grown(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (memory == NULL)
        panic("out of memory");
    return memory;
}

static void table_add(struct intern *intern, uint32_t number) {
    struct span bytes = intern_get(intern, number);
    uint64_t at = XXH3_64bits(bytes.data, bytes.size);
    while (intern->table[at & (intern->table_room - 1)] != 0)
        at++;
    intern->table[at & (intern->table_room - 1)] = number + 1;
}

static void table_grow(struct intern *intern) {
    free(intern->table);
    intern->table_room = intern->table_room > 0 ? intern->table_room * 2 : 1024;
    intern->table = calloc(intern->table_room, sizeof *intern->table);
    if (intern->table == NULL)
        panic("out of memory");
    for (uint32_t i = 0; i < intern->count; i++)
        table_add(intern, i);
}

static void append(struct intern *intern, struct span bytes) {
    if (intern->count + 1 >= intern->room) {
        intern->room = intern->room > 0 ? intern->room * 2 : 1024;
        intern->offsets = grown(intern->offsets, intern->room * sizeof *intern->offsets);
    }
    while (intern->bytes_used + bytes.size > intern->bytes_room) {
        intern->bytes_room = intern->bytes_room > 0 ? intern->bytes_room * 2 : 1 << 20;
        intern->bytes = grown(intern->bytes, intern->bytes_room);
    }
    memcpy(intern->bytes + intern->bytes_used, bytes.data, bytes.size);
    intern->offsets[intern->count] = intern->bytes_used;
    intern->bytes_used += bytes.size;
    intern->offsets[++intern->count] = intern->bytes_used;
}

struct span intern_get(const struct intern *intern, uint32_t number) {
    uint64_t from = intern->offsets[number];
    return (struct span){intern->bytes + from, intern->offsets[number + 1] - from};
}

uint32_t intern_put(struct intern *intern, struct span bytes, bool *ret_new) {
    if (intern->count * 2ull >= intern->table_room)
        table_grow(intern);
    uint64_t at = XXH3_64bits(bytes.data, bytes.size);
    uint32_t found;
    for (; (found = intern->table[at & (intern->table_room - 1)]) != 0; at++)
        if (span_equal(intern_get(intern, found - 1), bytes))
            break;
    if (ret_new != NULL)
        *ret_new = found == 0;
    if (found != 0)
        return found - 1;
    append(intern, bytes);
    intern->table[at & (intern->table_room - 1)] = intern->count;
    return intern->count - 1;
}
