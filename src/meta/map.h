/* The cluster map between its two forms, protobuf and core/place.h, and the newest one a process
 * knows. */
#ifndef QUERN_META_MAP_H
#define QUERN_META_MAP_H

#include <pthread.h>

#include "core/place.h"
#include "wire/pb.h"

/* Errors: ERR_CORRUPT (numbers that do not fit together), ERR_NOMEM. The caller owns the reference.
 */
int map_from_pb(const Pb__ClusterMap *from, struct place_map **ret_map, struct err *err);
/* What it returns is cut from the arena and points into map. NULL when the arena is full. */
Pb__ClusterMap *map_to_pb(const struct place_map *map, struct arena *arena);

struct map_cache {
    pthread_mutex_t mutex;
    struct place_map *map;
};
void map_cache_init(struct map_cache *cache,
                    struct place_map *map); /* takes a reference of its own */
void map_cache_fini(struct map_cache *cache);
struct place_map *map_cache_get(struct map_cache *cache); /* a reference */
/* Takes it over when it is newer; one that cannot be understood is left alone. */
int map_cache_offer(struct map_cache *cache, const Pb__ClusterMap *map, struct err *err);

/* A packed Query for the map. */
void map_query_pack(struct buf *buf);

#endif
