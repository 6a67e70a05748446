/* The XML of S3: request bodies into structs (by expat, without DOCTYPE, entities of its own or
 * deep nesting), replies into a buffer. */
#ifndef QUERN_WIRE_XML_H
#define QUERN_WIRE_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "wire/checksum.h"

#define XML_BODY_BYTES_MAX (8u << 20)
#define XML_PARTS_MAX 10000u
#define XML_DELETE_MAX 1000u
#define XML_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

struct xml_part {
    uint32_t number;                  /* 1..10000; their order is the caller's to check */
    struct span etag;                 /* without quotes */
    enum checksum_kind checksum_kind; /* of the checksum given, or NONE */
    struct span checksum;             /* base64 */
};

struct xml_complete {
    struct xml_part *parts;
    size_t part_count; /* 1..XML_PARTS_MAX */
};

struct xml_delete_object {
    struct span key;
    struct span version_id; /* empty when not given */
};

struct xml_delete {
    struct xml_delete_object *objects;
    size_t object_count; /* 1..XML_DELETE_MAX */
    bool is_quiet;
};

/* Unknown elements are skipped. Everything lies in the arena (10,000 parts take about 4 MiB).
 * Errors: ERR_MALFORMED_XML, ERR_LIMIT when the arena is full. */
int xml_read_complete(struct span body, struct arena *arena, struct xml_complete *ret_complete,
                      struct err *err);
int xml_read_delete(struct span body, struct arena *arena, struct xml_delete *ret_delete,
                    struct err *err);
/* LocationConstraint; empty when there is none or the body is empty. */
int xml_read_create_bucket(struct span body, struct arena *arena, struct span *ret_location,
                           struct err *err);

/* Writing. Text is escaped; bytes that XML 1.0 cannot carry (control characters, invalid UTF-8)
 * become U+FFFD, so that a reply always parses: callers that must keep them use encoding-type=url.
 */
void xml_begin(struct buf *buf); /* the declaration */
void xml_open(struct buf *buf, const char *name);
void xml_open_root(struct buf *buf, const char *name); /* with XML_NAMESPACE */
void xml_close(struct buf *buf, const char *name);
void xml_text(struct buf *buf, const char *name, struct span text); /* <name>text</name> */
void xml_string(struct buf *buf, const char *name, const char *text);
void xml_number(struct buf *buf, const char *name, uint64_t number);
void xml_bool(struct buf *buf, const char *name, bool value);
void xml_escape(struct buf *buf, struct span text);

#endif
