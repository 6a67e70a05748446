/* protobuf-c with the house's memory: unpack into an arena, pack into a buf. */
#ifndef QUERN_WIRE_PB_H
#define QUERN_WIRE_PB_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "catalog.pb-c.h"

/* Unpacks into the arena (nothing to free). ERR_CORRUPT on bad bytes, ERR_LIMIT when the arena is
 * full. */
int pb_unpack(const ProtobufCMessageDescriptor *descriptor, struct span bytes, struct arena *arena,
              void *ret_message, struct err *err);

/* Appends the packed message to buf (buf->failed tells of overflow). */
void pb_pack(struct buf *buf, const ProtobufCMessage *message);

static inline ProtobufCBinaryData pb_bytes(const void *data, size_t size) {
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}
static inline struct span pb_span(ProtobufCBinaryData data) {
    return (struct span){(const char *)data.data, data.len};
}
/* Text for a message, which does not change it. */
static inline char *pb_text(const char *text) {
    return (char *)(uintptr_t)text;
}
/* An id that points into *id, which must outlive the message. */
static inline ProtobufCBinaryData pb_id(const struct id128 *id) {
    return pb_bytes(id->bytes, sizeof id->bytes);
}
/* Zero when it is not 16 bytes. */
struct id128 pb_id128(ProtobufCBinaryData data);

#endif
