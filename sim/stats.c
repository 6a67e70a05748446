/* What all seeds of a run went through, summed over its processes. */
#include <stdio.h>
#include <sys/mman.h>

#include "sim/sim.h"

struct sim_stats *sim_stats;

void sim_stats_init(void) {
    sim_stats =
        mmap(NULL, sizeof *sim_stats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sim_stats == MAP_FAILED)
        panic("no shared memory");
}

void sim_stats_add_marks(void) {
    for (uint32_t i = 0; i < COVER_COUNT; i++)
        sim_stats->marks[i] += atomic_load(&cover_hits[i]);
}

unsigned sim_stats_unmarked(void) {
    unsigned count = 0;
    for (uint32_t i = 0; i < COVER_COUNT; i++) {
        if (sim_stats->marks[i] > 0)
            continue;
        printf("never seen: %s: %s\n", cover_name(i), cover_text(i));
        count++;
    }
    return count;
}

static void row(const char *name, uint64_t count) {
    printf("  %-20s %14llu\n", name, (unsigned long long)count);
}

void sim_stats_print(void) {
    row("virtual seconds", sim_stats->virtual_ms / 1000);
    row("events", sim_stats->events);
    row("slots", sim_stats->slots);
    row("commands", sim_stats->commands);
    for (uint32_t i = 0; i < SIM_ACTION_KINDS; i++)
        row(sim_action_name(i), sim_stats->actions[i]);
    row("messages lost", sim_stats->lost);
    row("messages doubled", sim_stats->doubled);
    row("messages late", sim_stats->late);
    row("messages damaged", sim_stats->flipped);
    row("torn writes", sim_stats->torn);
    row("records damaged", sim_stats->damaged_records);
    row("gaps in logs", sim_stats->lost_records);
    row("replicas amnesic", sim_stats->amnesic);
    row("commands forgotten", sim_stats->forgotten);
    row("snapshots", sim_stats->snapshots);
    row("configurations", sim_stats->members);
    puts("seeds that went through");
    for (uint32_t i = 0; i < COVER_COUNT; i++)
        row(cover_name(i), sim_stats->marks[i]);
}
