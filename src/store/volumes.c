/* The set of volume files of a store: which there are, and where the next chunk goes. */
#include "store/volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/clock.h"
#include "os/file.h"

static bool has_suffix(const char *name, const char *suffix) {
    size_t size = strlen(name), suffix_size = strlen(suffix);
    return size > suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

/* Calls visit for each name in the folder with that suffix. */
static int for_each_name(struct volumes *set, const char *suffix,
                         int (*visit)(struct volumes *set, const char *name, void *context,
                                      struct err *err),
                         void *context, struct err *err) {
    DIR *directory = opendir(set->dir);
    if (directory == NULL)
        return err_errno(err, errno, "open %s", set->dir);
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(directory)) != NULL;) {
        if (has_suffix(entry->d_name, suffix))
            rc = visit(set, entry->d_name, context, err);
    }
    closedir(directory);
    return rc;
}

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

static struct volume *find(const struct volumes *set, uint64_t number) {
    unsigned position = position_of(set, number);
    return position < set->count && set->shared[position]->number == number ? set->shared[position]
                                                                            : NULL;
}

/* Takes the reference. Under the lock, or at start. */
static int insert(struct volumes *set, struct volume *volume, struct err *err) {
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

static int visit_unfinished(struct volumes *set, const char *name, void *context, struct err *err) {
    (void)context;
    return unlinkat(set->dir_fd, name, 0) == 0
               ? 0
               : err_errno(err, errno, "remove %s/%s", set->dir, name);
}

/* A file too short to have its header was made just before a crash: nothing is in it. */
static int visit_volume(struct volumes *set, const char *name, void *context, struct err *err) {
    (void)context;
    struct err why = {0};
    struct volume *volume;
    int rc = volume_open(set, name, O_RDWR, &volume, &why);
    if (rc == 0) {
        char expected[VOLUME_NAME_SIZE];
        volume_name_shared(volume->number, expected);
        rc = strcmp(name, expected) == 0 ? insert(set, volume, &why)
                                         : err_set(&why, ERR_CORRUPT, "it is volume %s", expected);
        if (rc != 0)
            volume_unref(volume);
    }
    if (rc == ERR_CORRUPT) /* its chunks are missing, and fetched from others; the file is left for
                              people */
        return 0;
    return rc == 0 ? 0 : err_set(err, rc, "%s/%s: %s", set->dir, name, why.text);
}

int volumes_open(const char *dir, struct id128 incarnation, struct volumes **ret_set,
                 struct err *err) {
    int rc = file_make_directories(dir, err);
    if (rc != 0)
        return rc;
    struct volumes *set = calloc(1, sizeof *set);
    if (set == NULL)
        return err_set(err, ERR_NOMEM, "volumes");
    set->dir = strdup(dir);
    set->incarnation = incarnation;
    set->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sync_group_init(&set->dir_sync, set->dir_fd, fsync);
    pthread_mutex_init(&set->lock, NULL);
    if (set->dir == NULL || set->dir_fd < 0)
        rc = err_errno(err, errno, "open %s", dir);
    if (rc == 0)
        rc = for_each_name(set, ".new", visit_unfinished, NULL, err);
    if (rc == 0)
        rc = for_each_name(set, ".volume", visit_volume, NULL, err);
    if (rc != 0) {
        volumes_close(set);
        return rc;
    }
    *ret_set = set;
    return 0;
}

struct volumes *volumes_close(struct volumes *set) {
    if (set == NULL)
        return NULL;
    for (unsigned i = 0; i < set->count; i++)
        volume_unref(set->shared[i]);
    pthread_mutex_destroy(&set->lock);
    sync_group_fini(&set->dir_sync);
    fd_closep(&set->dir_fd);
    free(set->shared);
    free(set->dir);
    free(set);
    return NULL;
}

/* Under the lock. */
static void seal(struct volumes *set, struct volume *volume) {
    volume->sealed = true;
    set->to_note++;
    if (set->active == volume)
        set->active = NULL;
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
        rc = sync_group_wait(&set->dir_sync, err);
    if (rc == 0)
        rc = insert(set, volume, err);
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
    struct volume *volume = find(set, number);
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
    struct statvfs fs;
    if (fstatvfs(set->dir_fd, &fs) != 0)
        return err_errno(err, errno, "statvfs %s", set->dir);
    *ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    *ret_total = (uint64_t)fs.f_blocks * fs.f_frsize;
    return 0;
}

int volumes_each_shared(struct volumes *set, volumes_visit_shared *visit, void *context,
                        struct err *err) {
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < set->count; i++)
        rc = visit(context, set->shared[i], err);
    return rc;
}

struct own_visit {
    volumes_visit_own *visit;
    void *context;
};

static int visit_own(struct volumes *set, const char *name, void *context, struct err *err) {
    (void)set;
    const struct own_visit *own = context;
    struct id128 chunk_id;
    size_t digits = strlen(name) - strlen(".chunk");
    return id128_parse((struct span){name, digits}, &chunk_id)
               ? own->visit(own->context, chunk_id, err)
               : 0;
}

int volumes_each_own(struct volumes *set, volumes_visit_own *visit, void *context,
                     struct err *err) {
    struct own_visit own = {visit, context};
    return for_each_name(set, ".chunk", visit_own, &own, err);
}

bool volumes_count_chunk(struct volumes *set, uint64_t number, struct id128 chunk_id) {
    if (number == 0) {
        char name[VOLUME_NAME_SIZE];
        volume_name_own(chunk_id, "chunk", name);
        return faccessat(set->dir_fd, name, F_OK, 0) == 0;
    }
    struct volume *volume = find(set, number);
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
