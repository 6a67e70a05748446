/* An ordered map in memory behind struct catalog_kv: for tests and the simulator. One thread.
 *
 * (I) It is not changed while an iterator on it exists (asserted). */
#ifndef QUERN_CORE_CATALOG_MEMORY_H
#define QUERN_CORE_CATALOG_MEMORY_H

#include "core/catalog.h"

struct catalog_memory;

struct catalog_memory *catalog_memory_new(void);
struct catalog_memory *catalog_memory_free(struct catalog_memory *memory);
struct catalog_memory *catalog_memory_copy(const struct catalog_memory *memory);

/* The table of functions over it; valid as long as it. */
struct catalog_kv catalog_memory_kv(struct catalog_memory *memory);

size_t catalog_memory_count(const struct catalog_memory *memory);
/* Same keys, same values. */
bool catalog_memory_equal(const struct catalog_memory *a, const struct catalog_memory *b);
/* The n-th read from now (1 = the next) fails with ERR_IO, once; 0 = none. */
void catalog_memory_fail_read(struct catalog_memory *memory, unsigned n);

#endif
