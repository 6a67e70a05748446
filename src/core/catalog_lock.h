/* Locks: what their names, leases and number are held to. */
#ifndef QUERN_CORE_CATALOG_LOCK_H
#define QUERN_CORE_CATALOG_LOCK_H

#include <stdbool.h>

#define CATALOG_LOCKS_MAX 1000u
#define CATALOG_LOCK_NAME_MAX 200u
#define CATALOG_LOCK_TTL_MS_MIN 1000u
#define CATALOG_LOCK_TTL_MS_MAX 86400000u

/* Printable ASCII without spaces and slashes. */
bool catalog_lock_name_is_sound(const char *name);

#endif
