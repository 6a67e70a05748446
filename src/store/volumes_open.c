/* The folder of volume files: opened, closed, and gone through at start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"
#include "store/volumes.h"

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
        rc = strcmp(name, expected) == 0 ? volumes_insert(set, volume, &why)
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
