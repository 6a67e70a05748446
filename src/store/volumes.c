/* The set of volume files of a store: which there are, and where the next chunk goes. */
#include "store/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/space.h"

/* Where the volume with that number is, or would be. Under the lock. */
static unsigned position_of(const struct volumes *set, uint64_t number) {
    unsigned low = 0, high = set->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (set->shared[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct volume *volumes_find(const struct volumes *set, uint64_t number) {
    unsigned position = position_of(set, number);
    return position < set->count && set->shared[position]->number == number ? set->shared[position]
                                                                            : NULL;
}

int volumes_insert(struct volumes *set, struct volume *volume, struct err *err) {
    if (set->count == set->room) {
        unsigned room = set->room > 0 ? 2 * set->room : 16;
        struct volume **shared = realloc(set->shared, room * sizeof *shared);
        if (shared == NULL)
            return err_set(err, ERR_NOMEM, "%u volumes", room);
        set->shared = shared;
        set->room = room;
    }
    unsigned position = position_of(set, volume->number);
    memmove(set->shared + position + 1, set->shared + position,
            (set->count - position) * sizeof *set->shared);
    set->shared[position] = volume;
    set->count++;
    return 0;
}

static void remove_from(struct volumes *set, const struct volume *volume) {
    unsigned position = position_of(set, volume->number);
    ASSERT(position < set->count && set->shared[position] == volume);
    set->count--;
    memmove(set->shared + position, set->shared + position + 1,
            (set->count - position) * sizeof *set->shared);
}

/* Under the lock. */
static void seal(struct volumes *set, struct volume *volume) {
    volume->sealed = true;
    set->to_note++;
    if (set->active == volume)
        set->active = NULL;
}

void volume_give_up(struct volume *volume) {
    pthread_mutex_lock(&volume->set->lock);
    if (volume->number != 0 && !volume->sealed)
        seal(volume->set, volume);
    pthread_mutex_unlock(&volume->set->lock);
}

int volumes_sync_names(struct volumes *set, struct err *err) {
    int rc = sync_group_wait(&set->dir_sync, err);
    return rc == ERR_NOSPACE ? err_set(err, ERR_IO, "no room for the names of volumes") : rc;
}

/* A new shared volume, durable before the first chunk in it. Under the lock: once in a GiB. */
static int start_volume(struct volumes *set, struct err *err) {
    uint64_t number = clock_wall_ms();
    if (set->count > 0 && number <= set->shared[set->count - 1]->number)
        number = set->shared[set->count - 1]->number + 1;
    char name[VOLUME_NAME_SIZE];
    volume_name_shared(number, name);
    struct volume *volume;
    int rc = volume_create(set, name, number, (struct id128){0}, &volume, err);
    if (rc != 0)
        return rc;
    rc = sync_group_wait(&volume->sync, err);
    if (rc == 0)
        rc = volumes_sync_names(set, err);
    if (rc == 0)
        rc = volumes_insert(set, volume, err);
    if (rc != 0) {
        unlinkat(set->dir_fd, name, 0);
        volume_unref(volume);
        return rc;
    }
    set->active = volume;
    return 0;
}

int volumes_reserve(struct volumes *set, uint64_t bytes, struct volume **ret_volume,
                    uint64_t *ret_offset, struct err *err) {
    ASSERT(bytes > 0 && bytes % VOLUME_ALIGN == 0 && bytes < VOLUME_BYTES_MAX / 2);
    int rc = 0;
    pthread_mutex_lock(&set->lock);
    if (set->active != NULL && set->active->end + bytes > VOLUME_BYTES_MAX)
        seal(set, set->active);
    if (set->active == NULL)
        rc = start_volume(set, err);
    if (rc == 0) {
        struct volume *volume = set->active;
        atomic_fetch_add(&volume->refs, 1);
        volume->writers++;
        volume->live++;
        *ret_offset = volume->end;
        volume->end += bytes;
        *ret_volume = volume;
    }
    pthread_mutex_unlock(&set->lock);
    return rc;
}

int volumes_create_own(struct volumes *set, struct id128 chunk_id, struct volume **ret_volume,
                       struct err *err) {
    char name[VOLUME_NAME_SIZE];
    volume_name_own(chunk_id, "new", name);
    return volume_create(set, name, 0, chunk_id, ret_volume, err);
}

void volume_end_region(struct volume *volume, uint64_t offset, uint64_t bytes, uint64_t used) {
    ASSERT(used <= bytes && volume->number != 0);
    struct volumes *set = volume->set;
    if (used == 0)
        volume_punch(volume, offset, bytes);
    pthread_mutex_lock(&set->lock);
    ASSERT(volume->writers > 0 && (used > 0 || volume->live > 0));
    volume->writers--;
    volume->live -= used == 0;
    if (volume->end == offset + bytes)
        volume->end = offset + used;
    pthread_mutex_unlock(&set->lock);
}

int volumes_get(struct volumes *set, uint64_t number, struct id128 chunk_id,
                struct volume **ret_volume, struct err *err) {
    char name[VOLUME_NAME_SIZE];
    if (number == 0) {
        volume_name_own(chunk_id, "chunk", name);
        return volume_open(set, name, O_RDONLY, ret_volume, err); /* tasks are given it */
    }
    pthread_mutex_lock(&set->lock);
    struct volume *volume = volumes_find(set, number);
    if (volume != NULL)
        atomic_fetch_add(&volume->refs, 1);
    pthread_mutex_unlock(&set->lock);
    if (volume == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no such volume");
    *ret_volume = volume;
    return 0;
}

int volumes_free_chunk(struct volumes *set, uint64_t number, struct id128 chunk_id, uint64_t offset,
                       uint64_t bytes, struct err *err) {
    char name[VOLUME_NAME_SIZE];
    if (number == 0) {
        volume_name_own(chunk_id, "chunk", name);
        return unlinkat(set->dir_fd, name, 0) == 0 || errno == ENOENT
                   ? 0
                   : err_errno(err, errno, "remove %s", name);
    }
    struct volume *volume;
    if (volumes_get(set, number, chunk_id, &volume, NULL) != 0)
        return 0; /* gone with its volume */
    volume_punch(volume, offset, bytes);
    pthread_mutex_lock(&set->lock);
    ASSERT(volume->live > 0);
    volume->live--;
    pthread_mutex_unlock(&set->lock);
    volume_unref(volume);
    return 0;
}

/* Out of the table, with its reference. */
static struct volume *take_empty(struct volumes *set) {
    struct volume *empty = NULL;
    pthread_mutex_lock(&set->lock);
    for (unsigned i = 0; empty == NULL && i < set->count; i++) {
        struct volume *volume = set->shared[i];
        if (volume->sealed && volume->live == 0 && volume->writers == 0)
            empty = volume;
    }
    if (empty != NULL) {
        set->to_note -= !empty->noted;
        remove_from(set, empty);
    }
    pthread_mutex_unlock(&set->lock);
    return empty;
}

int volumes_drop_empty(struct volumes *set, uint64_t *ret_number, struct err *err) {
    *ret_number = 0;
    struct volume *empty = take_empty(set);
    if (empty == NULL)
        return 0;
    int rc = unlinkat(set->dir_fd, empty->name, 0) == 0
                 ? 0
                 : err_errno(err, errno, "remove %s", empty->name);
    *ret_number = empty->number;
    volume_unref(empty);
    return rc;
}

uint64_t volumes_next_complete(struct volumes *set) {
    uint64_t number = 0;
    pthread_mutex_lock(&set->lock);
    for (unsigned i = 0; number == 0 && set->to_note > 0 && i < set->count; i++) {
        struct volume *volume = set->shared[i];
        if (volume->sealed && !volume->noted && volume->writers == 0) {
            volume->noted = true;
            set->to_note--;
            number = volume->number;
        }
    }
    pthread_mutex_unlock(&set->lock);
    return number;
}

int volumes_disk_space(const struct volumes *set, uint64_t *ret_free, uint64_t *ret_total,
                       struct err *err) {
    return space_get(set->dir, ret_free, ret_total, err);
}

bool volumes_count_chunk(struct volumes *set, uint64_t number, struct id128 chunk_id) {
    if (number == 0) {
        char name[VOLUME_NAME_SIZE];
        volume_name_own(chunk_id, "chunk", name);
        return faccessat(set->dir_fd, name, F_OK, 0) == 0;
    }
    struct volume *volume = volumes_find(set, number);
    if (volume != NULL)
        volume->live++;
    return volume != NULL;
}

void volumes_recovered(struct volumes *set) {
    for (unsigned i = set->count; i > 0; i--) {
        struct volume *volume = set->shared[i - 1];
        if (volume->sealed)
            continue;
        if (set->active == NULL && volume->end < VOLUME_BYTES_MAX)
            set->active = volume;
        else
            seal(set, volume);
    }
}
