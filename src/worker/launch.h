/* Messages between a node (main), its launcher and its keepers, over SOCK_SEQPACKET socket pairs:
 * one message, one datagram.
 *
 *   main --launch_open--> launcher --launch_opened + descriptor--> main      one exchange for each
 * sandbox main --launch_task + 3 descriptors--> keeper --launch_result--> main     one exchange for
 * each task main --launch_kill--> keeper                                             at any time
 *
 * All three are one program on one machine: the structs go as they are. */
#ifndef QUERN_WORKER_LAUNCH_H
#define QUERN_WORKER_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LAUNCH_MESSAGE_MAX ((size_t)96 << 10)
#define LAUNCH_STRINGS_MAX 4096
#define LAUNCH_SANDBOXES_MAX 256
#define LAUNCH_STDERR_BYTES 4096
#define LAUNCH_SCRATCH_SIZE 64

enum launch_kind { LAUNCH_OPEN = 1, LAUNCH_TASK, LAUNCH_KILL };

struct launch_open {
    uint32_t kind;
    uint32_t level;
};

/* Answers launch_open, and is every keeper's first message. */
struct launch_opened {
    int32_t code;                             /* 0, or an ERR_* */
    char text[sizeof((struct err *)0)->text]; /* the story; of a good keeper: its scratch directory
                                               */
};

struct launch_task {
    uint32_t kind;
    uint32_t argc;
    uint32_t envc; /* argv, then the environment, each string ended by NUL, follow */
    uint32_t reserved;
    uint64_t time_ms_max; /* wall clock; also the limit of processor seconds of any one process */
    uint64_t memory_bytes_max;
    uint64_t file_bytes_max;
};

struct launch_kill {
    uint32_t kind;
};

enum launch_end {
    LAUNCH_ENDED,     /* by itself: see wait_status */
    LAUNCH_UNSTARTED, /* exec failed: wait_status is its errno */
    LAUNCH_TIME_OVER,
    LAUNCH_MEMORY_OVER,
    LAUNCH_KILLED, /* by launch_kill */
};

struct launch_result {
    uint32_t end;
    int32_t wait_status;
    uint64_t wall_us;
    uint64_t user_us;
    uint64_t system_us;
    uint64_t peak_bytes; /* resident, of the largest process */
    uint32_t stderr_bytes;
    char stderr_tail[LAUNCH_STDERR_BYTES];
};

/* Sends one message with count (at most 3) descriptors; the caller keeps them. */
int launch_send(int socket, const void *message, size_t size, const int *fds, unsigned count,
                struct err *err);

/* Receives one message of at most room bytes; *ret_size 0 when the other side has gone. Exactly
 * *count descriptors are taken (close-on-exec); *count becomes how many came, and a message with
 * more is ERR_PROTOCOL. */
int launch_receive(int socket, void *message, size_t room, size_t *ret_size, int *ret_fds,
                   unsigned *count, struct err *err);

#endif
