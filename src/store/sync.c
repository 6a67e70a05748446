/* Group commit of a file or directory. */
#include "store/sync.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

void sync_group_init(struct sync_group *group, int fd, int (*sync)(int fd)) {
    *group = (struct sync_group){.fd = fd, .sync = sync};
    pthread_mutex_init(&group->lock, NULL);
    pthread_cond_init(&group->changed, NULL);
}

void sync_group_fini(struct sync_group *group) {
    ASSERT(!group->running);
    pthread_cond_destroy(&group->changed);
    pthread_mutex_destroy(&group->lock);
}

/* Under the lock, which is let go meanwhile. */
static void sync_for_all(struct sync_group *group) {
    uint64_t upto = group->asked;
    group->running = true;
    pthread_mutex_unlock(&group->lock);
    int failed_errno = group->sync(group->fd) == 0 ? 0 : errno;
    pthread_mutex_lock(&group->lock);
    group->running = false;
    if (failed_errno != 0)
        group->failed_errno = failed_errno;
    else
        group->synced = upto;
    pthread_cond_broadcast(&group->changed);
}

int sync_group_wait(struct sync_group *group, struct err *err) {
    pthread_mutex_lock(&group->lock);
    uint64_t ticket = ++group->asked;
    while (group->synced < ticket && group->failed_errno == 0) {
        if (group->running)
            pthread_cond_wait(&group->changed, &group->lock);
        else
            sync_for_all(group);
    }
    int failed_errno = group->synced < ticket ? group->failed_errno : 0;
    pthread_mutex_unlock(&group->lock);
    if (failed_errno == 0)
        return 0;
    bool full = failed_errno == ENOSPC || failed_errno == EDQUOT;
    return err_set(err, full ? ERR_NOSPACE : ERR_IO, "sync: %s", strerror(failed_errno));
}
