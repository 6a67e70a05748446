/* How a job is cut into tasks: the same for the catalogue, which counts them, and the scheduler,
 * which hands them out. */
#ifndef QUERN_CORE_CATALOG_PLAN_H
#define QUERN_CORE_CATALOG_PLAN_H

#include <stdbool.h>

#include "wire/pb.h"

enum catalog_phase { PHASE_MAP = 0, PHASE_REDUCE = 1 };

/* Whether each object is one task; else each of its chunks is. */
bool catalog_plan_is_whole(const Pb__JobSpec *spec);
/* Map tasks of one input, numbered after those of the inputs before it. An inline or empty object
 * is one task. */
uint64_t catalog_plan_tasks(const Pb__JobSpec *spec, const Pb__JobInput *input);

#endif
