/* Making and checking the headers of volumes and chunks. */
#include "store/chunk.h"

#include "base/assert.h"
#include "base/crc.h"

static const char volume_magic[8] = "quernvol";
static const char chunk_magic[8] = "quernchk";

static uint32_t volume_header_crc(const struct volume_header *header) {
    struct volume_header copy = *header;
    copy.crc = 0;
    return crc32c_update(0, &copy, sizeof copy);
}

void volume_header_seal(struct volume_header *header) {
    memcpy(header->magic, volume_magic, sizeof volume_magic);
    header->version = VOLUME_VERSION;
    header->crc = volume_header_crc(header);
}

int volume_header_check(const struct volume_header *header, struct err *err) {
    if (memcmp(header->magic, volume_magic, sizeof volume_magic) != 0)
        return err_set(err, ERR_CORRUPT, "not a volume");
    if (header->version > VOLUME_VERSION)
        return err_set(err, ERR_VERSION, "volume format %u is newer than %u", header->version,
                       VOLUME_VERSION);
    if (header->crc != volume_header_crc(header))
        return err_set(err, ERR_CORRUPT, "the volume's header fails its checksum");
    return 0;
}

static uint32_t chunk_header_crc(const struct chunk_header *header, uint64_t volume_key) {
    uint32_t crc = crc32c_update(0, &volume_key, sizeof volume_key);
    crc = crc32c_update(crc, header, offsetof(struct chunk_header, crc));
    return crc32c_update(crc, header->block_crcs,
                         chunk_block_count(header->length) * sizeof(uint32_t));
}

void chunk_header_seal(struct chunk_header *header, uint64_t volume_key) {
    memcpy(header->magic, chunk_magic, sizeof chunk_magic);
    header->crc = chunk_header_crc(header, volume_key);
}

bool chunk_header_is_magic(const void *data) {
    return memcmp(data, chunk_magic, sizeof chunk_magic) == 0;
}

bool chunk_header_is_plausible(const struct chunk_header *header, uint64_t volume,
                               uint64_t offset) {
    return chunk_header_is_magic(header) && header->volume == volume && header->offset == offset &&
           header->length <= CHUNK_BYTES_MAX &&
           header->room_bytes >= chunk_header_bytes(header->length) &&
           header->room_bytes <= chunk_header_room(CHUNK_BYTES_MAX) &&
           header->room_bytes % VOLUME_ALIGN == 0;
}

bool chunk_header_is_sound(const struct chunk_header *header, uint64_t volume_key, uint64_t volume,
                           uint64_t offset) {
    return chunk_header_is_plausible(header, volume, offset) &&
           header->crc == chunk_header_crc(header, volume_key);
}

void chunk_header_add(struct chunk_header *header, const void *data, size_t size) {
    ASSERT(header->length + size <= CHUNK_BYTES_MAX);
    const char *bytes = data;
    while (size > 0) {
        size_t in_block = header->length % CHUNK_BLOCK_BYTES;
        size_t step = CHUNK_BLOCK_BYTES - in_block < size ? CHUNK_BLOCK_BYTES - in_block : size;
        uint32_t *crc = &header->block_crcs[header->length / CHUNK_BLOCK_BYTES];
        *crc = crc32c_update(in_block > 0 ? *crc : 0, bytes, step);
        header->length += step;
        bytes += step;
        size -= step;
    }
}

uint32_t chunk_header_total_crc(const struct chunk_header *header) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < chunk_block_count(header->length); i++)
        total = crc32c_combine(total, header->block_crcs[i], chunk_block_bytes(header->length, i));
    return total;
}

bool chunk_block_is_sound(const struct chunk_header *header, uint32_t block, const void *data) {
    ASSERT(block < chunk_block_count(header->length));
    return crc32c_update(0, data, chunk_block_bytes(header->length, block)) ==
           header->block_crcs[block];
}
