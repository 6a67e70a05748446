/* Every two weeks each chunk on this node's disk is read. A copy that has rotted is taken for bad,
 * as by any reader, and fetched again from another node (store/repair.h). */
#ifndef QUERN_STORE_SCRUB_H
#define QUERN_STORE_SCRUB_H

struct store;
struct chunk_scrub;

struct chunk_scrub *scrub_chunks_start(struct store *store);
struct chunk_scrub *scrub_chunks_stop(struct chunk_scrub *scrub); /* NULL is fine */

#endif
