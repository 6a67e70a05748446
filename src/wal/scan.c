/* Batch after batch through a segment. */
#include "wal/scan.h"

#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"

static const char *block_at(const struct wal_image *image, uint32_t block) {
    return image->blocks + (size_t)block * WAL_BLOCK;
}

/* Whether the block is a valid one of this segment's generation, at its place, of a batch that fits
 * there. */
static bool is_ours(const struct wal_image *image, uint32_t block, struct wal_head *ret_head) {
    if ((image->unread != NULL && image->unread[block]) ||
        !wal_block_valid(block_at(image, block), ret_head))
        return false;
    const struct wal_head *head = ret_head;
    return head->kind == WAL_DATA && head->file == image->file &&
           (head->block == block || MUTANT(35)) &&
           (image->generation == 0 || head->generation == image->generation) &&
           head->index_blocks > 0 && head->index_blocks < head->count && block > head->index &&
           block - head->index + head->count <= image->block_count;
}

bool wal_image_has_batch(const struct wal_image *image, uint64_t *ret_generation) {
    uint64_t generation = 0;
    for (uint32_t block = 1; block < image->block_count; block++) {
        struct wal_head head;
        if (!is_ours(image, block, &head))
            continue;
        if (ret_generation == NULL)
            return true;
        generation = head.generation > generation ? head.generation : generation;
    }
    if (ret_generation != NULL)
        *ret_generation = generation;
    return generation > 0;
}

/* The first batch from block on that left a valid block; its head is as that of its first block. */
static bool find_batch(const struct wal_scan *scan, const struct wal_image *image, uint32_t block,
                       struct wal_head *ret_head) {
    for (uint32_t b = block; b < image->block_count; b++) {
        struct wal_head head;
        if (!is_ours(image, b, &head) || b - head.index < block)
            continue;
        uint32_t start = b - head.index;
        bool expected = head.batch_seq == scan->batch_seq && start == block;
        if (!expected && scan->batch_seq != 0 && head.batch_seq <= scan->batch_seq)
            continue;
        head.index = 0;
        head.block = start;
        *ret_head = head;
        return true;
    }
    return false;
}

static bool is_part(const struct wal_head *head, const struct wal_head *batch, uint32_t index) {
    return head->generation == batch->generation && head->batch_seq == batch->batch_seq &&
           head->file == batch->file && (head->block == batch->block + index || MUTANT(35)) &&
           head->index == index && head->count == batch->count &&
           head->index_blocks == batch->index_blocks && head->kind == batch->kind;
}

/* Bad stamps alone are put right: they must not make a write look torn that was acknowledged. */
static bool is_whole(const struct wal_image *image, const struct wal_head *batch, uint32_t index) {
    uint32_t block = batch->block + index;
    struct wal_head head;
    if (image->unread != NULL && image->unread[block])
        return false;
    if (wal_block_valid(block_at(image, block), &head))
        return is_part(&head, batch, index);
    char copy[WAL_BLOCK];
    memcpy(copy, block_at(image, block), sizeof copy);
    wal_block_restamp(copy, batch->generation, batch->batch_seq);
    return wal_block_valid(copy, &head) && is_part(&head, batch, index);
}

/* How many of its blocks are as they were written. */
static uint32_t check_blocks(const struct wal_image *image, const struct wal_head *batch,
                             bool *ret_whole) {
    uint32_t whole = 0;
    for (uint32_t i = 0; i < batch->count; i++)
        whole += ret_whole[i] = is_whole(image, batch, i);
    return whole;
}

/* How many of the blocks the write of the batch has reached, and whether it wrote all sectors of
 * these: what could not be read may have been written. */
static uint32_t find_stamps(const struct wal_image *image, uint64_t batch_seq, uint32_t block,
                            uint32_t count, bool *ret_complete) {
    uint32_t reached = 0;
    bool complete = true;
    for (uint32_t i = 0; i < count; i++) {
        bool unread = image->unread != NULL && image->unread[block + i];
        enum wal_stamps stamps =
            unread ? WAL_STAMPS_ALL
                   : wal_block_stamps(block_at(image, block + i), image->generation, batch_seq);
        complete &= stamps == WAL_STAMPS_ALL;
        if (stamps != WAL_STAMPS_NONE) {
            reached = i + 1;
            *ret_complete = complete;
        }
    }
    return reached;
}

