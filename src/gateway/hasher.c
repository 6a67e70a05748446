/* A ring of blocks between the receiving thread and the one that hashes. */
#include "gateway/hasher.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/assert.h"

#define BLOCKS 6

struct hasher {
    pthread_t thread;
    struct digest md5;
    pthread_mutex_t lock; /* guards what follows, but not the blocks' bytes: those belong to one
                             side at a time */
    pthread_cond_t changed;
    uint64_t pushed; /* blocks, ever */
    uint64_t hashed;
    bool stopping;
    size_t sizes[BLOCKS];
    char *blocks;
};

static void *hasher_run(void *argument) {
    struct hasher *hasher = argument;
    pthread_mutex_lock(&hasher->lock);
    for (;;) {
        while (hasher->hashed == hasher->pushed && !hasher->stopping)
            pthread_cond_wait(&hasher->changed, &hasher->lock);
        if (hasher->hashed == hasher->pushed)
            break;
        size_t slot = hasher->hashed % BLOCKS, size = hasher->sizes[slot];
        pthread_mutex_unlock(&hasher->lock);
        digest_update(&hasher->md5, hasher->blocks + slot * HASHER_BLOCK_BYTES, size);
        pthread_mutex_lock(&hasher->lock);
        hasher->hashed++;
        pthread_cond_signal(&hasher->changed);
    }
    pthread_mutex_unlock(&hasher->lock);
    return NULL;
}

static struct hasher *hasher_free(struct hasher *hasher) {
    pthread_cond_destroy(&hasher->changed);
    pthread_mutex_destroy(&hasher->lock);
    digest_fini(&hasher->md5);
    free(hasher->blocks);
    free(hasher);
    return NULL;
}

int hasher_start(struct hasher **ret_hasher, struct err *err) {
    struct hasher *hasher = calloc(1, sizeof *hasher);
    char *blocks = malloc(BLOCKS * HASHER_BLOCK_BYTES);
    if (hasher == NULL || blocks == NULL) {
        free(hasher);
        free(blocks);
        return err_set(err, ERR_NOMEM, "blocks of a body");
    }
    hasher->blocks = blocks;
    digest_init(&hasher->md5, DIGEST_MD5);
    pthread_mutex_init(&hasher->lock, NULL);
    pthread_cond_init(&hasher->changed, NULL);
    int failure = pthread_create(&hasher->thread, NULL, hasher_run, hasher);
    if (failure != 0) {
        hasher_free(hasher);
        return err_errno(err, failure, "cannot start a thread");
    }
    pthread_setname_np(hasher->thread, "md5");
    *ret_hasher = hasher;
    return 0;
}

static void wait_until_left(struct hasher *hasher, uint64_t left_max) {
    pthread_mutex_lock(&hasher->lock);
    while (hasher->pushed - hasher->hashed > left_max)
        pthread_cond_wait(&hasher->changed, &hasher->lock);
    pthread_mutex_unlock(&hasher->lock);
}

void *hasher_block(struct hasher *hasher) {
    wait_until_left(hasher, BLOCKS - 1);
    return hasher->blocks + hasher->pushed % BLOCKS * HASHER_BLOCK_BYTES;
}

void hasher_push(struct hasher *hasher, size_t size) {
    ASSERT(size <= HASHER_BLOCK_BYTES);
    pthread_mutex_lock(&hasher->lock);
    hasher->sizes[hasher->pushed % BLOCKS] = size;
    hasher->pushed++;
    pthread_cond_signal(&hasher->changed);
    pthread_mutex_unlock(&hasher->lock);
}

void hasher_finish(struct hasher *hasher, uint8_t ret_md5[MD5_SIZE]) {
    wait_until_left(hasher, 0);
    digest_final(&hasher->md5, ret_md5);
}

struct hasher *hasher_stop(struct hasher *hasher) {
    if (hasher == NULL)
        return NULL;
    pthread_mutex_lock(&hasher->lock);
    hasher->stopping = true;
    pthread_cond_signal(&hasher->changed);
    pthread_mutex_unlock(&hasher->lock);
    pthread_join(hasher->thread, NULL);
    return hasher_free(hasher);
}
