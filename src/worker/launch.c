/* Datagrams with descriptors over a socket pair. */
#include "worker/launch.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

#define FDS_MAX 3

union control {
    struct cmsghdr header; /* for its alignment */
    char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

int launch_send(int socket, const void *message, size_t size, const int *fds, unsigned count,
                struct err *err) {
    ASSERT(count <= FDS_MAX);
    struct iovec iov = {(void *)(uintptr_t)message, size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control = {0};
    if (count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
    }
    for (;;) {
        if (sendmsg(socket, &header, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return err_errno(err, errno, "cannot send to the launcher");
    }
}

static unsigned take_fds(struct msghdr *header, int *ret_fds) {
    unsigned count = 0;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(ret_fds, CMSG_DATA(cmsg), sizeof(int) * count);
    }
    return count;
}

int launch_receive(int socket, void *message, size_t room, size_t *ret_size, int *ret_fds,
                   unsigned *count, struct err *err) {
    struct iovec iov = {message, room};
    union control control;
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t size;
    do
        size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return err_errno(err, errno, "cannot receive from the launcher");
    int fds[FDS_MAX];
    unsigned got = take_fds(&header, fds);
    if (got > *count || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        while (got > 0)
            close(fds[--got]);
        return err_set(err, ERR_PROTOCOL, "the launcher's message has the wrong size");
    }
    memcpy(ret_fds, fds, sizeof(int) * got);
    *count = got;
    *ret_size = (size_t)size;
    return 0;
}
