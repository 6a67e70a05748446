/* The state of a node as bytes. Of the core's large arrays only the first places are kept: slots,
 * records and messages are numbered from 1, and the scope is small. */
#include "sim/explore/explore.h"

#define LOCAL_BYTES 16384u

struct local here;
struct drive *here_drive;

static struct intern locals;

struct piece {
    void *at;
    size_t size;
};

static void copy_out(struct piece piece, char **to) {
    memcpy(*to, piece.at, piece.size);
    *to += piece.size;
}

static void copy_in(struct piece piece, char **from) {
    memcpy(piece.at, *from, piece.size);
    *from += piece.size;
}

/* From the first field up to the second. */
#define PIECE(object, from, upto)                                                                  \
    ((struct piece){&(object)->from, (size_t)((char *)&(object)->upto - (char *)&(object)->from)})

static void each_piece(void (*with)(struct piece, char **), char **bytes) {
    struct drive *drive = here_drive;
    struct paxos *paxos = drive->paxos;
    with((struct piece){&here, sizeof here}, bytes);
    with(PIECE(drive, durable_seq, outbox[OUTBOX_MAX]), bytes);
    with(PIECE(drive, outbox_head, held[SLOTS_MAX]), bytes);
    with(PIECE(drive, held_head, running), bytes);
    with(PIECE(paxos, options, peers[0]), bytes);
    for (uint32_t i = 0; i < NODES; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        with(PIECE(peer, node, report.told[SLOTS_MAX + 1]), bytes);
        with(PIECE(peer, report.lost[0], report.lost[SLOTS_MAX + 1]), bytes);
        with(PIECE(peer, report.doubt_upto, recalled), bytes);
        with((struct piece){&peer->recalled, sizeof peer->recalled}, bytes);
    }
    with(PIECE(paxos, self, bytes_upto[RECORDS_MAX + 1]), bytes);
    with(PIECE(paxos, space, ring[SLOTS_MAX + 1]), bytes);
    with(PIECE(paxos, kept_from, recovered[SLOTS_MAX + 1]), bytes);
    with(PIECE(paxos, blocked_slot, reads.queue[0]), bytes);
    with(PIECE(paxos, reads.head, reads.seq), bytes);
    with((struct piece){&paxos->reads.seq, sizeof paxos->reads.seq}, bytes);
}

/* A message that waits twice might as well wait once: what was sent may be delivered again anyway.
 */
static void pack_outbox(void) {
    struct drive *drive = here_drive;
    struct paxos_send packed[OUTBOX_MAX] = {0};
    uint64_t count = 0;
    for (uint64_t i = drive->outbox_head; i < drive->outbox_tail; i++) {
        struct paxos_send send = drive->outbox[i % DRIVE_OUTBOX];
        uint64_t at = 0;
        while (at < count && packed[at].message != send.message)
            at++;
        ASSERT(at < OUTBOX_MAX);
        if (at == count)
            packed[count++] = send;
    }
    memcpy(drive->outbox, packed, sizeof packed);
    drive->outbox_head = 0;
    drive->outbox_tail = count;
}

static void clear_proposer(struct paxos *paxos) {
    memset(&paxos->ballot, 0, sizeof paxos->ballot);
    paxos->retry_at_ns = paxos->heartbeat_at_ns = paxos->slow_since_ns = 0;
    paxos->start = paxos->next_slot = paxos->barrier_slot = 0;
    paxos->open_bytes = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        peer->sent_upto = peer->accepted_upto = peer->rewound_to = peer->seq_acked = 0;
        peer->stalled = false;
    }
}

static void clear_candidate(struct paxos *paxos) {
    for (uint32_t i = 0; i < NODES; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        peer->granted = peer->promised = false;
        peer->page_slot = 0;
        memset(&peer->report, 0, sizeof peer->report);
    }
}

/* What makes no difference is made equal: jitter, places of a queue that are free, and what is left
 * of a time as candidate or leader, which is set anew before it is used again. */
static void normalise(void) {
    struct paxos *paxos = here_drive->paxos;
    rng_init(&paxos->rng, 1);
    pack_outbox();
    if (paxos->role == PAXOS_FOLLOWER)
        clear_proposer(paxos);
    if (paxos->role == PAXOS_FOLLOWER || paxos->role == PAXOS_LEADING)
        clear_candidate(paxos);
}

uint32_t local_save(void) {
    char bytes[LOCAL_BYTES], *end = bytes;
    normalise();
    ASSERT(drive_paxos(here_drive)->last_slot <= SLOTS_MAX);
    ASSERT(here_drive->held_tail <= SLOTS_MAX);
    each_piece(copy_out, &end);
    ASSERT(end <= bytes + sizeof bytes);
    return intern_put(&locals, (struct span){bytes, (size_t)(end - bytes)}, NULL);
}

void local_load(uint32_t number) {
    char *from = (char *)(uintptr_t)intern_get(&locals, number).data;
    each_piece(copy_in, &from);
}

uint32_t local_count(void) {
    return locals.count;
}
