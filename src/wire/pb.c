/* protobuf-c with the house's memory. */
#include "wire/pb.h"

static void *cut(void *arena, size_t size) {
    return arena_alloc(arena, size);
}

static void keep(void *arena, void *pointer) {
    (void)arena;
    (void)pointer;
}

int pb_unpack(const ProtobufCMessageDescriptor *descriptor, struct span bytes, struct arena *arena,
              void *ret_message, struct err *err) {
    ProtobufCAllocator allocator = {.alloc = cut, .free = keep, .allocator_data = arena};
    ProtobufCMessage *message =
        protobuf_c_message_unpack(descriptor, &allocator, bytes.size, (const uint8_t *)bytes.data);
    if (message == NULL)
        return arena->overflowed
                   ? err_set(err, ERR_LIMIT, "a %s message is too large", descriptor->short_name)
                   : err_set(err, ERR_CORRUPT, "not a %s message", descriptor->short_name);
    *(ProtobufCMessage **)ret_message = message;
    return 0;
}

void pb_pack(struct buf *buf, const ProtobufCMessage *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    char *to = buf_reserve(buf, size);
    if (to == NULL)
        return;
    protobuf_c_message_pack(message, (uint8_t *)to);
    buf->size += size;
}

struct id128 pb_id128(ProtobufCBinaryData data) {
    struct id128 id = {{0}};
    if (data.len == sizeof id.bytes)
        memcpy(id.bytes, data.data, sizeof id.bytes);
    return id;
}
