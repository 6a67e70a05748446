/* Objects as the operations share them: reading their bytes, naming a copy's source, making their
 * records. Inside gateway/ only. */
#ifndef QUERN_GATEWAY_OBJECT_H
#define QUERN_GATEWAY_OBJECT_H

#include <stdint.h>

#include "gateway/content.h"
#include "gateway/metadata.h"
#include "gateway/range.h"
#include "store/client.h"
#include "wire/pb.h"

struct request;

/* Gives [offset, offset + length) of the object to the sink, in order. Every byte is verified. */
int object_read(struct request *request, const Pb__Object *object, uint64_t offset, uint64_t length,
                store_sink *sink, void *context);

/* The hex MD5, as an ETag without quotes. text has 33 bytes. */
char *object_etag(const uint8_t md5[MD5_SIZE], char *text);

/* Receives the body of the request as content: stored, verified. Close the content, also after a
 * failure. */
int object_receive(struct request *request, struct content *content, bool may_inline);

struct object_source {
    const char *bucket;
    const char *key;
    Pb__Object *object;
    struct range range;
};

/* The object that x-amz-copy-source names, with its conditions checked and x-amz-copy-source-range
 * applied. */
int object_copy_source(struct request *request, struct object_source *ret_source);
/* Stores what the source names as content. */
int object_copy_content(struct request *request, const struct object_source *source,
                        struct content *content, bool may_inline);

/* Deletes a key of the request's bucket; 0 also when there was none. conditions may be NULL. */
int object_delete(struct request *request, const char *key, const Pb__Conditions *conditions);

/* Quoted and printed into the reply or an XML document. */
void object_reply_etag(struct request *request, const char *etag);
void object_xml_etag(struct buf *xml, const char *etag);

#endif
