/* The recovery scan: which segments there are, which batches are whole, and where the log ends. */
#include "wal/recover.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "wal/segment.h"

struct scan {
    struct wal_segment *segment;
    uint64_t batch_seq; /* expected next; 0 = any: the first of a log whose beginning was trimmed */
    uint64_t lsn;       /* of the last record seen */
    wal_replay *replay;
    void *context;
    char *window; /* WAL_BATCH_BLOCKS_MAX blocks */
    uint32_t window_start;
    uint32_t window_count;
    char *payload; /* of one batch */
    uint32_t torn_start;
    uint32_t torn_count;
};

static int corrupt(const struct scan *scan, uint32_t block, const char *what, struct err *err) {
    return err_set(err, ERR_CORRUPT, "the log is corrupt at %08u.log block %u: %s",
                   scan->segment->file, block, what);
}

/* Makes the window begin at block, as long as can be. */
static int window_load(struct scan *scan, uint32_t block, struct err *err) {
    uint32_t count = scan->segment->block_count - block;
    count = count < WAL_BATCH_BLOCKS_MAX ? count : WAL_BATCH_BLOCKS_MAX;
    int r = wal_segment_read(scan->segment, block, scan->window, count, err);
    scan->window_start = block;
    scan->window_count = r == 0 ? count : 0;
    return r;
}

static const char *window_block(const struct scan *scan, uint32_t block) {
    ASSERT(block - scan->window_start < scan->window_count);
    return scan->window + (size_t)(block - scan->window_start) * WAL_BLOCK;
}

/* Whether the block is a valid one of this segment's generation, at its place. */
static bool block_ours(const struct scan *scan, uint32_t block, struct wal_head *ret_head) {
    return wal_block_valid(window_block(scan, block), ret_head) && ret_head->kind == WAL_DATA &&
           ret_head->generation == scan->segment->generation &&
           ret_head->file == scan->segment->file && ret_head->block == block;
}

/* Whether a whole batch, the one expected, is in the window from block on; its size goes to
 * *ret_count. */
static bool batch_whole(struct scan *scan, uint32_t block, uint32_t *ret_count,
                        size_t *ret_payload) {
    struct wal_head first, head;
    if (!block_ours(scan, block, &first) || first.index != 0 ||
        (scan->batch_seq != 0 && first.batch_seq != scan->batch_seq) ||
        first.count > scan->window_start + scan->window_count - block)
        return false;
    size_t payload = wal_block_payload(window_block(scan, block), scan->payload);
    for (uint32_t i = 1; i < first.count; i++) {
        if (!block_ours(scan, block + i, &head) || head.batch_seq != first.batch_seq ||
            head.index != i || head.count != first.count)
            return false;
        payload += wal_block_payload(window_block(scan, block + i), scan->payload + payload);
    }
    scan->batch_seq = first.batch_seq;
    *ret_count = first.count;
    *ret_payload = payload;
    return true;
}

/* There is no whole batch at block: is it the end of what was written (0), or is something lost?
 * (PAXOS.md 2.13) */
static int tail_judge(struct scan *scan, uint32_t block, struct err *err) {
    if (scan->batch_seq == 0)
        return corrupt(scan, block, "the first batch cannot be read", err);
    int r = window_load(scan, block, err);
    for (uint32_t i = 0; r == 0 && i < scan->window_count; i++) {
        struct wal_head head;
        enum wal_stamps stamps = wal_block_stamps(window_block(scan, block + i),
                                                  scan->segment->generation, scan->batch_seq);
        bool ours = block_ours(scan, block + i, &head);
        /* T2: a later batch exists, so this one had been durable. */
        if (ours && head.batch_seq != scan->batch_seq)
            return corrupt(scan, block, "a later batch exists", err);
        /* T3: every sector was written, so the write was not torn here. */
        if (!ours && stamps == WAL_STAMPS_ALL)
            return corrupt(scan, block + i, "its checksum is wrong", err);
        /* T1: the write was torn; nobody was told of it. */
        if (stamps != WAL_STAMPS_NONE) {
            scan->torn_start = block;
            scan->torn_count = i + 1;
        }
    }
    return r;
}

static int records_replay(struct scan *scan, struct span payload, struct err *err) {
    struct span record;
    int r;
    while ((r = wal_record_next(&payload, &record, err)) == 0) {
        r = scan->replay(scan->context, ++scan->lsn, record, err);
        if (r != 0)
            return r;
    }
    return r == ERR_NOT_FOUND ? 0 : r;
}

/* Moves the window when it does not hold all that the block's head promises. */
static int batch_load(struct scan *scan, uint32_t block, struct err *err) {
    uint32_t end = scan->window_start + scan->window_count;
    struct wal_head head;
    if (block >= scan->window_start && block < end &&
        (!block_ours(scan, block, &head) || head.count <= end - block))
        return 0;
    return window_load(scan, block, err);
}

