/* Which commands are refused when the disks are full. */
#include "core/catalog_impl.h"

#define ARENA_BYTES ((size_t)16 << 20)

static bool grows(Pb__Command__OpCase op) {
    switch (op) {
    case PB__COMMAND__OP_PUT_OBJECT:
    case PB__COMMAND__OP_CREATE_UPLOAD:
    case PB__COMMAND__OP_PUT_PART:
    case PB__COMMAND__OP_COMPLETE_UPLOAD:
    case PB__COMMAND__OP_CREATE_BUCKET:
    case PB__COMMAND__OP_SUBMIT_JOB:
        return true;
    default:
        return false;
    }
}

bool catalog_grows(struct span command) {
    struct arena arena;
    Pb__Command *read;
    arena_init(&arena, ARENA_BYTES);
    bool is = pb_unpack(&pb__command__descriptor, command, &arena, &read, NULL) == 0 &&
              grows(read->op_case);
    arena_fini(&arena);
    return is;
}
