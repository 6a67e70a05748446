/* Repair: a thread that fetches what this node should hold and does not, or holds badly, from the
 * other owners. */
#ifndef QUERN_STORE_REPAIR_H
#define QUERN_STORE_REPAIR_H

#include "store/local.h"

int repair_start(struct store *store, struct repair **ret_repair, struct err *err);
struct repair *repair_stop(struct repair *repair); /* NULL is fine */
void repair_wake(struct repair *repair); /* something is to be done at once; NULL is fine */
void repair_counts(struct repair *repair, uint64_t *ret_missing, uint64_t *ret_repaired);

#endif
