/* Rows: a head's size says where the next one begins. */
#include "meta/row.h"

#include <string.h>

static void add(struct buf *row, const void *head, size_t head_size, struct span bytes) {
    buf_append(row, head, head_size);
    buf_append(row, bytes.data, bytes.size);
}

void row_add_call(struct buf *row, const struct meta_call *head, struct span bytes) {
    add(row, head, sizeof *head, bytes);
}

void row_add_answer(struct buf *row, const struct meta_call_answer *head, struct span bytes) {
    add(row, head, sizeof *head, bytes);
}

/* The next size bytes, or NULL. */
static const char *take(struct span *row, size_t size) {
    const char *taken = row->data;
    if (size > row->size)
        return NULL;
    *row = (struct span){row->data + size, row->size - size};
    return taken;
}

static int next(struct span *row, void *ret_head, size_t head_size) {
    if (row->size == 0)
        return ERR_NOT_FOUND;
    const char *head = take(row, head_size);
    if (head == NULL)
        return ERR_PROTOCOL;
    memcpy(ret_head, head, head_size);
    return 0;
}

int row_next_call(struct span *row, struct meta_call *ret_head, struct span *ret_bytes) {
    int r = next(row, ret_head, sizeof *ret_head);
    if (r != 0)
        return r;
    bool known = ret_head->kind == META_CALL_COMMAND || ret_head->kind == META_CALL_QUERY;
    *ret_bytes = (struct span){take(row, ret_head->size), ret_head->size};
    return known && ret_bytes->data != NULL ? 0 : ERR_PROTOCOL;
}

int row_next_answer(struct span *row, struct meta_call_answer *ret_head, struct span *ret_bytes) {
    int r = next(row, ret_head, sizeof *ret_head);
    if (r != 0)
        return r;
    *ret_bytes = (struct span){take(row, ret_head->size), ret_head->size};
    return ret_head->code <= 0 && ret_bytes->data != NULL ? 0 : ERR_PROTOCOL;
}