static int give(struct wal_scan *scan, enum wal_item_kind kind, uint32_t block, uint32_t count,
                bool whole, struct err *err) {
    const struct wal_item item = {
        .kind = kind, .batch_seq = scan->batch_seq, .block = block, .count = count, .whole = whole};
    return scan->take(scan->context, &item, err);
}

/* Of what was expected before the batch nothing is left. A segment's first is in block 1. */
static int skip_to(struct wal_scan *scan, uint64_t batch_seq, uint32_t skipped, struct err *err) {
    int r = 0;
    if (scan->batch_seq != 0 ? batch_seq > scan->batch_seq : skipped > 0) {
        scan->batch_seq = batch_seq - 1;
        r = give(scan, WAL_ITEM_LOST, 0, 0, false, err);
    }
    scan->batch_seq = batch_seq;
    return r;
}

static int take_batch(struct wal_scan *scan, const struct wal_image *image,
                      const struct wal_head *batch, const bool *whole, bool undamaged,
                      struct err *err) {
    int r = give(scan, WAL_ITEM_BATCH, batch->block, batch->count, undamaged, err);
    if (r == 0)
        r = wal_batch_read(batch, block_at(image, batch->block), whole, scan->payload, scan->take,
                           scan->context, err);
    scan->batch_seq++;
    return r;
}

/* Nothing valid follows. Blocks that were all written are a batch of which nothing is known. */
static int judge_rest(struct wal_scan *scan, const struct wal_image *image, struct wal_end *end,
                      struct err *err) {
    int r = 0;
    while (r == 0 && image->is_last && scan->batch_seq != 0) {
        uint32_t rest = image->block_count - end->used;
        uint32_t limit = rest < WAL_BATCH_BLOCKS_MAX ? rest : WAL_BATCH_BLOCKS_MAX;
        bool complete = true;
        uint32_t reached = find_stamps(image, scan->batch_seq, end->used, limit, &complete);
        end->torn = complete ? 0 : reached;
        if (reached == 0 || !complete)
            return 0;
        r = give(scan, WAL_ITEM_BATCH, end->used, reached, false, err);
        if (r == 0)
            r = give(scan, WAL_ITEM_LOST, 0, 0, false, err);
        end->used += reached;
        scan->batch_seq++;
    }
    return r;
}

/* Whether the batch, which is not whole, is a write that a crash cut off. */
static bool is_torn(const struct wal_image *image, const struct wal_head *batch) {
    const struct wal_scan later = {.batch_seq = batch->batch_seq};
    struct wal_head head;
    bool complete;
    if (MUTANT(10))
        return false;
    if (!image->is_last || find_batch(&later, image, batch->block + batch->count, &head))
        return false;
    return find_stamps(image, batch->batch_seq, batch->block, batch->count, &complete) <
               batch->count ||
           !complete;
}

int wal_scan_segment(struct wal_scan *scan, const struct wal_image *image, struct wal_end *ret_end,
                     struct err *err) {
    struct wal_head batch;
    bool whole[WAL_BATCH_BLOCKS_MAX];
    *ret_end = (struct wal_end){.used = 1};
    while (find_batch(scan, image, ret_end->used, &batch)) {
        int r = skip_to(scan, batch.batch_seq, batch.block - ret_end->used, err);
        if (r != 0)
            return r;
        bool undamaged = check_blocks(image, &batch, whole) == batch.count;
        if (!undamaged && is_torn(image, &batch)) {
            ret_end->used = batch.block;
            ret_end->torn = batch.count;
            return 0;
        }
        r = take_batch(scan, image, &batch, whole, undamaged, err);
        if (r != 0)
            return r;
        ret_end->used = batch.block + batch.count;
    }
    return judge_rest(scan, image, ret_end, err);
}
