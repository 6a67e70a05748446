/* Listings of buckets and objects, page by page. */
#ifndef QUERN_CLI_OBJECTS_H
#define QUERN_CLI_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cli/client.h"

struct listed {
    char name[1025]; /* key, common prefix or bucket */
    bool is_prefix;
    uint64_t size;
    char modified[32]; /* ISO 8601 */
    char etag[80];
};

/* Not 0 ends the listing with that error. */
typedef int objects_visit(void *context, const struct listed *listed, struct err *err);

/* All keys that begin with place->key, in order; is_deep: without cutting at '/'. */
int objects_list(struct client *client, const struct place *place, bool is_deep,
                 objects_visit *visit, void *context, struct err *err);
int objects_list_buckets(struct client *client, objects_visit *visit, void *context,
                         struct err *err);

#endif
