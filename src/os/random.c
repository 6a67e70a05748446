/* Randomness from getrandom(2). */
#include "os/random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

void random_bytes(void *ret_data, size_t size) {
    char *to = ret_data;
    while (size > 0) {
        ssize_t got = getrandom(to, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            panic("the kernel gives no randomness: %s", strerror(errno));
        to += got;
        size -= (size_t)got;
    }
}

struct id128 random_id128(void) {
    struct id128 id;
    random_bytes(id.bytes, sizeof id.bytes);
    return id;
}
