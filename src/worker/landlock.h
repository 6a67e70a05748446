/* Landlock: what of the file system a process and its children may touch. */
#ifndef QUERN_WORKER_LANDLOCK_H
#define QUERN_WORKER_LANDLOCK_H

#include "base/err.h"

/* The kernel's version of Landlock, 0 when it has none. */
int landlock_abi(void);

/* From here on this process and its children may read and execute below the system's directories,
 * read /proc, use a few devices, write below scratch, open again what they were given of files_fd
 * (a directory), and nothing else. A system directory above hidden (may be NULL) is left out. Needs
 * no_new_privs. */
int landlock_confine(const char *scratch, int files_fd, const char *hidden, struct err *err);

/* The directories of the system that tasks may read; ends with NULL. */
extern const char *const system_directories[];
/* Whether directory is path or above it. */
_Bool path_is_below(const char *path, const char *directory);

#endif
