/* META_CALLS and META_ANSWERS: rows of heads (meta/request.h), each followed by its bytes. */
#ifndef QUERN_META_ROW_H
#define QUERN_META_ROW_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "meta/request.h"

void row_add_call(struct buf *row, const struct meta_call *head, struct span bytes);
void row_add_answer(struct buf *row, const struct meta_call_answer *head, struct span bytes);

/* Takes the first off; bytes point into the row. ERR_NOT_FOUND at its end, ERR_PROTOCOL. */
int row_next_call(struct span *row, struct meta_call *ret_head, struct span *ret_bytes);
int row_next_answer(struct span *row, struct meta_call_answer *ret_head, struct span *ret_bytes);

#endif
