/* Writing a chunk. Its first KEPT_BYTES_MAX bytes are kept, and nothing is sent, until there are
 * more or the chunk ends: so a small chunk is sent with its length known, and if a majority of
 * holders is lost it is sent again under another id, without a word to the caller. */
#include <stdlib.h>

#include "base/crc.h"
#include "store/fanout.h"

#define KEPT_BYTES_MAX (((size_t)1 << 20) - 1) /* with its NUL a buffer of 1 MiB */
#define TRIES_MAX 8
#define TRY_AGAIN_MS 100 /* waited when too many holders are down */

struct store_write {
    struct store_client *client;
    uint64_t length_max;
    uint64_t length;
    uint32_t crc32c;
    char last_byte;
    bool open; /* what comes is sent at once, and not kept */
    struct buf kept;
    struct fanout fanout;
};

static int send_kept(struct store_write *write, uint64_t length_max, bool end, uint64_t deadline_ns,
                     struct err *err) {
    int rc = fanout_open(&write->fanout, write->client, length_max, deadline_ns, err);
    if (rc == 0)
        rc = fanout_send(&write->fanout, write->kept.data, write->kept.size, deadline_ns, err);
    if (rc == 0 && end)
        rc = fanout_end(&write->fanout, write->length, write->crc32c, deadline_ns, err);
    if (rc != 0)
        fanout_close(&write->fanout);
    return rc;
}

/* Under one id after the other, until it succeeds. */
static int try_kept(struct store_write *write, uint64_t length_max, bool end, uint64_t deadline_ns,
                    struct err *err) {
    struct err why = {0};
    int rc = 0;
    for (unsigned try = 0; try < TRIES_MAX; try++) {
        rc = send_kept(write, length_max, end, deadline_ns, &why);
        if (rc == 0 || rc == ERR_LIMIT || clock_now_ns() >= deadline_ns)
            break;
        if (rc == ERR_BUSY)
            clock_sleep_until(deadline_within(deadline_ns, TRY_AGAIN_MS));
        if (rc == ERR_STALE)
            place_map_unref(
                meta_map_refresh(write->client->meta, write->fanout.epoch, deadline_ns));
    }
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_message(&why, rc));
}

static struct store_write *write_free(struct store_write *write) {
    fanout_close(&write->fanout);
    buf_fini(&write->kept);
    free(write);
    return NULL;
}

int store_write_begin(struct store_client *client, uint64_t length_max, uint64_t deadline_ns,
                      struct store_write **ret_write, struct err *err) {
    if (length_max > CHUNK_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a chunk has at most %llu bytes",
                       (unsigned long long)CHUNK_BYTES_MAX);
    struct store_write *write = calloc(1, sizeof *write);
    if (write == NULL)
        return err_set(err, ERR_NOMEM, "chunk write");
    write->client = client;
    write->length_max = length_max;
    write->kept.limit = KEPT_BYTES_MAX;
    *ret_write = write;
    return 0;
}

int store_write_append(struct store_write *write, const void *data, size_t size,
                       uint64_t deadline_ns, struct err *err) {
    if (size > write->length_max - write->length)
        return err_set(err, ERR_LIMIT, "more than the %llu bytes that were announced",
                       (unsigned long long)write->length_max);
    if (size == 0)
        return 0;
    if (!write->open && write->length + size > KEPT_BYTES_MAX) {
        int rc = try_kept(write, write->length_max, false, deadline_ns, err);
        if (rc != 0)
            return rc;
        write->open = true;
        buf_fini(&write->kept);
    }
    write->length += size;
    write->crc32c = crc32c_update(write->crc32c, data, size);
    write->last_byte = ((const char *)data)[size - 1];
    if (write->open)
        return fanout_send(&write->fanout, data, size, deadline_ns, err);
    buf_append(&write->kept, data, size);
    return write->kept.failed ? err_set(err, ERR_NOMEM, "the start of a chunk") : 0;
}

int store_write_end(struct store_write *write, uint64_t deadline_ns, struct chunk_ref *ret_chunk,
                    struct err *err) {
    int rc = write->open
                 ? fanout_end(&write->fanout, write->length, write->crc32c, deadline_ns, err)
                 : try_kept(write, write->length, true, deadline_ns, err);
    if (rc == 0)
        *ret_chunk = (struct chunk_ref){.id = write->fanout.id,
                                        .length = write->length,
                                        .crc32c = write->crc32c,
                                        .ends_line = write->last_byte == '\n'};
    write_free(write);
    return rc;
}

struct store_write *store_write_abort(struct store_write *write) {
    return write != NULL ? write_free(write) : NULL;
}
