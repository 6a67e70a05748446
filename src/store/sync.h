/* One sync for all that wait for the same file: whoever comes first syncs for everybody who came
 * until then. A failed sync is for good: every later wait fails. Any thread. */
#ifndef QUERN_STORE_SYNC_H
#define QUERN_STORE_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sync_group {
    int fd;              /* not owned */
    int (*sync)(int fd); /* fdatasync, or fsync for a directory */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t asked;  /* tickets given */
    uint64_t synced; /* tickets up to here are on the disk */
    bool running;
    int failed_errno;
};

void sync_group_init(struct sync_group *group, int fd, int (*sync)(int fd));
void sync_group_fini(struct sync_group *group); /* nobody waits any more */

/* What the caller wrote before is on the disk when it returns 0. ERR_IO, and ERR_NOSPACE on a disk
 * that finds out late; either way what was written since the last sync may be lost. Blocks. */
int sync_group_wait(struct sync_group *group, struct err *err);

#endif
