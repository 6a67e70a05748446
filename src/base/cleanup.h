/* Locals that clean themselves: _cleanup_(fd_closep) int fd = -1; return TAKE_FD(fd); */
#ifndef QUERN_BASE_CLEANUP_H
#define QUERN_BASE_CLEANUP_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })

#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __auto_type taken_ = (p);                                                                  \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

static inline void fd_closep(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static inline void freep(void *p) {
    free(*(void **)p);
}

static inline void file_closep(FILE **file) {
    if (*file != NULL)
        fclose(*file);
}

#endif
