/* Reading and writing histories. */
#include "faults/history.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/codec.h"
#include "os/file.h"

static const char *const kinds[] = {[LINEAR_READ] = "read",
                                    [LINEAR_PUT] = "put",
                                    [LINEAR_PUT_IF_MATCH] = "put-if-match",
                                    [LINEAR_PUT_IF_ABSENT] = "put-if-absent",
                                    [LINEAR_DELETE] = "delete",
                                    [LINEAR_DELETE_IF_MATCH] = "delete-if-match"};
static const char *const outcomes[] = {[LINEAR_DONE] = "done",
                                       [LINEAR_REFUSED] = "refused",
                                       [LINEAR_MISSING] = "missing",
                                       [LINEAR_UNKNOWN] = "unknown"};

/* A listing that still has to be taken apart. */
struct listing {
    struct history_record read; /* its key is the prefix */
    struct span items;
};

struct listings {
    struct listing *rows;
    size_t count, room;
};

/* ---- writing ---- */

const char *history_print_value(uint64_t value, char text[HISTORY_VALUE_SIZE]) {
    if (value == LINEAR_ABSENT)
        return "-";
    snprintf(text, HISTORY_VALUE_SIZE, "%016" PRIx64, value);
    return text;
}

void history_print(FILE *file, const struct history_record *record) {
    char value[HISTORY_VALUE_SIZE], expected[HISTORY_VALUE_SIZE];
    const struct linear_op *op = &record->op;
    fprintf(file, "%s %" PRIu64 " %" PRIu64 " %u %s %.*s %s %s\n", kinds[op->kind], op->invoke_ns,
            op->return_ns, op->tag, outcomes[op->outcome], SPAN_ARGS(record->key),
            history_print_value(op->value, value), history_print_value(op->expected, expected));
}

void history_print_list(FILE *file, uint64_t invoke_ns, uint64_t return_ns, uint32_t gateway,
                        struct span prefix) {
    fprintf(file, "list %" PRIu64 " %" PRIu64 " %u done %.*s", invoke_ns, return_ns, gateway,
            SPAN_ARGS(prefix));
}

/* ---- reading: fields ---- */

static bool take_number(struct span *line, uint64_t max, uint64_t *ret_number) {
    struct span field;
    uint64_t number = 0;
    span_cut(line, ' ', &field);
    for (size_t i = 0; i < field.size; i++) {
        if (field.data[i] < '0' || field.data[i] > '9' || number > max / 10)
            return false;
        number = number * 10 + (uint64_t)(field.data[i] - '0');
    }
    *ret_number = number;
    return field.size > 0 && number <= max;
}

static bool take_word(struct span *line, const char *const *words, size_t count, int *ret_index) {
    struct span field;
    span_cut(line, ' ', &field);
    for (size_t i = 0; i < count; i++)
        if (span_is(field, words[i])) {
            *ret_index = (int)i;
            return true;
        }
    return false;
}

static bool parse_value(struct span text, uint64_t *ret_value) {
    uint8_t bytes[8];
    *ret_value = LINEAR_ABSENT;
    if (span_is(text, "-"))
        return true;
    if (!hex_decode(text, bytes, sizeof bytes))
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        *ret_value = *ret_value << 8 | bytes[i];
    return *ret_value != LINEAR_ABSENT;
}

static bool take_value(struct span *line, uint64_t *ret_value) {
    struct span field;
    span_cut(line, ' ', &field);
    return parse_value(field, ret_value);
}

/* What lies between the kind and the value. */
static bool take_middle(struct span *line, struct history_record *record) {
    uint64_t gateway;
    int outcome;
    if (!take_number(line, UINT64_MAX, &record->op.invoke_ns) ||
        !take_number(line, UINT64_MAX, &record->op.return_ns) ||
        !take_number(line, UINT32_MAX, &gateway) ||
        !take_word(line, outcomes, sizeof outcomes / sizeof *outcomes, &outcome))
        return false;
    record->op.outcome = (enum linear_outcome)outcome;
    record->op.tag = (uint32_t)gateway;
    span_cut(line, ' ', &record->key);
    return record->key.size > 0 && record->op.invoke_ns < record->op.return_ns;
}

/* ---- reading: lines ---- */

static int add_record(struct history *history, const struct history_record *record,
                      struct err *err) {
    if (history->count == history->room) {
        size_t room = history->room == 0 ? 4096 : history->room * 2;
        if (room > HISTORY_RECORDS_MAX)
            return err_set(err, ERR_LIMIT, "a history of more than %" PRIu64 " operations",
                           (uint64_t)HISTORY_RECORDS_MAX);
        struct history_record *records = realloc(history->records, room * sizeof *records);
        if (records == NULL)
            return err_set(err, ERR_NOMEM, "out of memory for %zu operations", room);
        history->records = records;
        history->room = room;
    }
    history->records[history->count++] = *record;
    return 0;
}

