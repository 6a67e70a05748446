/* The Range header (RFC 9110, 14.1.2), one range of bytes. */
#ifndef QUERN_GATEWAY_RANGE_H
#define QUERN_GATEWAY_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct range {
    uint64_t offset;
    uint64_t length;
    bool is_partial; /* false: the whole object */
};

/* What of an object of that size the header asks for. A header that is no range of bytes, or
 * several ranges, asks for all of it, as HTTP allows. ERR_INVALID_RANGE when nothing of the range
 * exists; *ret_range is untouched then. */
int range_parse(struct span header, uint64_t size, struct range *ret_range);

/* x-amz-copy-source-range is stricter: "bytes=FIRST-LAST" within the object, else ERR_INVALID. */
int range_parse_copy(struct span header, uint64_t size, struct range *ret_range);

#endif
