/* The newest commands, so that each is applied at most once.
 *
 * The state holds one record per slot: for each of its commands the id (16 bytes), the size of the
 * reply (u32) and the reply. Slot 0's is the number of the newest slot that was forgotten. Memory
 * holds the ids' places only: a ring of them in order of application, chained by hash. Chains run
 * from newer to older, so that forgetting the oldest only moves `oldest`: a position before it ends
 * the chain. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "core/catalog_impl.h"

#define ID_SIZE 16u
#define ROOM_MIN 256u
#define REPLY_BYTES_MAX 1024u /* a longer one is remembered by its code */

struct catalog_seen {
    uint64_t hash; /* the id's first bytes: ids are random */
    uint64_t slot;
    uint64_t older; /* position + 1 of the next of the chain */
};

static uint64_t hash_of(const void *id) {
    uint64_t hash;
    memcpy(&hash, id, sizeof hash);
    return hash;
}

static struct catalog_seen *seen_at(const struct catalog_window *window, uint64_t position) {
    return &window->ring[position & (window->room - 1)];
}

static void link_in(struct catalog_window *window, uint64_t position) {
    struct catalog_seen *seen = seen_at(window, position);
    uint64_t *head = &window->heads[seen->hash & (window->room - 1)];
    seen->older = *head;
    *head = position + 1;
}

static void grow(struct catalog_window *window) {
    struct catalog_window larger = *window;
    larger.room = window->room > 0 ? window->room * 2 : ROOM_MIN;
    larger.ring = calloc(larger.room, sizeof *larger.ring);
    larger.heads = calloc(larger.room, sizeof *larger.heads);
    if (larger.ring == NULL || larger.heads == NULL)
        panic("out of memory for remembered commands");
    for (uint64_t position = window->oldest; position < window->next; position++) {
        *seen_at(&larger, position) = *seen_at(window, position);
        link_in(&larger, position);
    }
    free(window->ring);
    free(window->heads);
    *window = larger;
}

static void push(struct catalog_window *window, const void *id, uint64_t slot) {
    if (window->next - window->oldest == window->room)
        grow(window);
    *seen_at(window, window->next) = (struct catalog_seen){.hash = hash_of(id), .slot = slot};
    link_in(window, window->next);
    window->next++;
}

/* Takes the first remembered command off record. */
static bool take(struct span *record, struct span *ret_id, struct span *ret_reply) {
    uint32_t size;
    if (record->size < ID_SIZE + sizeof size)
        return false;
    memcpy(&size, record->data + ID_SIZE, sizeof size);
    if (record->size - ID_SIZE - sizeof size < size)
        return false;
    *ret_id = (struct span){record->data, ID_SIZE};
    *ret_reply = (struct span){record->data + ID_SIZE + sizeof size, size};
    size_t used = ID_SIZE + sizeof size + size;
    *record = (struct span){record->data + used, record->size - used};
    return true;
}

static struct catalog_key window_key(uint32_t group, uint64_t slot) {
    struct catalog_key key = catalog_key(group, TABLE_WINDOW);
    catalog_key_number(&key, slot, 8);
    return key;
}

static int load_slot(struct catalog_window *window, struct span rest, struct span record,
                     struct err *err) {
    uint64_t slot = 0;
    if (rest.size != 8)
        return err_set(err, ERR_CORRUPT, "the remembered commands have a bad key");
    for (unsigned i = 0; i < 8; i++)
        slot = slot << 8 | (uint8_t)rest.data[i];
    if (slot == 0 && record.size == sizeof window->forgotten) {
        memcpy(&window->forgotten, record.data, sizeof window->forgotten);
        return 0;
    }
    struct span id, reply;
    while (take(&record, &id, &reply))
        push(window, id.data, slot);
    return record.size == 0
               ? 0
               : err_set(err, ERR_CORRUPT, "the remembered commands of a slot are cut off");
}

int catalog_window_open(struct catalog_window *window, uint32_t group, const struct catalog_kv *kv,
                        struct err *err) {
    *window = (struct catalog_window){.oldest = 0};
    struct catalog_step step = {.group = group, .kv = kv, .err = err};
    struct catalog_key prefix = catalog_key(group, TABLE_WINDOW);
    struct catalog_scan scan;
    int rc = 0;
    catalog_scan_open(&scan, &step, &prefix);
    for (; rc == 0 && catalog_scan_valid(&scan); catalog_scan_next(&scan))
        rc = load_slot(window, catalog_scan_rest(&scan), catalog_scan_value(&scan), err);
    catalog_scan_close(&scan);
    return rc != 0 ? rc : step.broken;
}

