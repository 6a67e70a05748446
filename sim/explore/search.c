/* Worlds, breadth first: the first way to a violation that is found is a shortest one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/explore/explore.h"

#define SET_MAX 1024u
#define FIRST_LEADER 1u /* the middle one: those after it may have a smaller or a larger number */

struct world {
    uint32_t locals[NODES];
    uint32_t sent; /* the set of messages, by its number */
    uint8_t elections, commands, crashes;
    uint8_t unused;
};

struct way { /* how a world came about */
    uint32_t parent;
    uint32_t number; /* of the message or command */
    uint8_t node;
    uint8_t kind;
};

static const struct bounds *bounds;
static struct intern worlds, sets;
static struct way *ways;
static uint32_t way_room;
static uint64_t transitions;
static const char *wrong;

/* ---- sets of messages: their numbers in order ---- */

struct set {
    uint32_t count;
    uint32_t numbers[SET_MAX];
};

static struct set set_get(uint32_t number) {
    struct set set;
    struct span bytes = intern_get(&sets, number);
    set.count = (uint32_t)(bytes.size / sizeof set.numbers[0]);
    memcpy(set.numbers, bytes.data, bytes.size);
    return set;
}

/* Only what is in it: there is room for many more. */
static void set_copy(struct set *to, const struct set *from) {
    to->count = from->count;
    memcpy(to->numbers, from->numbers, from->count * sizeof from->numbers[0]);
}

static uint32_t set_put(const struct set *set) {
    size_t size = set->count * sizeof set->numbers[0];
    return intern_put(&sets, (struct span){(const char *)set->numbers, size}, NULL);
}

static void set_add(struct set *set, uint32_t number) {
    uint32_t at = set->count;
    while (at > 0 && set->numbers[at - 1] > number)
        at--;
    if (at > 0 && set->numbers[at - 1] == number)
        return;
    for (uint32_t i = 0; i < set->count && wrong == NULL; i++)
        wrong = check_proposed(set->numbers[i], number);
    ASSERT(set->count < SET_MAX);
    memmove(&set->numbers[at + 1], &set->numbers[at], (set->count - at) * sizeof set->numbers[0]);
    set->numbers[at] = number;
    set->count++;
}

/* ---- the way to a world ---- */

static void print_step(const struct way *way) {
    printf("  node %u: ", way->node + 1u);
    switch ((enum event_kind)way->kind) {
    case EVENT_DELIVER:
        fputs("gets ", stdout);
        message_print(way->number);
        break;
    case EVENT_SYNC:
        fputs("its log is durable", stdout);
        break;
    case EVENT_TIMEOUT:
        fputs("wants to lead; nobody has heard a leader of late", stdout);
        break;
    case EVENT_PROPOSE:
        printf("is asked for command \"c%u\"", way->number);
        break;
    case EVENT_CRASH:
        fputs("crashes, and starts again", stdout);
        break;
    case EVENT_PASS:
        break;
    }
    putchar('\n');
}

static void print_way(uint32_t number) {
    if (ways[number].parent == NONE)
        return;
    print_way(ways[number].parent);
    print_step(&ways[number]);
}

static void print_wrong(const struct way *last) {
    printf("explore: %s:\n", wrong);
    if (last->parent == NONE)
        return;
    print_way(last->parent);
    print_step(last);
}

static void way_put(uint32_t number, struct way way) {
    if (number >= way_room) {
        way_room = way_room > 0 ? way_room * 2 : 1024;
        ways = realloc(ways, way_room * sizeof *ways);
        if (ways == NULL)
            panic("out of memory");
    }
    ways[number] = way;
}

static void world_put(const struct world *world, struct way way) {
    bool is_new;
    uint32_t number =
        intern_put(&worlds, (struct span){(const char *)world, sizeof *world}, &is_new);
    if (is_new) {
        way_put(number, way);
        if (wrong == NULL)
            wrong = check_world(world->locals);
    }
    if (wrong != NULL)
        print_wrong(&way);
}

/* ---- what can happen ---- */

static struct outcome happen(struct world *world, struct set *set, uint32_t node,
                             struct event event) {
    struct outcome outcome = *step(world->locals[node], event);
    world->locals[node] = outcome.local;
    if (wrong == NULL)
        wrong = outcome.wrong;
    for (uint32_t i = 0; i < outcome.sent_count; i++) {
        enum paxos_message_type type = message_note(outcome.sent[i])->type;
        if (type != PAXOS_PROBE && type != PAXOS_PROBE_REPLY)
            set_add(set, outcome.sent[i]);
    }
    return outcome;
}