/* Replays the segment's batches up to its end. */
static int segment_scan(struct scan *scan, struct err *err) {
    struct wal_segment *segment = scan->segment;
    scan->window_count = 0;
    while (segment->used < segment->block_count) {
        uint32_t count;
        size_t size;
        int r = batch_load(scan, segment->used, err);
        if (r != 0)
            return r;
        if (!batch_whole(scan, segment->used, &count, &size))
            return tail_judge(scan, segment->used, err);
        wal_segment_note(segment, scan->lsn + 1, count);
        r = records_replay(scan, (struct span){scan->payload, size}, err);
        if (r != 0)
            return r;
        scan->batch_seq++;
    }
    return 0;
}

static int torn_erase(struct scan *scan, struct wal_segment *segment, struct err *err) {
    memset(scan->window, 0, (size_t)scan->torn_count * WAL_BLOCK);
    return wal_segment_write(segment, scan->torn_start, scan->window, scan->torn_count, err);
}

static int segments_scan(struct scan *scan, struct wal_recovery *recovery, struct err *err) {
    struct wal_segment *torn = NULL;
    bool ended = false;
    LIST_FOR_EACH(node, &recovery->segments) {
        struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        bool first = node->prev == &recovery->segments;
        scan->segment = segment;
        scan->batch_seq = first && segment->generation == 1 ? 1 : scan->batch_seq;
        int r = segment_scan(scan, err);
        if (r != 0)
            return r;
        if (segment->place_count > 0 && (torn != NULL || ended))
            return corrupt(scan, 1, "it goes on behind the log's end", err);
        if (torn == NULL && scan->torn_count > 0)
            torn = segment;
        ended = segment->place_count == 0;
    }
    recovery->torn_blocks = scan->torn_count;
    return torn != NULL ? torn_erase(scan, torn, err) : 0;
}

/* Puts the segment in its place by generation. */
static void segment_insert(struct list *segments, struct wal_segment *segment) {
    struct list *after = segments->prev;
    while (after != segments &&
           LIST_ENTRY(after, struct wal_segment, node)->generation > segment->generation)
        after = after->prev;
    list_add_tail(after->next, &segment->node);
}

/* Opens all files; those without a valid head, which a crash may leave, go to blanks. */
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

/* A file without a head is left over from its making or its reuse: then it holds nothing newer than
 * the oldest segment. */
static int blanks_delete(const char *dir, struct scan *scan, struct list *blanks, uint64_t oldest,
                         struct err *err) {
    for (struct list *node; (node = blanks->next) != blanks;) {
        struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        struct wal_head head;
        scan->segment = segment;
        int r = segment->block_count > 1 ? wal_segment_read(segment, 1, scan->window, 1, err) : 0;
        if (r == 0 && segment->block_count > 1 && wal_block_valid(scan->window, &head) &&
            head.generation >= oldest)
            r = corrupt(scan, 0, "the segment's head cannot be read", err);
        if (r == 0)
            r = wal_segment_delete(dir, segment, err);
        if (r != 0)
            return r;
    }
    return 0;
}

/* Segments are taken up and given back in order, so that a missing generation is a lost file. */
static int generations_check(const struct wal_recovery *recovery, struct err *err) {
    uint64_t expected = 0;
    LIST_FOR_EACH(node, &recovery->segments) {
        const struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        if (expected != 0 && segment->generation != expected)
            return err_set(err, ERR_CORRUPT,
                           "the log is corrupt: segment %llu is missing before %08u.log",
                           (unsigned long long)expected, segment->file);
        expected = segment->generation + 1;
    }
    return 0;
}

static void segments_free(struct list *segments) {
    for (struct list *node; (node = segments->next) != segments;)
        wal_segment_free(LIST_ENTRY(node, struct wal_segment, node));
}

int wal_recover(const char *dir, wal_replay *replay, void *context,
                struct wal_recovery *ret_recovery, struct err *err) {
    struct wal_recovery recovery = {0};
    struct list blanks;
    list_init(&recovery.segments);
    list_init(&blanks);
    _cleanup_(freep) char *window = wal_blocks_new(WAL_BATCH_BLOCKS_MAX);
    _cleanup_(freep) char *payload = wal_blocks_new(WAL_BATCH_BLOCKS_MAX);
    struct scan scan = {.replay = replay, .context = context, .window = window, .payload = payload};

    int r = files_open(dir, &recovery, &blanks, err);
    if (r == 0)
        r = generations_check(&recovery, err);
    if (r == 0) {
        bool none = list_is_empty(&recovery.segments);
        struct wal_segment *oldest = LIST_ENTRY(recovery.segments.next, struct wal_segment, node);
        r = blanks_delete(dir, &scan, &blanks, none ? 1 : oldest->generation, err);
    }
    if (r == 0)
        r = segments_scan(&scan, &recovery, err);
    segments_free(&blanks);
    if (r != 0) {
        segments_free(&recovery.segments);
        return r;
    }
    recovery.batch_seq = scan.batch_seq > 0 ? scan.batch_seq - 1 : 0;
    recovery.lsn = scan.lsn;
    *ret_recovery = recovery;
    list_init(&ret_recovery->segments);
    while (!list_is_empty(&recovery.segments))
        list_add_tail(&ret_recovery->segments, list_pop_head(&recovery.segments));
    return 0;
}
