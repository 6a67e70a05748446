/* Chunks as others see them: write one to its holders, read one from the best of them. Any thread;
 * blocks.
 *
 * The writer sends each block to all holders itself, so that the loss of one, even of the primary,
 * never breaks an upload; a chunk is acknowledged when it is durable on a majority of its holders.
 */
#ifndef QUERN_STORE_CLIENT_H
#define QUERN_STORE_CLIENT_H

#include "base/err.h"
#include "base/id.h"

#define CHUNK_BYTES_MAX ((uint64_t)64 << 20)
#define CHUNK_BLOCK_BYTES ((size_t)64 << 10) /* the unit of checksums */

struct chunk_ref {
    struct id128 id;
    uint64_t length;
    uint32_t crc32c;
    bool ends_line; /* its last byte is a newline */
};

struct store; /* this node's: store/store.h */
struct store_client;
struct store_write;
struct meta_client;
struct rpc_client;

/* local may be NULL (a node without the store role). */
struct store_client *store_client_new(struct store *local, uint32_t self, struct meta_client *meta,
                                      struct rpc_client *rpc);
struct store_client *store_client_free(struct store_client *client);

/* Begins a chunk of at most length_max bytes. It gets a fresh random id, on a slice of which a
 * majority of holders can be reached (an id that falls elsewhere is thrown away for another), when
 * its first MiB is full or it ends: until then the bytes are kept, and sent again under another id
 * when holders fail. */
int store_write_begin(struct store_client *client, uint64_t length_max, uint64_t deadline_ns,
                      struct store_write **ret_write, struct err *err);
/* Any size; the bytes are on their way when it returns. Fails only when a majority is lost. */
int store_write_append(struct store_write *write, const void *data, size_t size,
                       uint64_t deadline_ns, struct err *err);
/* Durable on a majority when it returns 0. Frees the write either way. */
int store_write_end(struct store_write *write, uint64_t deadline_ns, struct chunk_ref *ret_chunk,
                    struct err *err);
/* Forgets it: the holders drop what they have. NULL is fine. */
struct store_write *store_write_abort(struct store_write *write);

/* Receives bytes in order; the data is verified and only lent for the call. Not 0 ends the read
 * with that code. */
typedef int store_sink(void *context, const void *data, size_t size);

/* Reads [offset, offset + length) of the chunk; falls over to another holder in mid-stream. A wrong
 * byte is never given. */
int store_read(struct store_client *client, const struct chunk_ref *chunk, uint64_t offset,
               uint64_t length, store_sink *sink, void *context, uint64_t deadline_ns,
               struct err *err);

/* A descriptor of the chunk's own on this node, positioned at its first byte and ending with its
 * last, after its checksums were verified; ERR_NOT_FOUND when this node has no copy that can be had
 * so. The caller closes it. */
int store_open_local(struct store_client *client, struct id128 chunk_id, int *ret_fd,
                     struct err *err);

/* Removes chunks from their holders, best effort: a holder that is down learns it when it returns.
 */
int store_delete(struct store_client *client, const struct id128 *chunk_ids, unsigned count,
                 uint64_t deadline_ns, struct err *err);

/* Whether the disk of any holder that tells is short of room: garbage should go before its time. */
bool store_is_short(struct store_client *client, uint64_t deadline_ns);

#endif
