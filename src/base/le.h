/* Little-endian integers in bytes, at any alignment: the order of all that goes to disk or wire. */
#ifndef QUERN_BASE_LE_H
#define QUERN_BASE_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void le16_put(void *to, uint16_t value) {
    value = htole16(value);
    memcpy(to, &value, sizeof value);
}

static inline void le32_put(void *to, uint32_t value) {
    value = htole32(value);
    memcpy(to, &value, sizeof value);
}

static inline void le64_put(void *to, uint64_t value) {
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

static inline uint16_t le16_get(const void *from) {
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return le16toh(value);
}

static inline uint32_t le32_get(const void *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return le32toh(value);
}

static inline uint64_t le64_get(const void *from) {
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

#endif
