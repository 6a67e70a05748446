/* The state store as the catalogue sees it, and the applied slot of each group in it. */
#ifndef QUERN_META_STATE_H
#define QUERN_META_STATE_H

#include <stdint.h>

#include "core/catalog.h"
#include "os/kv.h"

/* Both live as long as what they look at. */
struct catalog_kv state_batch_view(struct kv_batch *batch);

struct state_reader { /* read-only, of one moment */
    struct kv *kv;
    struct kv_snapshot *snapshot;
};
struct catalog_kv state_reader_view(struct state_reader *reader);

void state_put_applied(struct kv_batch *batch, uint32_t group, uint64_t slot);
/* 0 when nothing was applied yet. Errors: ERR_CORRUPT, ERR_IO. */
int state_get_applied(struct kv *kv, uint32_t group, uint64_t *ret_slot, struct err *err);

#endif
