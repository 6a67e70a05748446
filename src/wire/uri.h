/* Request targets: path and query taken apart, percent-decoded strictly, and in the canonical form
 * that signatures use. */
#ifndef QUERN_WIRE_URI_H
#define QUERN_WIRE_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#define URI_PARAMS_MAX 100u

/* Decoded. "?acl" has an empty value as "?acl=" has. */
struct uri_param {
    struct span name;
    struct span value;
};

struct uri {
    struct span path;         /* decoded: "/bucket/some key" */
    struct span bucket;       /* "bucket"; empty for "/" */
    struct span key;          /* "some key": all after the second slash; empty for a bucket */
    struct uri_param *params; /* in the order sent */
    size_t param_count;
};

/* Takes origin form ("/a?b"), absolute form (its scheme and authority are dropped) and "*". Spans
 * point into the target or the arena, and each is followed by a NUL only if it was decoded. Errors:
 * ERR_INVALID_URI (a bad escape, an escaped NUL, a byte outside printable ASCII, no leading slash,
 * too many parameters), ERR_LIMIT when the arena is full. */
int uri_parse(struct span target, struct arena *arena, struct uri *ret_uri, struct err *err);

/* The first parameter of that exact name; false when there is none. */
bool uri_find(const struct uri *uri, const char *name, struct span *ret_value);
bool uri_has(const struct uri *uri, const char *name);
/* Its value, or an empty span. */
struct span uri_param(const struct uri *uri, const char *name);

/* Appends text with all but A-Z a-z 0-9 - . _ ~ as %XX in capitals; keep_slash leaves '/' alone (S3
 * paths). */
void uri_encode(struct buf *buf, struct span text, bool keep_slash);

/* Decodes into the arena (or returns text itself when there is nothing to decode); plus_is_space is
 * for queries. Errors: as uri_parse. */
int uri_decode(struct span text, bool plus_is_space, struct arena *arena, struct span *ret_decoded,
               struct err *err);

/* Appends the parameters as "name=value&..." encoded, sorted by encoded name, then value; the one
 * named except (may be NULL) is left out. */
int uri_print_canonical_query(const struct uri *uri, const char *except, struct buf *buf,
                              struct err *err);

#endif