static void end(struct world *world, const struct set *set, struct way way) {
    transitions++;
    world->sent = set_put(set);
    world_put(world, way);
}

static void try(struct world world, const struct set *before, struct way way) {
    struct set set;
    if (wrong != NULL)
        return; /* the way there was printed */
    set_copy(&set, before);
    happen(&world, &set, way.node, (struct event){(enum event_kind)way.kind, way.number});
    end(&world, &set, way);
}

/* Probes change nothing where they arrive: asking all and their answers are one step, at a time at
 * which nobody has heard a leader of late. */
static void elect(struct world world, const struct set *before, struct way way) {
    struct set set;
    if (wrong != NULL)
        return;
    set_copy(&set, before);
    world.elections++;
    for (uint32_t i = 0; i < NODES; i++)
        happen(&world, &set, i, (struct event){EVENT_PASS, 0});
    struct outcome asked = happen(&world, &set, way.node, (struct event){EVENT_TIMEOUT, 0});
    for (uint32_t i = 0; i < asked.sent_count; i++) {
        if (message_note(asked.sent[i])->type != PAXOS_PROBE)
            continue;
        uint32_t target = message_note(asked.sent[i])->target;
        struct outcome told =
            happen(&world, &set, target, (struct event){EVENT_DELIVER, asked.sent[i]});
        for (uint32_t j = 0; j < told.sent_count; j++)
            if (message_note(told.sent[j])->type == PAXOS_PROBE_REPLY)
                happen(&world, &set, way.node, (struct event){EVENT_DELIVER, told.sent[j]});
    }
    end(&world, &set, way);
}

static bool is_candidate(const struct world *world, uint32_t node) {
    if (world->elections == 0 || bounds->candidates == 1)
        return node == FIRST_LEADER;
    return bounds->candidates == NODES || node <= FIRST_LEADER;
}

static void expand_node(struct world world, const struct set *set, struct way way) {
    bool leads = local_leads(world.locals[way.node]);
    way.kind = EVENT_SYNC;
    try(world, set, way);
    way.kind = EVENT_TIMEOUT;
    if (world.elections < bounds->elections && !leads && is_candidate(&world, way.node))
        elect(world, set, way);
    if (world.crashes < bounds->crashes) {
        way.kind = EVENT_CRASH;
        world.crashes++;
        try(world, set, way);
        world.crashes--;
    }
    if (world.commands < bounds->commands && leads) {
        way.kind = EVENT_PROPOSE;
        way.number = ++world.commands;
        try(world, set, way);
    }
}

static void expand(uint32_t number) {
    struct world world;
    memcpy(&world, intern_get(&worlds, number).data, sizeof world);
    struct set set = set_get(world.sent);
    for (uint32_t i = 0; i < set.count && wrong == NULL; i++) {
        const struct note *note = message_note(set.numbers[i]);
        uint32_t target = note->target;
        if (note->type == PAXOS_PREPARE && local_has_promised(world.locals[target], note->ballot))
            continue; /* it would be told the same again */
        try(world, &set, (struct way){number, set.numbers[i], (uint8_t)target, EVENT_DELIVER});
    }
    for (uint32_t i = 0; i < NODES && wrong == NULL; i++)
        expand_node(world, &set, (struct way){.parent = number, .node = (uint8_t)i});
}

int search(const struct bounds *given) {
    struct world first = {.elections = 0};
    struct set none = {.count = 0};
    bounds = given;
    first.sent = set_put(&none);
    for (uint32_t i = 0; i < NODES; i++)
        first.locals[i] = step_first(i + 1);
    world_put(&first, (struct way){.parent = NONE});
    uint32_t next = 0;
    while (next < worlds.count && worlds.count < bounds->worlds && wrong == NULL)
        expand(next++);
    printf("explore: %u worlds, %llu transitions, %u states of a node, %u messages: %s\n",
           worlds.count, (unsigned long long)transitions, local_count(), message_count(),
           wrong != NULL         ? "stopped at a violation"
           : next < worlds.count ? "cut off"
                                 : "all there are");
    printf("explore: %u violations\n", wrong != NULL);
    return wrong != NULL || next < worlds.count;
}
