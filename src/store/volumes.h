/* What the files of the volumes share: the set, and the making of one volume. */
#ifndef QUERN_STORE_VOLUMES_H
#define QUERN_STORE_VOLUMES_H

#include "store/volume.h"

struct volumes {
    char *dir;
    int dir_fd;
    struct sync_group dir_sync;
    struct id128 incarnation;
    pthread_mutex_t lock;
    struct volume **shared; /* by number */
    unsigned count;
    unsigned room;
    unsigned to_note;      /* sealed and not yet noted */
    struct volume *active; /* the one that takes new chunks, or NULL */
};

/* The table. Under the lock, or at start; insert takes the reference. */
struct volume *volumes_find(const struct volumes *set, uint64_t number);
int volumes_insert(struct volumes *set, struct volume *volume, struct err *err);

/* The folder's entries are on the disk. A failure is final for the set, also for want of room:
 * which of them are lost is not known. */
int volumes_sync_names(struct volumes *set, struct err *err);

/* A new file with its header; not yet durable. ERR_EXISTS when there is one. */
int volume_create(struct volumes *set, const char *name, uint64_t number, struct id128 chunk_id,
                  struct volume **ret_volume, struct err *err);
int volume_open(struct volumes *set, const char *name, int access_mode, struct volume **ret_volume,
                struct err *err);

void volume_name_shared(uint64_t number, char name[VOLUME_NAME_SIZE]);
void volume_name_own(struct id128 chunk_id, const char *suffix, char name[VOLUME_NAME_SIZE]);

#endif