void catalog_window_close(struct catalog_window *window) {
    free(window->ring);
    free(window->heads);
    buf_fini(&window->record);
}

static void forget_oldest_slot(struct catalog_window *window, struct catalog_step *step) {
    uint64_t slot = seen_at(window, window->oldest)->slot;
    struct catalog_key key = window_key(step->group, slot);
    catalog_erase(step, &key);
    while (window->oldest < window->next && seen_at(window, window->oldest)->slot == slot)
        window->oldest++;
    window->forgotten = slot;
}

static void store_forgotten(const struct catalog_window *window, struct catalog_step *step) {
    struct catalog_key key = window_key(step->group, 0);
    catalog_store_bytes(step, &key, &window->forgotten, sizeof window->forgotten);
}

void catalog_window_begin(struct catalog_window *window, struct catalog_step *step, uint64_t slot,
                          unsigned count) {
    ASSERT(count <= CATALOG_WINDOW);
    uint64_t forgotten = window->forgotten;
    while (window->next - window->oldest + count > CATALOG_WINDOW)
        forget_oldest_slot(window, step);
    if (window->forgotten > forgotten)
        store_forgotten(window, step);
    buf_clear(&window->record);
    window->slot = slot;
}

static bool find_in_record(struct span record, struct span wanted, struct buf *ret_reply) {
    struct span id, reply;
    while (take(&record, &id, &reply)) {
        if (span_equal(id, wanted)) {
            buf_append(ret_reply, reply.data, reply.size);
            return true;
        }
    }
    return false;
}

static bool find_in_slot(struct catalog_window *window, struct catalog_step *step, uint64_t slot,
                         struct span id, struct buf *ret_reply) {
    if (slot == window->slot)
        return find_in_record(buf_span(&window->record), id, ret_reply);
    _cleanup_(buf_finip) struct buf record = BUF_INIT;
    struct catalog_key key = window_key(step->group, slot);
    int rc = step->kv->get(step->kv->context, catalog_key_span(&key), &record, step->err);
    if (rc != 0 && step->broken == 0) /* it must be there */
        step->broken = rc == ERR_NOT_FOUND
                           ? err_set(step->err, ERR_CORRUPT, "remembered commands are missing")
                           : rc;
    return rc == 0 && find_in_record(buf_span(&record), id, ret_reply);
}

bool catalog_window_find(struct catalog_window *window, struct catalog_step *step,
                         ProtobufCBinaryData id, struct buf *ret_reply) {
    if (id.len != ID_SIZE || window->room == 0)
        return false;
    uint64_t hash = hash_of(id.data), at = window->heads[hash & (window->room - 1)];
    while (at > window->oldest && step->broken == 0) {
        const struct catalog_seen *seen = seen_at(window, at - 1);
        if (seen->hash == hash && find_in_slot(window, step, seen->slot, pb_span(id), ret_reply))
            return true;
        at = seen->older;
    }
    return false;
}

static void append_reply(struct buf *record, struct span reply, int code) {
    _cleanup_(buf_finip) struct buf short_reply = BUF_INIT;
    if (reply.size > REPLY_BYTES_MAX) {
        Pb__Reply only_code = PB__REPLY__INIT;
        only_code.code = code;
        pb_pack(&short_reply, &only_code.base);
        reply = buf_span(&short_reply);
    }
    uint32_t size = (uint32_t)reply.size;
    buf_append(record, &size, sizeof size); /* little-endian, as every machine it runs on */
    buf_append(record, reply.data, reply.size);
}

void catalog_window_add(struct catalog_window *window, struct catalog_step *step,
                        ProtobufCBinaryData id, struct span reply) {
    if (id.len != ID_SIZE)
        return;
    buf_append(&window->record, id.data, ID_SIZE);
    append_reply(&window->record, reply, step->reply->code);
    push(window, id.data, window->slot);
}

void catalog_window_end(struct catalog_window *window, struct catalog_step *step) {
    if (window->record.failed)
        panic("out of memory for remembered commands");
    if (window->record.size == 0)
        return;
    struct catalog_key key = window_key(step->group, window->slot);
    catalog_store_bytes(step, &key, window->record.data, window->record.size);
}
