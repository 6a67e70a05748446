/* The model of a register, and what is known of operations before they are ordered. */
#include <stdlib.h>

#include "faults/linear_impl.h"

bool linear_fits(const struct linear_op *op, uint64_t state, uint64_t *ret_state) {
    bool matches = state == op->expected && state != LINEAR_ABSENT;
    bool holds = true;
    uint64_t after = op->value;
    switch (op->kind) {
    case LINEAR_READ:
        *ret_state = state;
        return op->outcome == LINEAR_DONE && state == op->value;
    case LINEAR_PUT:
        break;
    case LINEAR_PUT_IF_MATCH:
        holds = matches;
        break;
    case LINEAR_PUT_IF_ABSENT:
        holds = state == LINEAR_ABSENT;
        break;
    case LINEAR_DELETE:
        after = LINEAR_ABSENT;
        break;
    case LINEAR_DELETE_IF_MATCH:
        holds = matches;
        after = LINEAR_ABSENT;
        break;
    }
    *ret_state = holds ? after : state;
    switch (op->outcome) {
    case LINEAR_REFUSED:
        return !holds && state != LINEAR_ABSENT;
    case LINEAR_MISSING:
        return !holds && state == LINEAR_ABSENT;
    default:
        return holds;
    }
}

/* ---- roles ---- */

/* Which value must be there for op to be answered as it was; absence is not unique and not counted.
 */
static uint64_t wanted_value(const struct linear_op *op) {
    if (op->outcome != LINEAR_DONE)
        return LINEAR_ABSENT;
    if (op->kind == LINEAR_READ)
        return op->value;
    return op->kind == LINEAR_PUT_IF_MATCH || op->kind == LINEAR_DELETE_IF_MATCH ? op->expected
                                                                                 : LINEAR_ABSENT;
}

static bool writes_value(const struct linear_op *op) {
    return op->kind == LINEAR_PUT || op->kind == LINEAR_PUT_IF_MATCH ||
           op->kind == LINEAR_PUT_IF_ABSENT;
}

static int compare_values(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* From 1; 0 for what is not among the sorted values. Equal ones have the index of the first. */
static uint32_t index_of(const uint64_t *values, size_t count, uint64_t value) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (values[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return value != LINEAR_ABSENT && low < count && values[low] == value ? (uint32_t)low + 1 : 0;
}

struct roles {
    const struct linear_op *ops;
    size_t count;
    struct linear_role *rows;
    uint32_t *needed;
};

/* False when a value is written twice. */
static bool assign_roles(struct roles *roles, const uint64_t *values, size_t value_count,
                         uint32_t *mentions, bool *is_written) {
    for (size_t i = 0; i < roles->count; i++) {
        const struct linear_op *op = &roles->ops[i];
        struct linear_role *role = &roles->rows[i];
        role->written = writes_value(op) ? index_of(values, value_count, op->value) : 0;
        if (role->written != 0 && is_written[role->written])
            return false;
        is_written[role->written] = true;
        role->wanted = index_of(values, value_count, wanted_value(op));
        roles->needed[role->wanted]++;
        mentions[index_of(values, value_count, op->value)]++;
        mentions[index_of(values, value_count, op->expected)]++;
    }
    for (size_t i = 0; i < roles->count; i++)
        roles->rows[i].is_anonymous =
            roles->ops[i].outcome == LINEAR_UNKNOWN &&
            (roles->ops[i].kind == LINEAR_DELETE ||
             (roles->ops[i].kind == LINEAR_PUT && mentions[roles->rows[i].written] == 1));
    return true;
}

bool linear_find_roles(const struct linear_op *ops, size_t count, struct linear_role *ret_roles,
                       uint32_t *ret_needed) {
    struct roles roles = {ops, count, ret_roles, ret_needed};
    uint64_t *values = malloc((2 * count + 1) * sizeof *values);
    uint32_t *mentions = calloc(2 * count + 1, sizeof *mentions);
    bool *is_written = calloc(2 * count + 1, sizeof *is_written);
    bool is_made = values != NULL && mentions != NULL && is_written != NULL;
    for (size_t i = 0; i < count && is_made; i++) {
        values[2 * i] = ops[i].value;
        values[2 * i + 1] = ops[i].expected;
    }
    if (is_made) {
        qsort(values, 2 * count, sizeof *values, compare_values);
        is_made = assign_roles(&roles, values, 2 * count, mentions, is_written);
    }
    free(values);
    free(mentions);
    free(is_written);
    return is_made;
}
