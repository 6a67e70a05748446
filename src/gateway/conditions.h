/* Conditional requests (RFC 9110, 13): If-Match and its family, also those of a copy's source. */
#ifndef QUERN_GATEWAY_CONDITIONS_H
#define QUERN_GATEWAY_CONDITIONS_H

#include <stdint.h>

#include "base/span.h"

struct conditions { /* values of the headers; empty when absent */
    struct span if_match;
    struct span if_none_match;
    struct span if_modified_since;
    struct span if_unmodified_since;
};

/* 0, ERR_PRECONDITION_FAILED or ERR_NOT_MODIFIED, in the order of precedence that RFC 9110, 13.2.2
 * gives. etag is without quotes; dates that are none are ignored. */
int conditions_check(const struct conditions *conditions, const char *etag, uint64_t modified_ms);

/* One entity tag without W/ and quotes. */
struct span conditions_etag(struct span text);

#endif
