/* ListObjects of one shard: visible and provisional records merged in the order of their keys, with
 * common prefixes skipped over by seeking behind them.
 *
 * A common prefix is listed when a visible key has it and it is behind start_after. Provisional
 * records of a prefix that no visible key has are listed one by one: only the reader, who knows
 * their jobs, can say whether the prefix is there. */
#include "core/catalog_impl.h"

struct list {
    struct catalog_step *step;
    const Pb__ListObjects *query;
    struct catalog_scan visible;
    struct catalog_scan provisional;
    size_t limit;
    size_t items;
    size_t bytes;
    size_t object_room;
};

/* ---- where the two scans are ---- */

/* The key a scan stands on; false at the end of what the prefix allows. */
static bool key_at(struct list *list, struct catalog_scan *scan, struct span *ret_key) {
    if (!catalog_scan_valid(scan))
        return false;
    struct span key = catalog_scan_rest(scan);
    if (scan == &list->provisional)
        key.size = strnlen(key.data, key.size);
    if (!span_starts_with(key, span_of(list->query->prefix)))
        return false;
    *ret_key = key;
    return true;
}

static void seek_both(struct list *list, struct span text, bool behind) {
    struct catalog_scan *scans[] = {&list->visible, &list->provisional};
    for (unsigned i = 0; i < 2; i++) {
        struct catalog_key key = scans[i]->prefix;
        catalog_key_bytes(&key, text.data, text.size);
        if (behind) /* keys hold no byte 0, and behind a provisional key stands one */
            catalog_key_number(&key, 1, 1);
        catalog_scan_seek(scans[i], &key);
    }
}

/* To the first key that does not begin with prefix: its last byte that can be is raised, the rest
 * cut off. */
static void seek_past_prefix(struct list *list, struct span prefix) {
    char text[CATALOG_KEY_BYTES_MAX];
    memcpy(text, prefix.data, prefix.size);
    size_t size = prefix.size;
    while (size > 0 && (uint8_t)text[size - 1] == 0xff)
        size--;
    if (size == 0) {
        list->limit = list->items; /* no key can follow */
        return;
    }
    text[size - 1]++;
    seek_both(list, (struct span){text, size}, false);
}

/* ---- what is listed ---- */

static bool find_common_prefix(const struct list *list, struct span key, struct span *ret_prefix) {
    struct span delimiter = span_of(list->query->delimiter);
    size_t from = strlen(list->query->prefix);
    if (delimiter.size == 0 || key.size < from)
        return false;
    const char *found = memmem(key.data + from, key.size - from, delimiter.data, delimiter.size);
    if (found == NULL)
        return false;
    *ret_prefix = (struct span){key.data, (size_t)(found - key.data) + delimiter.size};
    return true;
}

static char *copy(struct list *list, struct span text) {
    list->bytes += text.size;
    return memcpy(catalog_alloc(list->step, text.size + 1), text.data, text.size);
}

/* False, and the reply truncated, when the reply is full. */
static bool has_room(struct list *list) {
    if (list->items < list->limit && list->bytes < CATALOG_REPLY_BYTES_MAX)
        return true;
    list->step->reply->truncated = true;
    return false;
}

static void add_object(struct list *list, struct catalog_scan *scan, char *key) {
    Pb__Reply *reply = list->step->reply;
    if (reply->n_objects == list->object_room) {
        size_t room = list->object_room * 2 + 64;
        Pb__ListedObject **larger = catalog_alloc(list->step, room * sizeof *larger);
        if (reply->n_objects > 0)
            memcpy(larger, reply->objects, reply->n_objects * sizeof *larger);
        reply->objects = larger;
        list->object_room = room;
    }
    Pb__ListedObject *listed = catalog_alloc(list->step, sizeof *listed);
    pb__listed_object__init(listed);
    listed->key = key;
    listed->object = catalog_scan_record(scan, &pb__object__descriptor);
    if (listed->object == NULL)
        return;
    listed->object->n_chunks = listed->object->n_headers = listed->object->n_metadata = 0;
    listed->object->n_part_chunks = 0;
    listed->object->inline_data = pb_bytes(NULL, 0);
    list->bytes += 128;
    reply->objects[reply->n_objects++] = listed;
}

