/* Scratch space: a task's directory, emptied when the task has ended; a worker's files without
 * names. */
#ifndef QUERN_WORKER_SCRATCH_H
#define QUERN_WORKER_SCRATCH_H

#include "base/err.h"

/* Removes all that is in the directory, however deep and whatever its modes, with bounded memory.
 * Nothing may be writing in it. The descriptor stays open. */
int scratch_clear(int dir_fd, struct err *err);

/* The folder, in a worker's own, of the files that tasks are given. */
#define SCRATCH_FILES "files"

/* A file without a name, on the disk of the directory, for whoever has its descriptor; it goes with
 * that. */
int scratch_file(const char *dir, int *ret_fd, struct err *err);

#endif
