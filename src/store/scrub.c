/* In the order of the ring, from a random place on, so that a node that is started often does not
 * read the same ones again and again. */
#include "store/scrub.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "os/random.h"
#include "os/scrubber.h"
#include "store/local.h"

#define PERIOD_MS ((uint64_t)14 * 24 * 3600 * 1000)
#define ITEMS_MAX 64u /* of the index at once */

struct chunk_scrub {
    struct store *store;
    struct scrubber *scrubber;
    struct index_item items[ITEMS_MAX];
    unsigned count;
    unsigned next;
    struct id128 after; /* the last one looked at; zero: begin anew */
};

static uint64_t total(void *context) {
    struct chunk_scrub *scrub = context;
    uint64_t chunks, bytes;
    index_totals(scrub->store->index, &chunks, &bytes);
    return chunks * VOLUME_ALIGN + bytes;
}

/* False at the end of the index, and when it cannot be read. */
static bool more_items(struct chunk_scrub *scrub) {
    struct err err = {0};
    scrub->next = scrub->count = 0;
    int rc = index_list(scrub->store->index, 0, 0, scrub->after, scrub->items, ITEMS_MAX,
                        &scrub->count, &err);
    if (rc != 0)
        log_warn("scrub: %s", err_message(&err, rc));
    if (scrub->count == 0)
        scrub->after = (struct id128){0};
    return scrub->count > 0;
}

static uint64_t read_chunk(void *context, uint64_t bytes) {
    (void)bytes;
    struct chunk_scrub *scrub = context;
    char text[ID128_HEX_SIZE];
    struct err err = {0};
    if (scrub->next == scrub->count && !more_items(scrub))
        return 0;
    const struct index_item *item = &scrub->items[scrub->next++];
    scrub->after = item->id;
    if (item->entry.state != CHUNK_LIVE)
        return 1;
    if (local_verify(scrub->store, item->id, &err) == ERR_CORRUPT)
        log_warn("scrub: chunk %s: %s; it is fetched from another node",
                 id128_print(item->id, text), err.text);
    return VOLUME_ALIGN + item->entry.length;
}

struct chunk_scrub *scrub_chunks_start(struct store *store) {
    struct chunk_scrub *scrub = calloc(1, sizeof *scrub);
    if (scrub == NULL)
        panic("out of memory for the scrub of chunks");
    scrub->store = store;
    scrub->after = random_id128();
    scrub->scrubber = scrubber_start(&(struct scrub_work){
        .period_ms = PERIOD_MS, .total = total, .read = read_chunk, .context = scrub});
    return scrub;
}

struct chunk_scrub *scrub_chunks_stop(struct chunk_scrub *scrub) {
    if (scrub == NULL)
        return NULL;
    scrubber_stop(scrub->scrubber);
    free(scrub);
    return NULL;
}
