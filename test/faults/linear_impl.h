/* What the files of the linearizability checker share. */
#ifndef QUERN_TEST_FAULTS_LINEAR_IMPL_H
#define QUERN_TEST_FAULTS_LINEAR_IMPL_H

#include <stdbool.h>

#include "faults/linear.h"

/* ---- the model: linear_model.c ---- */

/* Whether op, with its outcome, fits a register that holds state; *ret_state is what it holds then.
 */
bool linear_fits(const struct linear_op *op, uint64_t state, uint64_t *ret_state);

/* It writes whatever is there. */
static inline bool linear_is_blind(const struct linear_op *op) {
    return op->kind == LINEAR_PUT || op->kind == LINEAR_DELETE;
}

static inline bool linear_changes_nothing(const struct linear_op *op) {
    return op->kind == LINEAR_READ || op->outcome == LINEAR_REFUSED ||
           op->outcome == LINEAR_MISSING;
}

/* What is known of an operation beforehand. */
struct linear_role {
    uint32_t written;  /* index of the value; 0 = absent */
    uint32_t wanted;   /* of the value that must be there, when there must be one; else 0 */
    bool is_anonymous; /* an unknown blind write of what no other operation names */
};

/* Fills roles[count], and needed[2 * count + 1] (zeroed before) with the number of operations that
 * want the value of an index. False when a value is written twice, or memory ran out. */
bool linear_find_roles(const struct linear_op *ops, size_t count, struct linear_role *ret_roles,
                       uint32_t *ret_needed);

/* ---- the cache: linear_cache.c ---- */

/* A set of keys of `width` words; the last word of a key is never 0. Zeroed, with width and
 * room_max set, it is empty. */
struct linear_cache {
    uint64_t *table;
    size_t width;
    size_t room, used, room_max; /* keys */
};

enum linear_seen { LINEAR_NEW, LINEAR_BEFORE, LINEAR_NO_ROOM };

enum linear_seen linear_cache_add(struct linear_cache *cache, const uint64_t *key);
void linear_cache_fini(struct linear_cache *cache);

#endif
