/* How a job is cut into tasks. */
#include "core/catalog_plan.h"

#include <string.h>

bool catalog_plan_is_whole(const Pb__JobSpec *spec) {
    return spec->each_object || strcmp(spec->records, "whole") == 0;
}

uint64_t catalog_plan_tasks(const Pb__JobSpec *spec, const Pb__JobInput *input) {
    return catalog_plan_is_whole(spec) || input->n_chunks == 0 ? 1 : input->n_chunks;
}