/* All records of the key. */
static void add_key(struct list *list, struct span key) {
    char *text = copy(list, key);
    struct span wanted = span_of(text), at;
    if (key_at(list, &list->visible, &at) && span_equal(at, wanted)) {
        add_object(list, &list->visible, text);
        catalog_scan_next(&list->visible);
    }
    while (key_at(list, &list->provisional, &at) && span_equal(at, wanted)) {
        add_object(list, &list->provisional, text);
        catalog_scan_next(&list->provisional);
    }
    list->items++;
    list->step->reply->next = text;
}

/* False when the reply is full. */
static bool add_prefix(struct list *list, struct span prefix) {
    if (span_compare(prefix, span_of(list->query->start_after)) > 0) {
        if (!has_room(list))
            return false;
        Pb__Reply *reply = list->step->reply;
        reply->prefixes[reply->n_prefixes++] = copy(list, prefix);
        reply->next = reply->prefixes[reply->n_prefixes - 1];
        list->items++;
    }
    seek_past_prefix(list, prefix);
    return true;
}

/* False at the end. */
static bool list_next(struct list *list) {
    struct span visible, provisional, prefix;
    bool has_visible = key_at(list, &list->visible, &visible);
    bool has_provisional = key_at(list, &list->provisional, &provisional);
    if (!has_visible && !has_provisional)
        return false;
    bool visible_first =
        has_visible && (!has_provisional || span_compare(visible, provisional) <= 0);
    struct span key = visible_first ? visible : provisional;
    if (find_common_prefix(list, key, &prefix) && has_visible && span_starts_with(visible, prefix))
        return add_prefix(list, prefix);
    if (!has_room(list))
        return false;
    add_key(list, key);
    return true;
}

/* ---- the query ---- */

static bool check_list(struct catalog_step *step, const Pb__ListObjects *query) {
    if (!catalog_check_name(step, query->bucket, "-"))
        return false;
    if (strlen(query->prefix) > CATALOG_KEY_BYTES_MAX ||
        strlen(query->start_after) > CATALOG_KEY_BYTES_MAX)
        catalog_refuse(step, ERR_KEY_TOO_LONG, "a prefix or marker is too long");
    else if (!catalog_bucket_is_open(step, query->bucket))
        catalog_refuse(step, ERR_NO_SUCH_BUCKET, "there is no bucket %s", query->bucket);
    return step->reply->code == 0;
}

static void open_table(struct list *list, struct catalog_scan *scan, enum catalog_table table) {
    struct catalog_key prefix = catalog_key(list->step->group, table);
    catalog_key_string(&prefix, list->query->bucket);
    catalog_scan_open(scan, list->step, &prefix);
}

void catalog_list_objects(struct catalog_step *step, const Pb__ListObjects *query) {
    if (!check_list(step, query))
        return;
    struct list list = {.step = step, .query = query};
    list.limit =
        query->limit > 0 && query->limit < CATALOG_LIST_MAX ? query->limit : CATALOG_LIST_MAX;
    step->reply->prefixes = catalog_alloc(step, list.limit * sizeof *step->reply->prefixes);
    open_table(&list, &list.visible, TABLE_OBJECT);
    open_table(&list, &list.provisional, TABLE_PROVISIONAL);
    struct span prefix = span_of(query->prefix), after = span_of(query->start_after);
    bool from_marker = after.size > 0 && span_compare(after, prefix) >= 0;
    seek_both(&list, from_marker ? after : prefix, from_marker);
    while (list_next(&list))
        ;
    catalog_scan_close(&list.visible);
    catalog_scan_close(&list.provisional);
}
