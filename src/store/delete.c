/* Deleting chunks of this node: first the tombstones, durable, then the space. */
#include <stdlib.h>

#include "os/clock.h"
#include "store/local.h"

int store_free_item(struct store *store, const struct index_item *item, struct err *err) {
    return volumes_free_chunk(store->volumes, item->entry.volume, item->id, item->entry.offset,
                              index_entry_bytes(&item->entry), err);
}

int store_drop_empty_volumes(struct store *store, struct err *err) {
    for (;;) {
        uint64_t number;
        int rc = volumes_drop_empty(store->volumes, &number, err);
        if (rc != 0 || number == 0)
            return rc;
        rc = index_forget_volume(store->index, number, err);
        if (rc != 0)
            return rc;
    }
}

int local_delete(struct store *store, const struct id128 *ids, unsigned count, struct err *err) {
    if (atomic_load(&store->failed))
        return err_set(err, ERR_IO, "this node's disk has failed");
    if (!index_has_room(store->index))
        return err_set(err, ERR_NOSPACE, "no room to note what is deleted");
    struct index_item *items = calloc(count, sizeof *items);
    if (items == NULL)
        return err_set(err, ERR_NOMEM, "%u chunks to delete", count);
    unsigned dead = 0;
    int rc = index_kill(store->index, ids, count, clock_wall_ms(), items, &dead, err);
    for (unsigned i = 0; rc == 0 && i < dead; i++) {
        rc = store_free_item(store, &items[i], err);
        if (rc == 0)
            rc = index_freed(store->index, &items[i], err);
    }
    free(items);
    if (rc == 0)
        rc = store_drop_empty_volumes(store, err);
    return store_check(store, rc);
}
