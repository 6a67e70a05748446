/* Plans as files, one option or action a line, and the search for the smallest one that still
 * fails: delta debugging over actions (Zeller and Hildebrandt 2002), then faults switched off, then
 * a shorter and smaller world. */
#include <string.h>

#include "sim/sim.h"

#define LINE 200

void sim_schedule_write(const struct sim_plan *plan, FILE *file) {
    const struct sim_options *options = &plan->options;
    fprintf(file, "option seed %llu\n", (unsigned long long)options->seed);
    fprintf(file, "option nodes %llu\n", (unsigned long long)options->nodes);
    fprintf(file, "option frail %llu\n", (unsigned long long)options->frail);
#define X(name, low, high, percent)                                                                \
    fprintf(file, "option " #name " %llu\n", (unsigned long long)options->name);
    SIM_OPTIONS(X)
#undef X
    for (uint32_t i = 0; i < plan->action_count; i++) {
        const struct sim_action *action = &plan->actions[i];
        fprintf(file, "%llu %s %u %u %u\n", (unsigned long long)action->at_us,
                sim_action_name(action->kind), action->node, action->a, action->b);
    }
}

static bool read_option(struct sim_options *options, const char *name, unsigned long long value) {
    struct {
        const char *name;
        uint64_t *field;
    } fields[] = {{"seed", &options->seed},
                  {"nodes", &options->nodes},
                  {"frail", &options->frail},
#define X(name, low, high, percent) {#name, &options->name},
                  SIM_OPTIONS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(fields[i].name, name) != 0)
            continue;
        *fields[i].field = value;
        return true;
    }
    return false;
}

static bool read_action(struct sim_plan *plan, const char *line) {
    unsigned long long at_us;
    char name[32];
    struct sim_action action;
    if (sscanf(line, "%llu %31s %u %u %u", &at_us, name, &action.node, &action.a, &action.b) != 5)
        return false;
    action.at_us = at_us;
    uint32_t kind = 0;
    while (kind < SIM_ACTION_KINDS && strcmp(sim_action_name(kind), name) != 0)
        kind++;
    if (kind == SIM_ACTION_KINDS || plan->action_count == SIM_ACTIONS_MAX)
        return false;
    action.kind = kind;
    plan->actions[plan->action_count++] = action;
    return true;
}

static bool is_sane(const struct sim_options *options) {
    return options->nodes >= 1 && options->nodes + options->spares <= SIM_NODES_MAX &&
           options->groups >= 1 && options->groups <= SIM_GROUPS_MAX && options->clients > 0 &&
           options->clients <= SIM_CLIENTS_MAX && options->horizon_ms > 0;
}

int sim_schedule_read(struct sim_plan *plan, FILE *file, struct err *err) {
    char line[LINE], name[32];
    unsigned long long value;
    memset(plan, 0, sizeof *plan);
    for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        bool good = sscanf(line, "option %31s %llu", name, &value) == 2
                        ? read_option(&plan->options, name, value)
                        : read_action(plan, line);
        if (!good)
            return err_set(err, ERR_INVALID, "line %u is no option and no action", number);
    }
    return is_sane(&plan->options) ? 0 : err_set(err, ERR_INVALID, "options make no sense");
}

/* ---- shrinking ---- */

static void remove_actions(struct sim_plan *plan, uint32_t from, uint32_t count) {
    memmove(plan->actions + from, plan->actions + from + count,
            (plan->action_count - from - count) * sizeof *plan->actions);
    plan->action_count -= count;
}

/* Tries the plan without count actions from each multiple of count on. */
static bool shrink_by(struct sim_plan *plan, uint32_t count, bool (*fails)(struct sim_plan *)) {
    static struct sim_plan trial;
    bool shrunk = false;
    for (uint32_t from = 0; from < plan->action_count;) {
        uint32_t part = plan->action_count - from < count ? plan->action_count - from : count;
        trial = *plan;
        remove_actions(&trial, from, part);
        if (fails(&trial)) {
            *plan = trial;
            shrunk = true;
        } else {
            from += part;
        }
    }
    return shrunk;
}

/* Keeps the change of one option if the plan still fails with it. */
static bool try_option(struct sim_plan *plan, uint64_t *option, uint64_t value,
                       bool (*fails)(struct sim_plan *)) {
    uint64_t before = *option;
    if (before == value)
        return false;
    *option = value;
    if (fails(plan))
        return true;
    *option = before;
    return false;
}

static void shrink_options(struct sim_plan *plan, bool (*fails)(struct sim_plan *)) {
    struct sim_options *options = &plan->options;
    uint64_t *const off[] = {
        &options->loss_ppm,       &options->dup_ppm,      &options->spike_ppm,
        &options->flip_ppm,       &options->stall_ppm,    &options->crash_at_sync_ppm,
        &options->big_ppm,        &options->tear_percent, &options->flush_ms,
        &options->leader_percent, &options->read_percent, &options->spares};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        try_option(plan, off[i], 0, fails);
    try_option(plan, &options->groups, 1, fails);
    while (options->clients > 2 && try_option(plan, &options->clients, options->clients / 2, fails))
        ;
    while (options->horizon_ms > 1000 &&
           try_option(plan, &options->horizon_ms, options->horizon_ms * 3 / 4, fails))
        ;
}

void sim_schedule_shrink(struct sim_plan *plan, bool (*fails)(struct sim_plan *)) {
    for (uint32_t count = plan->action_count / 2; count > 0; count /= 2)
        while (shrink_by(plan, count, fails) && count > 1)
            ;
    shrink_options(plan, fails);
    for (uint32_t count = plan->action_count / 2; count > 0; count /= 2)
        shrink_by(plan, count, fails);
}
