/* The table of replicas. */
#include "meta/replicas.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/crc.h"
#include "base/le.h"
#include "os/file.h"
#include "os/kept.h"

#define MAGIC 0x534c504552515241ull
#define VERSION 1u
#define HEAD_SIZE 16u
#define ROW_SIZE 24u
#define FILE_SIZE (HEAD_SIZE + PLACE_GROUPS_MAX * ROW_SIZE + sizeof(uint32_t))
#define BIRTHS_MAX (1u << 12) /* of one process */

static int table_write(const char *path, const struct replica_row *rows, struct err *err) {
    uint8_t bytes[FILE_SIZE] = {0}, *to = bytes + HEAD_SIZE;
    le64_put(bytes, MAGIC);
    le32_put(bytes + 8, VERSION);
    le32_put(bytes + 12, PLACE_GROUPS_MAX);
    for (uint32_t g = 0; g < PLACE_GROUPS_MAX; g++, to += ROW_SIZE) {
        le32_put(to, rows[g].born);
        le64_put(to + 8, rows[g].since_seq);
        le64_put(to + 16, rows[g].trimmed_upto);
    }
    le32_put(to, crc32c_update(0, bytes, (size_t)(to - bytes)));
    return kept_write(path, 0600, (struct span){(const char *)bytes, sizeof bytes}, err);
}

static int table_parse(void *ret_rows, const char *path, struct span table, struct err *err) {
    struct replica_row *rows = ret_rows;
    const uint8_t *bytes = (const uint8_t *)table.data, *from = bytes + HEAD_SIZE;
    if (table.size != FILE_SIZE || le64_get(bytes) != MAGIC ||
        le32_get(bytes + FILE_SIZE - 4) != crc32c_update(0, bytes, FILE_SIZE - 4) ||
        le32_get(bytes + 12) != PLACE_GROUPS_MAX)
        return err_set(err, ERR_CORRUPT, "%s is damaged", path);
    if (le32_get(bytes + 8) > VERSION)
        return err_set(err, ERR_VERSION, "%s was written by a newer quern", path);
    for (uint32_t g = 0; g < PLACE_GROUPS_MAX; g++, from += ROW_SIZE)
        rows[g] = (struct replica_row){le32_get(from), le64_get(from + 8), le64_get(from + 16)};
    return 0;
}

int replicas_found(const char *dir, const struct place_map *map, uint32_t node, struct err *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/replicas", dir);
    struct replica_row rows[PLACE_GROUPS_MAX] = {0};
    for (uint32_t g = 0; map != NULL && g <= map->shards; g++)
        rows[g].born = place_group_has(&map->groups[g], node) ? REPLICA_FOUNDER : 0;
    int r = file_make_directories(dir, err);
    return r != 0 ? r : table_write(path, rows, err);
}

int replicas_open(struct replicas *replicas, const char *dir, uint32_t boot, struct err *err) {
    *replicas = (struct replicas){.boot = boot};
    if (asprintf(&replicas->path, "%s/replicas", dir) < 0)
        panic("out of memory for the table of replicas");
    pthread_mutex_init(&replicas->mutex, NULL);
    int r = kept_read(replicas->path, FILE_SIZE, table_parse, replicas->rows, err);
    return r == ERR_NOT_FOUND ? 0 : r;
}

void replicas_close(struct replicas *replicas) {
    if (replicas->path == NULL)
        return;
    pthread_mutex_destroy(&replicas->mutex);
    free(replicas->path);
    replicas->path = NULL;
}

struct replica_row replicas_get(struct replicas *replicas, uint32_t group) {
    ASSERT(group < PLACE_GROUPS_MAX);
    pthread_mutex_lock(&replicas->mutex);
    struct replica_row row = replicas->rows[group];
    pthread_mutex_unlock(&replicas->mutex);
    return row;
}

/* What could not be made durable is not so here either. */
static int row_replace(struct replicas *replicas, uint32_t group, struct replica_row row,
                       struct err *err) {
    struct replica_row before = replicas->rows[group];
    replicas->rows[group] = row;
    int r = table_write(replicas->path, replicas->rows, err);
    if (r != 0)
        replicas->rows[group] = before;
    return r;
}

int replicas_make(struct replicas *replicas, uint32_t group, uint64_t since_seq, uint32_t *ret_born,
                  struct err *err) {
    ASSERT(group < PLACE_GROUPS_MAX);
    pthread_mutex_lock(&replicas->mutex);
    ASSERT(replicas->rows[group].born == 0);
    int r = 0;
    if (replicas->births + 1 == BIRTHS_MAX || replicas->boot >= UINT32_MAX / BIRTHS_MAX)
        r = err_set(err, ERR_LIMIT, "this process has made its last replica");
    uint32_t born = replicas->boot * BIRTHS_MAX + ++replicas->births;
    if (r == 0)
        r = row_replace(replicas, group, (struct replica_row){born, since_seq, 0}, err);
    pthread_mutex_unlock(&replicas->mutex);
    *ret_born = born;
    return r;
}

int replicas_drop(struct replicas *replicas, uint32_t group, struct err *err) {
    ASSERT(group < PLACE_GROUPS_MAX);
    pthread_mutex_lock(&replicas->mutex);
    int r = row_replace(replicas, group, (struct replica_row){0}, err);
    pthread_mutex_unlock(&replicas->mutex);
    return r;
}

int replicas_set_trimmed(struct replicas *replicas, const uint64_t *upto, uint32_t count,
                         struct err *err) {
    ASSERT(count <= PLACE_GROUPS_MAX);
    bool changed = false;
    pthread_mutex_lock(&replicas->mutex);
    for (uint32_t g = 0; g < count; g++) {
        struct replica_row *row = &replicas->rows[g];
        if (row->born == 0 || upto[g] <= row->trimmed_upto)
            continue;
        row->trimmed_upto = upto[g];
        changed = true;
    }
    int r = changed ? table_write(replicas->path, replicas->rows, err) : 0;
    pthread_mutex_unlock(&replicas->mutex);
    return r;
}

int replicas_set_trimmed_of(struct replicas *replicas, uint32_t group, uint64_t upto,
                            struct err *err) {
    uint64_t all[PLACE_GROUPS_MAX] = {0};
    ASSERT(group < PLACE_GROUPS_MAX);
    all[group] = upto;
    return replicas_set_trimmed(replicas, all, PLACE_GROUPS_MAX, err);
}
