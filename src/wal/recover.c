/* Which segments there are, and what each of them holds (wal/scan.h). */
#include "wal/recover.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "wal/segment.h"

/* Of a segment without a batch no more is looked at: damage that hides all batches in these would
 * be larger than a batch. */
#define GLANCE_BLOCKS (2 * WAL_BATCH_BLOCKS_MAX + 1)

struct recover {
    wal_replay *replay;
    void *context;
    struct wal_segment *segment; /* being scanned */
    bool whole;                  /* the batch being read */
    struct wal_recovery *recovery;
};

/* A segment's bytes in memory. */
struct loaded {
    char *blocks;
    bool *unread;
    struct wal_image image;
};

static void loaded_fini(struct loaded *loaded) {
    free(loaded->blocks);
    free(loaded->unread);
}

static int load(const struct wal_segment *segment, uint32_t block_count, struct loaded *ret_loaded,
                struct err *err) {
    uint32_t count = block_count < segment->block_count ? block_count : segment->block_count;
    struct loaded loaded = {.blocks = wal_blocks_new(count), .unread = calloc(count, 1)};
    if (loaded.unread == NULL)
        panic("out of memory for a segment of the log");
    loaded.image = (struct wal_image){.blocks = loaded.blocks,
                                      .unread = loaded.unread,
                                      .block_count = count,
                                      .file = segment->file,
                                      .generation = segment->generation};
    int r = wal_segment_load(segment, loaded.blocks, count, loaded.unread, err);
    if (r != 0)
        loaded_fini(&loaded);
    else
        *ret_loaded = loaded;
    return r;
}

/* ---- the files ---- */

/* Puts the segment in its place by generation. */
static void segment_insert(struct list *segments, struct wal_segment *segment) {
    struct list *after = segments->prev;
    while (after != segments &&
           LIST_ENTRY(after, struct wal_segment, node)->generation > segment->generation)
        after = after->prev;
    list_add_tail(after->next, &segment->node);
}

/* Opens all files; those without a valid head go to blanks. */
static int files_open(const char *dir, struct wal_recovery *recovery, struct list *blanks,
                      struct err *err) {
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return err_errno(err, errno, "open %s", dir);
    int r = 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(entries)) != NULL;) {
        uint32_t file;
        struct wal_segment *segment;
        char name[32];
        if (sscanf(entry->d_name, "%8u.log", &file) != 1 ||
            (snprintf(name, sizeof name, "%08u.log", file), strcmp(name, entry->d_name) != 0))
            continue;
        r = wal_segment_open(dir, file, &segment, err);
        if (r != 0)
            break;
        segment_insert(segment->generation > 0 ? &recovery->segments : blanks, segment);
        recovery->file = file > recovery->file ? file : recovery->file;
    }
    closedir(entries);
    return r;
}

/* A segment of this generation can only have lost its head: it is not there otherwise, and not long
 * trimmed. */
static bool is_missing(const struct wal_recovery *recovery, uint64_t generation) {
    if (generation == 0 || list_is_empty(&recovery->segments))
        return generation > 0;
    LIST_FOR_EACH(node, &recovery->segments)
    if (LIST_ENTRY(node, struct wal_segment, node)->generation == generation)
        return false;
    return generation + 1 >=
           LIST_ENTRY(recovery->segments.next, struct wal_segment, node)->generation;
}

/* A file without a head is left over from its making or its reuse, or the head is damaged. */
static int blank_deal(const char *dir, struct wal_recovery *recovery, struct wal_segment *blank,
                      struct err *err) {
    uint64_t generation = 0;
    struct loaded loaded;
    if (blank->block_count > 1) {
        int r = load(blank, blank->block_count, &loaded, err);
        if (r != 0)
            return r;
        wal_image_has_batch(&loaded.image, &generation);
        loaded_fini(&loaded);
    }
    if (!is_missing(recovery, generation))
        return wal_segment_delete(dir, blank, err);
    log_warn("the log: the head of %08u.log was damaged and is written anew", blank->file);
    list_remove(&blank->node);
    int r = wal_segment_format(blank, generation, err);
    segment_insert(&recovery->segments, blank);
    return r;
}

static int blanks_deal(const char *dir, struct wal_recovery *recovery, struct list *blanks,
                       struct err *err) {
    int r = 0;
    while (r == 0 && !list_is_empty(blanks))
        r = blank_deal(dir, recovery, LIST_ENTRY(blanks->next, struct wal_segment, node), err);
    return r;
}

/* ---- the scan ---- */

