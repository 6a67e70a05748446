/* What a task wrote to its stdout: small outputs travel in the result, others become chunks. */
#ifndef QUERN_WORKER_OUTPUT_H
#define QUERN_WORKER_OUTPUT_H

#include "base/arena.h"
#include "store/client.h"
#include "wire/pb.h"

#define OUTPUT_INLINE_MAX ((size_t)16 << 10)

/* Stores what is in the file (from its beginning) and fills inline_output or output, output_bytes
 * and output_crc32c of the result; what they point to is cut from the arena. On failure the chunks
 * that were written are deleted again. */
int output_store(struct store_client *store, int fd, uint64_t deadline_ns, struct arena *arena,
                 Pb__TaskResult *result, struct err *err);

#endif
