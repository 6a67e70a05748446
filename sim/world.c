/* Time, the heap of events, and a plan's run: faults first, then all is healed and must come to
 * rest. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "sim/sim.h"

#define SETTLE_MS 1000u
#define CUT_MS 2000u
#define REST_MS 60000 /* virtual time to come to rest after healing */

/* ---- the heap: by time, then by order ---- */

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

struct sim_event *sim_event_new(struct sim *sim, enum sim_event_kind kind, uint64_t delay_ns) {
    struct sim_event *event = calloc(1, sizeof *event);
    ASSERT(event != NULL);
    event->kind = kind;
    event->at_ns = sim->now_ns + delay_ns;
    event->order = ++sim->order;
    return event;
}

static void event_free(struct sim_event *event) {
    buf_fini(&event->bytes);
    free(event);
}

void sim_post(struct sim *sim, struct sim_event *event) {
    if (sim->heap_count == sim->heap_room) {
        sim->heap_room = sim->heap_room > 0 ? 2 * sim->heap_room : 1024;
        sim->heap = realloc(sim->heap, sim->heap_room * sizeof(struct sim_event *));
        ASSERT(sim->heap != NULL);
    }
    uint32_t i = sim->heap_count++;
    for (; i > 0 && before(event, sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = event;
}

static struct sim_event *pop(struct sim *sim) {
    ASSERT(sim->heap_count > 0);
    struct sim_event *first = sim->heap[0], *last = sim->heap[--sim->heap_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child + 1 < sim->heap_count && before(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (child >= sim->heap_count || !before(sim->heap[child], last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return first;
}

/* ---- trace ---- */

void sim_trace(struct sim *sim, const char *format, ...) {
    if (!sim->verbose)
        return;
    va_list arguments;
    va_start(arguments, format);
    printf("[%13.6f] ", (double)sim->now_ns / 1e6);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

noreturn void sim_fail(struct sim *sim, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "seed %llu, at %.6f ms: ", (unsigned long long)sim->options.seed,
            (double)sim->now_ns / 1e6);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void fold(struct sim *sim, const struct sim_event *event) {
    uint64_t parts[] = {event->at_ns,          event->kind,
                        event->node,           event->number,
                        event->command.number, XXH3_64bits(event->bytes.data, event->bytes.size)};
    sim->hash = XXH3_64bits_withSeed(parts, sizeof parts, sim->hash);
    sim->event_count++;
}

uint64_t sim_about(struct rng *rng, uint64_t mean) {
    uint64_t value = 1 + rng_below(rng, mean + 1);
    while (rng_below(rng, 4) == 0) /* a tail */
        value += rng_below(rng, 2 * mean + 1);
    return value;
}

/* ---- a run ---- */

static void dispatch(struct sim *sim, struct sim_event *event) {
    switch (event->kind) {
    case SIM_REPLY:
        sim_client_reply(sim, event);
        break;
    case SIM_CLIENT:
        sim_client_wake(sim, event->peer, event->number);
        break;
    case SIM_ACTION:
        sim_nemesis_act(sim, &sim->plan->actions[event->number]);
        break;
    case SIM_RESTART:
        if (!sim->nodes[event->node].up)
            sim_node_start(&sim->nodes[event->node]);
        break;
    case SIM_HINT:
        sim_nemesis_hint(sim, event->node, event->peer);
        break;
    case SIM_PLACE:
        sim_place(sim, event->group);
        break;
    default:
        sim_node_event(&sim->nodes[event->node], event);
    }
}

/* A stopped process gets all at once when it goes on. */
static bool put_off(struct sim *sim, struct sim_event *event) {
    const struct sim_node *node = &sim->nodes[event->node];
    if (event->kind > SIM_REQUEST || node->paused_until_ns <= sim->now_ns)
        return false;
    event->at_ns = node->paused_until_ns;
    sim_post(sim, event);
    return true;
}

static void step(struct sim *sim) {
    struct sim_event *event = pop(sim);
    ASSERT(event->at_ns >= sim->now_ns);
    sim->now_ns = event->at_ns;
    if (put_off(sim, event))
        return;
    fold(sim, event);
    dispatch(sim, event);
    event_free(event);
}

static void start(struct sim *sim) {
    struct rng *streams[] = {&sim->net, &sim->disk, &sim->work, &sim->timers, &sim->places};
    for (uint64_t i = 0; i < sizeof streams / sizeof *streams; i++)
        rng_init(streams[i], sim->options.seed * 8 + i);
    sim->machine_count = (uint32_t)(sim->options.nodes + sim->options.spares);
    ASSERT(sim->machine_count <= SIM_NODES_MAX);
    for (uint32_t i = 0; i < sim->options.groups; i++)
        sim->wanted[i] = (1u << sim->options.nodes) - 1;
    sim_truth_init(sim);
    for (uint32_t i = 0; i < sim->machine_count; i++)
        sim_node_init(sim, i);
    for (uint32_t i = 0; i < sim->machine_count; i++)
        sim_node_start(&sim->nodes[i]);
    sim_nemesis_start(sim);
    sim_clients_start(sim);
    for (uint32_t i = 0; i < sim->options.groups; i++)
        sim_place(sim, i);
}

static void count(struct sim *sim) {
    sim_stats->seeds++;
    sim_stats->events += sim->event_count;
    sim_stats->virtual_ms += sim->now_ns / SIM_MS;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        sim_stats->slots += sim_history(sim, i)->kv.slot;
    for (uint32_t i = 0; i < sim->options.clients; i++)
        sim_stats->commands += sim->clients[i].done;
}

static void finish(struct sim *sim) {
    for (uint32_t i = 0; i < sim->machine_count; i++)
        sim_node_fini(&sim->nodes[i]);
    for (uint32_t i = 0; i < sim->heap_count; i++)
        event_free(sim->heap[i]);
    free(sim->heap);
    for (uint32_t i = 0; i < sim->options.clients; i++)
        free(sim->clients[i].carried_out);
    sim_truth_fini(sim);
}

static void run_for(struct sim *sim, uint64_t ms) {
    uint64_t end_ns = sim->now_ns + ms * SIM_MS;
    while (sim->now_ns < end_ns)
        step(sim);
}

static void try_cut(struct sim *sim) {
    struct sim_trial trial;
    for (uint32_t i = 0; i < sim->machine_count; i++)
        sim->nodes[i].disk.sync_us = 0; /* nobody hands over because its disk was slow */
    run_for(sim, SETTLE_MS);
    if (!sim_trial_begin(sim, &trial))
        return;

    run_for(sim, CUT_MS);
    sim_trial_mend(sim);
    run_for(sim, CUT_MS);
    sim_trial_end(sim, &trial);
}

uint64_t sim_run(struct sim_plan *plan, bool verbose) {
    struct sim *sim = calloc(1, sizeof *sim);
    ASSERT(sim != NULL);
    sim->plan = plan;
    sim->options = plan->options;
    sim->verbose = verbose;
    start(sim);
    uint64_t horizon_ns = sim->options.horizon_ms * SIM_MS, end_ns = horizon_ns + REST_MS * SIM_MS;
    while (sim->now_ns < horizon_ns)
        step(sim);
    sim_heal(sim);
    while (sim_unrest(sim) != NULL) {
        step(sim);
        if (sim->now_ns > end_ns)
            sim_fail(sim, "%s, %u ms after all was healed", sim_unrest(sim), REST_MS);
    }
    try_cut(sim);

    sim_trace(sim, "at rest: %llu events", (unsigned long long)sim->event_count);
    count(sim);
    sim_stats_add_marks();
    uint64_t hash = sim->hash;
    finish(sim);
    free(sim);
    return hash;
}