static int on_item(void *context, const struct wal_item *item, struct err *err) {
    struct recover *recover = context;
    struct wal_recovery *recovery = recover->recovery;
    if (item->kind == WAL_ITEM_BATCH) {
        recover->whole = item->whole;
        if (!item->whole)
            log_warn("the log is damaged at %08u.log block %u", recover->segment->file,
                     item->block);
        recover->segment->used = item->block;
        wal_segment_note(recover->segment, recovery->lsn + 1, item->count);
        return 0;
    }
    bool readable = item->kind == WAL_ITEM_RECORD && recover->whole;
    recovery->lsn += readable;
    return recover->replay(recover->context, readable ? recovery->lsn : 0, item, err);
}

/* The last segment that holds a batch; NULL when none does. */
static int last_find(const struct wal_recovery *recovery, struct wal_segment **ret_last,
                     struct err *err) {
    *ret_last = NULL;
    for (struct list *node = recovery->segments.prev; node != &recovery->segments;
         node = node->prev) {
        struct loaded loaded;
        struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        int r = load(segment, GLANCE_BLOCKS, &loaded, err);
        if (r != 0)
            return r;
        bool found = wal_image_has_batch(&loaded.image, NULL);
        loaded_fini(&loaded);
        if (found || node->prev == &recovery->segments) {
            *ret_last = segment;
            return 0;
        }
    }
    return 0;
}

static int torn_erase(struct wal_segment *segment, const struct wal_end *end, struct err *err) {
    _cleanup_(freep) char *zeros = wal_blocks_new(end->torn);
    memset(zeros, 0, (size_t)end->torn * WAL_BLOCK);
    return wal_segment_write(segment, end->used, zeros, end->torn, err);
}

static int segment_scan(struct wal_scan *scan, struct wal_segment *segment, bool is_last,
                        struct err *err) {
    struct recover *recover = scan->context;
    struct loaded loaded;
    struct wal_end end;
    int r = load(segment, segment->block_count, &loaded, err);
    if (r != 0)
        return r;
    recover->segment = segment;
    loaded.image.is_last = is_last;
    r = wal_scan_segment(scan, &loaded.image, &end, err);
    loaded_fini(&loaded);
    if (r != 0)
        return r;
    if (!is_last)
        segment->used = segment->block_count;
    recover->recovery->torn_blocks += end.torn;

    return end.torn > 0 ? torn_erase(segment, &end, err) : 0;
}

static int segments_scan(struct recover *recover, struct err *err) {
    struct wal_recovery *recovery = recover->recovery;
    struct wal_segment *last;
    int r = last_find(recovery, &last, err);
    if (r != 0 || last == NULL)
        return r;
    const struct wal_segment *first = LIST_ENTRY(recovery->segments.next, struct wal_segment, node);
    _cleanup_(freep) char *payload = wal_blocks_new(WAL_BATCH_BLOCKS_MAX);
    struct wal_scan scan = {.batch_seq = first->generation == 1,
                            .take = on_item,
                            .context = recover,
                            .payload = payload};
    LIST_FOR_EACH(node, &recovery->segments) {
        struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        r = segment_scan(&scan, segment, segment == last, err);
        if (r != 0 || segment == last)
            break;
    }
    recovery->batch_seq = scan.batch_seq > 0 ? scan.batch_seq - 1 : 0;
    return r;
}

static void segments_free(struct list *segments) {
    for (struct list *node; (node = segments->next) != segments;)
        wal_segment_free(LIST_ENTRY(node, struct wal_segment, node));
}

static void segments_move(struct list *from, struct list *to) {
    list_init(to);
    for (struct list *node; (node = list_pop_head(from)) != NULL;)
        list_add_tail(to, node);
}

int wal_recover(const char *dir, wal_replay *replay, void *context,
                struct wal_recovery *ret_recovery, struct err *err) {
    struct wal_recovery recovery = {0};
    struct list blanks;
    struct recover recover = {.replay = replay, .context = context, .recovery = &recovery};
    list_init(&recovery.segments);
    list_init(&blanks);
    int r = files_open(dir, &recovery, &blanks, err);
    if (r == 0)
        r = blanks_deal(dir, &recovery, &blanks, err);
    if (r == 0)
        r = segments_scan(&recover, err);
    segments_free(&blanks);
    if (r != 0) {
        segments_free(&recovery.segments);
        return r;
    }
    *ret_recovery = recovery;
    segments_move(&recovery.segments, &ret_recovery->segments);
    return 0;
}
