/* Bytes as text: hexadecimal and base64 (RFC 4648, padded). */
#ifndef QUERN_BASE_CODEC_H
#define QUERN_BASE_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

/* 0 to 15 for a digit of either case, -1 for anything else. */
int hex_digit(char c);
/* Writes 2 * size digits and a NUL; returns text. */
char *hex_encode(const void *data, size_t size, char *text);
/* text must hold exactly 2 * size hex digits of either case. */
bool hex_decode(struct span text, void *ret_data, size_t size);

#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1) /* with the NUL */
char *base64_encode(const void *data, size_t size, char *text);
/* Decodes strictly (alphabet, padding, no spare bits) exactly size bytes. */
bool base64_decode(struct span text, void *ret_data, size_t size);

#endif
