/* Reading back what crashes and rot have left of a log, by the real scan (wal/scan.h): it is
 * compared with what was written, and given to the replicas. */
#include <xxhash.h>

#include "sim/sim.h"
#include "wal/scan.h"

uint64_t sim_hash_identity(struct span bytes) {
    return XXH3_64bits(bytes.data, bytes.size < WAL_IDENTITY ? bytes.size : WAL_IDENTITY);
}

struct restore {
    struct sim_replica *replica;
    uint32_t next; /* record that comes next, if nothing is lost */
};

static uint32_t batch_start(const struct sim_disk *disk, uint64_t batch_seq) {
    return batch_seq > 1 ? disk->ends[batch_seq - 2] : 0;
}

static void restore_record(struct sim_replica *replica, const struct wal_item *item) {
    struct sim_node *node = replica->node;
    struct paxos_record record;
    uint32_t size;
    int code = item->kind == WAL_ITEM_RECORD
                   ? paxos_record_decode(item->bytes, &record, NULL)
                   : paxos_record_decode_head(item->bytes, &record, &size, NULL);
    if (code != 0)
        sim_fail(node->sim, "node %u cannot read its log", node->index + 1);
    /* What a state that was fetched has replaced is not served: it may not be what was chosen. */
    if (record.value != NULL && record.slot > replica->trimmed_upto)
        sim_replica_remember(replica, record.slot, record.value);
    if (record.born == replica->born && drive_restore(replica->drive, &record) != 0)
        sim_fail(node->sim, "node %u: its log has lost a slot of group %u", node->index + 1,
                 replica->group);
    sim_replica_apply(replica);
    paxos_value_unref(record.value);
}

static void restore_lost(struct restore *restore, const struct wal_item *item) {
    struct sim_replica *replica = restore->replica;
    struct sim_disk *disk = &replica->node->disk;
    if (!disk->rotten)
        sim_fail(replica->node->sim, "node %u has lost what it wrote", replica->node->index + 1);
    restore->next = disk->ends[item->batch_seq - 1];
    if (replica->since < restore->next)
        drive_restore_lost(replica->drive, true);
    sim_stats->lost_records++;
}

/* What the scan gives is what was written there, and nothing is left out in silence. */
static int on_item(void *context, const struct wal_item *item, struct err *err) {
    (void)err;
    struct restore *restore = context;
    struct sim_replica *replica = restore->replica;
    struct sim_disk *disk = &replica->node->disk;
    if (item->kind == WAL_ITEM_BATCH) {
        if (restore->next != batch_start(disk, item->batch_seq))
            sim_fail(replica->node->sim, "a batch of the log is not at its place");
        return 0;
    }
    if (item->kind == WAL_ITEM_LOST) {
        restore_lost(restore, item);
        return 0;
    }
    uint32_t index = restore->next++;
    const struct sim_record *stored = &disk->records[index];
    bool whole = item->kind == WAL_ITEM_RECORD;
    uint64_t expected = whole ? stored->whole : stored->identity;
    uint64_t found =
        whole ? XXH3_64bits(item->bytes.data, item->bytes.size) : sim_hash_identity(item->bytes);
    if (index >= disk->durable || found != expected || (!whole && !disk->rotten))
        sim_fail(replica->node->sim, "node %u: the log gives another record than was written",
                 replica->node->index + 1);
    sim_stats->damaged_records += !whole;
    if (stored->group == replica->group && index >= replica->since && !stored->trimmed)
        restore_record(replica, item);
    return 0;
}

void sim_disk_restore(struct sim_replica *replica) {
    struct sim_disk *disk = &replica->node->disk;
    static char payload[WAL_BATCH_BLOCKS_MAX * WAL_PAYLOAD];
    struct restore restore = {.replica = replica};
    struct wal_scan scan = {
        .batch_seq = 1, .take = on_item, .context = &restore, .payload = payload};
    const struct wal_image image = {.blocks = disk->image.data,
                                    .block_count = (uint32_t)(disk->image.size / WAL_BLOCK),
                                    .file = 1,
                                    .generation = 1,
                                    .is_last = true};
    struct wal_end end = {.used = 1};
    if (image.block_count > 0)
        wal_scan_segment(&scan, &image, &end, NULL);
    if (end.used != disk->used || restore.next != disk->durable)
        sim_fail(replica->node->sim, "node %u: the log ends elsewhere", replica->node->index + 1);
    if (end.torn > 0)
        memset(disk->image.data + (size_t)end.used * WAL_BLOCK, 0, (size_t)end.torn * WAL_BLOCK);
}
