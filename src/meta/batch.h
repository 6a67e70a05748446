/* A slot's value: the commands that were proposed together, {u32 count, {u32 size, bytes} ...},
 * little-endian. */
#ifndef QUERN_META_BATCH_H
#define QUERN_META_BATCH_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define BATCH_COMMANDS_MAX 4096u
#define BATCH_HEAD 4u         /* bytes before the commands */
#define BATCH_COMMAND_HEAD 4u /* bytes before each */

/* Writes the commands at data, which has room for BATCH_HEAD plus each with its head. */
void batch_begin(char *data, uint32_t count);
char *batch_add(char *to, struct span command); /* at data + BATCH_HEAD, then where it returned */

/* Splits a value; the spans point into it. Errors: ERR_CORRUPT. */
int batch_decode(struct span value, struct span ret_commands[BATCH_COMMANDS_MAX],
                 uint32_t *ret_count, struct err *err);

#endif
