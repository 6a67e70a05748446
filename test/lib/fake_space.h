/* Instead of libc's: statvfs says of some paths what a test wants. */
#ifndef QUERN_TEST_LIB_FAKE_SPACE_H
#define QUERN_TEST_LIB_FAKE_SPACE_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#define FAKE_SPACES 4u

static struct {
    const char *_Atomic part; /* of the paths; NULL: none */
    _Atomic uint64_t free_bytes;
} fake_spaces[FAKE_SPACES];

/* part outlives the test, or is set to NULL. Any thread. */
static inline void fake_space_set(unsigned index, const char *part, uint64_t free_bytes) {
    atomic_store(&fake_spaces[index].free_bytes, free_bytes);
    atomic_store(&fake_spaces[index].part, part);
}

int statvfs(const char *path, struct statvfs *ret_info) {
    struct statfs info;
    if (statfs(path, &info) != 0)
        return -1;
    *ret_info = (struct statvfs){.f_frsize = (unsigned long)info.f_bsize,
                                 .f_blocks = info.f_blocks,
                                 .f_bavail = info.f_bavail};
    for (unsigned i = 0; i < FAKE_SPACES; i++) {
        const char *part = atomic_load(&fake_spaces[i].part);
        if (part != NULL && strstr(path, part) != NULL)
            ret_info->f_bavail = atomic_load(&fake_spaces[i].free_bytes) / ret_info->f_frsize;
    }
    return 0;
}

#endif
