/* The inside of the state store, shared by its files: kv.c does all but kv_scrub.c. */
#ifndef QUERN_OS_KV_IMPL_H
#define QUERN_OS_KV_IMPL_H

#include <rocksdb/c.h>
#include <stdatomic.h>

#include "os/kv.h"

struct kv {
    char *path;
    char *mark;                                            /* NULL: it is not replaceable */
    void (*corrupt)(void *context, const struct err *why); /* or NULL */
    void *context;
    char *ballast; /* or NULL */
    atomic_bool compacts;
    rocksdb_t *db;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    rocksdb_flushoptions_t *flush;
};

/* Takes the message RocksDB allocated. kv NULL: one that is corrupt does not end the process. */
int kv_error_take(const struct kv *kv, char *message, const char *doing, struct err *err);

#endif
