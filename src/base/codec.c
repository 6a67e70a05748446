/* Bytes as text: hexadecimal and base64. */
#include "base/codec.h"

#include <stdint.h>
#include <string.h>

#include "base/id.h"

char *hex_encode(const void *data, size_t size, char *text) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * size] = '\0';
    return text;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(struct span text, void *ret_data, size_t size) {
    if (text.size != 2 * size)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (hex_digit(text.data[i]) < 0)
            return false;
    uint8_t *bytes = ret_data;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(hex_digit(text.data[2 * i]) << 4 | hex_digit(text.data[2 * i + 1]));
    return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t size, char *text) {
    const uint8_t *bytes = data;
    char *out = text;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word = (uint32_t)bytes[i] << 16;
        word |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        word |= left > 2 ? bytes[i + 2] : 0;
        *out++ = base64_digits[word >> 18];
        *out++ = base64_digits[word >> 12 & 63];
        *out++ = left > 1 ? base64_digits[word >> 6 & 63] : '=';
        *out++ = left > 2 ? base64_digits[word & 63] : '=';
    }
    *out = '\0';
    return text;
}

static int base64_value(char c) {
    const char *at = c != '\0' ? strchr(base64_digits, c) : NULL;
    return at != NULL ? (int)(at - base64_digits) : -1;
}

bool base64_decode(struct span text, void *ret_data, size_t size) {
    if (text.size != BASE64_SIZE(size) - 1)
        return false;
    size_t padding = (3 - size % 3) % 3;
    size_t digits = text.size - padding;
    for (size_t i = 0; i < text.size; i++)
        if (i < digits ? base64_value(text.data[i]) < 0 : text.data[i] != '=')
            return false;
    unsigned spare_bits = padding == 1 ? 3 : padding == 2 ? 15 : 0;
    if (digits > 0 && ((unsigned)base64_value(text.data[digits - 1]) & spare_bits) != 0)
        return false;
    uint8_t *bytes = ret_data;
    uint32_t word = 0;
    size_t written = 0;
    for (size_t i = 0; i < digits; i++) {
        word = word << 6 | (uint32_t)base64_value(text.data[i]);
        if (i % 4 != 0)
            bytes[written++] = (uint8_t)(word >> (i % 4 == 1 ? 4 : i % 4 == 2 ? 2 : 0));
    }
    return true;
}

char *id128_print(struct id128 id, char *text) {
    return hex_encode(id.bytes, sizeof id.bytes, text);
}

bool id128_parse(struct span text, struct id128 *ret_id) {
    return hex_decode(text, ret_id->bytes, sizeof ret_id->bytes);
}
