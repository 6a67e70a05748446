/* Sockets with deadlines (absolute, os/clock.h). Sockets are non-blocking underneath; these calls
 * block in poll(2). ERR_CLOSED: the peer has gone. ERR_TIMEOUT: the deadline passed. One thread a
 * socket and direction. */
#ifndef QUERN_OS_NET_H
#define QUERN_OS_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

#define NET_ADDRESS_SIZE 256 /* "HOST:PORT" with the NUL */

/* "HOST:PORT", "[V6]:PORT" or ":PORT" split in place of the caller's buffers. */
int net_parse_address(const char *address, char ret_host[NET_ADDRESS_SIZE], uint16_t *ret_port,
                      struct err *err);

/* Listens; port 0 takes a free one. ret_address (may be NULL) is what it became, NET_ADDRESS_SIZE
 * bytes. "the port is in use" is said in one line. */
int net_listen(const char *address, int *ret_fd, char *ret_address, struct err *err);
int net_connect(const char *address, uint64_t deadline_ns, int *ret_fd, struct err *err);

/* Waits for at least one byte; *ret_size 0 at the end of the stream. */
int net_read(int fd, void *data, size_t size, uint64_t deadline_ns, size_t *ret_size,
             struct err *err);
int net_read_all(int fd, void *data, size_t size, uint64_t deadline_ns,
                 struct err *err); /* early end: ERR_CLOSED */
/* Writes everything; the iovec array is used up (altered) on the way. */
int net_write_all(int fd, struct iovec *iov, int count, uint64_t deadline_ns, struct err *err);
/* Writes what goes without waiting; the rest is what iov then describes. */
int net_write_now(int fd, struct iovec *iov, int count, struct err *err);
int net_write(int fd, const void *data, size_t size, uint64_t deadline_ns, struct err *err);

#endif
