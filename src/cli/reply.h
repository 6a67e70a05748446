/* What a server's reply says: its error, and S3's XML as a flat run of elements. */
#ifndef QUERN_CLI_REPLY_H
#define QUERN_CLI_REPLY_H

#include "base/err.h"
#include "base/span.h"

/* One element that has ended, with its parent's name and the text directly in it (entities
 * decoded). Not 0 ends the reading with that error. */
typedef int reply_element(void *context, const char *parent, const char *name, struct span text,
                          struct err *err);

/* ERR_CORRUPT when it is not well-formed XML. */
int reply_read_xml(struct span body, reply_element *element, void *context, struct err *err);

/* The error in a reply with that status: S3's XML or the admin API's JSON, else one made of the
 * status alone. Returns the ERR_* code that goes with it. */
int reply_read_error(int status, struct span body, struct err *err);

#endif
