/* A test's own folder under /tmp, and its removal with all that is in it. */
#ifndef QUERN_TEST_LIB_TEMP_DIR_H
#define QUERN_TEST_LIB_TEMP_DIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define TEMP_DIR_SIZE 64

static inline int temp_dir_remove_one(const char *path, const struct stat *info, int kind,
                                      struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

/* Both return 0 or -1. */
static inline int temp_dir_make(char ret_path[TEMP_DIR_SIZE]) {
    snprintf(ret_path, TEMP_DIR_SIZE, "/tmp/quern-test-XXXXXX");
    return mkdtemp(ret_path) != NULL ? 0 : -1;
}

static inline int temp_dir_remove(const char *path) {
    return nftw(path, temp_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