static int add_listing(struct listings *listings, struct span line, struct err *err) {
    struct listing listing = {.read.op.kind = LINEAR_READ};
    if (!take_middle(&line, &listing.read) || listing.read.op.outcome != LINEAR_DONE)
        return ERR_CORRUPT;
    listing.items = line;
    if (listings->count == listings->room) {
        size_t room = listings->room == 0 ? 256 : listings->room * 2;
        struct listing *rows = realloc(listings->rows, room * sizeof *rows);
        if (rows == NULL)
            return err_set(err, ERR_NOMEM, "out of memory for %zu listings", room);
        listings->rows = rows;
        listings->room = room;
    }
    listings->rows[listings->count++] = listing;
    return 0;
}

static int read_line(struct history *history, struct listings *listings, struct span line,
                     struct err *err) {
    static const char list_word[] = "list ";
    struct history_record record = {0};
    int kind;
    if (line.size == 0 || line.data[0] == '#')
        return 0;
    history->lines++;
    if (span_starts_with(line, SPAN_LITERAL(list_word)))
        return add_listing(
            listings,
            (struct span){line.data + sizeof list_word - 1, line.size - (sizeof list_word - 1)},
            err);
    if (!take_word(&line, kinds, sizeof kinds / sizeof *kinds, &kind) ||
        !take_middle(&line, &record) || !take_value(&line, &record.op.value) ||
        !take_value(&line, &record.op.expected) || line.size > 0)
        return ERR_CORRUPT;
    record.op.kind = (enum linear_kind)kind;
    return add_record(history, &record, err);
}

static int read_lines(struct history *history, struct listings *listings, struct err *err) {
    struct span rest = {history->text, history->text_size}, line;
    for (uint64_t number = 1; rest.size > 0; number++) {
        bool is_whole = span_cut(&rest, '\n', &line);
        int code = is_whole ? read_line(history, listings, line, err) : ERR_CORRUPT;
        if (code == ERR_CORRUPT)
            return err_set(err, code, "line %" PRIu64 " is not understood", number);
        if (code != 0)
            return code;
    }
    return 0;
}

/* ---- listings become reads ---- */

static int compare_records(const void *a, const void *b) {
    const struct history_record *x = a, *y = b;
    int order = span_compare(x->key, y->key);
    return order != 0 ? order
                      : (x->op.invoke_ns > y->op.invoke_ns) - (x->op.invoke_ns < y->op.invoke_ns);
}

static void sort(struct history *history) {
    if (history->count > 0)
        qsort(history->records, history->count, sizeof *history->records, compare_records);
}

/* The first of the sorted records whose key is not before the key. */
static size_t find_key(const struct history *history, size_t count, struct span key) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (span_compare(history->records[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* "key=value" at the front of items; false at their end, and with items left when it is none. */
static bool take_item(struct span *items, struct span *ret_key, uint64_t *ret_value) {
    struct span item, rest = *items;
    if (rest.size == 0)
        return false;
    span_cut(&rest, ' ', &item);
    if (!span_cut(&item, '=', ret_key) || !parse_value(item, ret_value))
        return false;
    *items = rest;
    return true;
}

/* One read of each key below the prefix: a merge of the history's keys with the listed ones, both
 * sorted. A listed key that nobody ever wrote gets its read too. */
static int expand(struct history *history, size_t count, const struct listing *listing,
                  struct err *err) {
    struct history_record read = listing->read;
    struct span items = listing->items, listed, prefix = listing->read.key;
    size_t at = find_key(history, count, prefix);
    uint64_t value;
    bool more = take_item(&items, &listed, &value);
    int code = 0;
    for (;;) {
        bool known = at < count && span_starts_with(history->records[at].key, prefix);
        if (code != 0 || (!known && !more))
            return code != 0 || items.size == 0 ? code : ERR_CORRUPT;
        int order = !known ? 1 : !more ? -1 : span_compare(history->records[at].key, listed);
        read.key = order <= 0 ? history->records[at].key : listed;
        read.op.value = order < 0 ? LINEAR_ABSENT : value;
        code = add_record(history, &read, err);
        while (order <= 0 && at < count && span_equal(history->records[at].key, read.key))
            at++;
        if (order >= 0)
            more = take_item(&items, &listed, &value);
    }
}

static int expand_all(struct history *history, const struct listings *listings, struct err *err) {
    size_t count = history->count;
    for (size_t i = 0; i < listings->count; i++) {
        int code = expand(history, count, &listings->rows[i], err);
        if (code == ERR_CORRUPT)
            return err_set(err, code, "the listing of %.*s at %" PRIu64 " is not understood",
                           SPAN_ARGS(listings->rows[i].read.key),
                           listings->rows[i].read.op.invoke_ns);
        if (code != 0)
            return code;
    }
    return 0;
}

int history_read(const char *path, struct history *history, struct err *err) {
    struct buf text = {.limit = (size_t)16 << 30};
    struct listings listings = {0};
    int code = file_read_whole(path, text.limit, &text, err);
    history->text = text.data;
    history->text_size = text.size;
    if (code == 0)
        code = read_lines(history, &listings, err);
    if (code == 0) {
        sort(history);
        code = expand_all(history, &listings, err);
    }
    if (code == 0)
        sort(history);
    free(listings.rows);
    return code;
}

void history_fini(struct history *history) {
    free(history->records);
    free(history->text);
    *history = (struct history){0};
}
