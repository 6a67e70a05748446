/* Room on the disk, and what is kept of it, so that a node whose disk is full can still delete,
 * flush and start (PAXOS.md 2.14). Any thread. */
#ifndef QUERN_OS_SPACE_H
#define QUERN_OS_SPACE_H

#include <stdint.h>
#include <stdnoreturn.h>

#include "base/err.h"

/* Of free bytes, from above: below the first what users write is refused; below the second state
 * stores are not compacted, which needs room before it gives any; below the third the ballast goes;
 * below the last nothing is voted for, and the log grows no more. What the ballast leaves is LOW:
 * deletions go on. */
#define SPACE_LOW_BYTES ((uint64_t)192 << 20)
#define SPACE_COMPACT_BYTES ((uint64_t)128 << 20)
#define SPACE_RELEASE_BYTES ((uint64_t)48 << 20)
#define SPACE_NONE_BYTES ((uint64_t)32 << 20)
#define SPACE_BALLAST_BYTES ((uint64_t)64 << 20)
/* Before an error that ends the process. */
#define SPACE_ADVICE "this node can be started again once there is room"

/* Of the file system that holds path. */
int space_get(const char *path, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes,
              struct err *err);

/* Keeps a file of SPACE_BALLAST_BYTES at path while there is room, and removes it when others have
 * filled the disk: what is to be flushed goes there. */
int space_keep_ballast(const char *path, uint64_t free_bytes, struct err *err);
/* Before something that must not lack room: removes the ballast if it is needed. Best effort; NULL
 * and a ballast that is gone are fine. */
void space_make_room(const char *ballast);

/* Ends the process because of err, which what met, in one line: one that came of want of room is
 * not for good. */
noreturn void space_panic(const struct err *err, const char *what);

/* A library that meets a full disk may abort in words of its own (an assertion): from now on the
 * advice comes last whenever the process is aborted and the file system last asked for was LOW. */
void space_explain_abort(void);

#endif
