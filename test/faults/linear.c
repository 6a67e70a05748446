/* The search for an order of one key's operations that explains what was seen. */
#include "faults/linear.h"

#include <stdlib.h>

#include "base/assert.h"
#include "faults/linear_impl.h"

#define NONE SIZE_MAX
#define WORD_BITS 64u

/* An invocation or a return, in the order of time; those not yet placed are linked. */
struct event {
    uint64_t time_ns;
    size_t op;
    bool is_return;
    size_t previous, next; /* indices; NONE at the ends */
    size_t partner;        /* of an invocation its return, NONE when unknown */
};

/* What the search does not have to go through twice, with the operations placed. */
struct config {
    uint64_t state;
    uint32_t index; /* of the state's value */
    bool unseen;    /* the last write's outcome is unknown and nothing has shown it yet */
};

struct frame {
    size_t event; /* of the invocation that was placed */
    struct config before;
    bool forced; /* nothing else need be tried in its place */
};

struct search {
    const struct linear_op *ops;
    struct linear_role *roles;
    uint32_t *needed; /* by the index of a value: operations not yet placed that must find it */
    struct event *events;
    size_t event_count;
    size_t first;   /* of the linked events */
    size_t pending; /* known outcomes not yet placed */
    struct config now;
    struct frame *stack;
    size_t depth;
    uint64_t *placed; /* a bit an operation */
    size_t words;
    struct linear_cache cache;
    uint64_t steps, steps_max;
    struct linear_result *result;
};

/* ---- events ---- */

/* At the same moment invocations come first: what may have overlapped, did. */
static int compare_events(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->time_ns != y->time_ns)
        return x->time_ns < y->time_ns ? -1 : 1;
    return (int)x->is_return - (int)y->is_return;
}

static void list_events(struct search *search, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct linear_op *op = &search->ops[i];
        bool known = op->outcome != LINEAR_UNKNOWN;
        if (!known && op->kind == LINEAR_READ)
            continue;
        search->events[search->event_count++] = (struct event){.time_ns = op->invoke_ns, .op = i};
        if (known)
            search->events[search->event_count++] =
                (struct event){.time_ns = op->return_ns, .op = i, .is_return = true};
        search->pending += known;
    }
    qsort(search->events, search->event_count, sizeof *search->events, compare_events);
}

static bool link_events(struct search *search, size_t count) {
    size_t *invocations = malloc((count + 1) * sizeof *invocations);
    if (invocations == NULL)
        return false;
    for (size_t i = 0; i < search->event_count; i++) {
        struct event *event = &search->events[i];
        event->previous = i > 0 ? i - 1 : NONE;
        event->next = i + 1 < search->event_count ? i + 1 : NONE;
        event->partner = NONE;
        if (event->is_return)
            search->events[invocations[event->op]].partner = i;
        else
            invocations[event->op] = i;
    }
    search->first = search->event_count > 0 ? 0 : NONE;
    free(invocations);
    return true;
}

static void unlink_event(struct search *search, size_t index) {
    const struct event *event = &search->events[index];
    if (event->previous != NONE)
        search->events[event->previous].next = event->next;
    else
        search->first = event->next;
    if (event->next != NONE)
        search->events[event->next].previous = event->previous;
}

/* In the reverse order of their unlinking: the neighbours are the old ones again. */
static void relink_event(struct search *search, size_t index) {
    const struct event *event = &search->events[index];
    if (event->previous != NONE)
        search->events[event->previous].next = index;
    else
        search->first = index;
    if (event->next != NONE)
        search->events[event->next].previous = index;
}

/* ---- the search ---- */

/* Remembers the operations placed with the state they lead to. */
static enum linear_seen remember(struct search *search, struct config config) {
    uint64_t *key = search->placed; /* has two words more for this */
    key[search->words] = config.state;
    key[search->words + 1] = 1u + config.unseen;
    return linear_cache_add(&search->cache, key);
}

static void flip(struct search *search, size_t op) {
    search->placed[op / WORD_BITS] ^= UINT64_C(1) << op % WORD_BITS;
}

static void place(struct search *search, size_t index, struct config after, bool forced) {
    const struct event *event = &search->events[index];
    search->stack[search->depth++] = (struct frame){index, search->now, forced};
    search->now = after;
    search->needed[search->roles[event->op].wanted]--;
    unlink_event(search, index);
    if (event->partner != NONE) {
        unlink_event(search, event->partner);
        search->pending--;
    }
    if (search->depth > search->result->placed)
        search->result->placed = search->depth;
}

static struct frame take_back(struct search *search) {
    struct frame frame = search->stack[--search->depth];
    const struct event *event = &search->events[frame.event];
    if (event->partner != NONE) {
        relink_event(search, event->partner);
        search->pending++;
    }
    relink_event(search, frame.event);
    search->needed[search->roles[event->op].wanted]++;
    flip(search, event->op);
    search->now = frame.before;
    return frame;
}

/* The first invocation that may come next and changes nothing, if it fits; else NONE. */
static size_t find_free_step(struct search *search) {
    uint64_t state;
    for (size_t i = search->first; i != NONE && !search->events[i].is_return;
         i = search->events[i].next) {
        const struct linear_op *op = &search->ops[search->events[i].op];
        if (linear_changes_nothing(op) && linear_fits(op, search->now.state, &state))
            return i;
    }
    return NONE;
}

/* The next write to try after that invocation (NONE: from the beginning): those with a known
 * outcome first, then the unknown ones. */
static size_t find_write(struct search *search, size_t after) {
    bool unknown = after != NONE && search->events[after].partner == NONE;
    size_t i = after != NONE ? search->events[after].next : search->first;
    for (int pass = 0; pass < 2; pass++) {
        for (; i != NONE && !search->events[i].is_return; i = search->events[i].next)
            if (!linear_changes_nothing(&search->ops[search->events[i].op]) &&
                (search->events[i].partner == NONE) == unknown)
                return i;
        if (unknown)
            return NONE;
        unknown = true;
        i = search->first;
    }
    return NONE;
}

/* Whether what is there must still be found by another operation than this one. */
static bool is_needed(const struct search *search, const struct linear_role *role) {
    uint32_t index = search->now.index;
    return index != 0 && search->needed[index] > (role->wanted == index);
}

/* Whether some operation that may come next would show that this unknown write happened, and none
 * before it would do as well. */
static bool is_worth_trying(const struct search *search, size_t index, uint64_t after) {
    const struct linear_op *op = &search->ops[search->events[index].op];
    bool is_anonymous = search->roles[search->events[index].op].is_anonymous, is_before = true;
    uint64_t unused;
    bool is_shown = false;
    for (size_t i = search->first; i != NONE && !search->events[i].is_return;
         i = search->events[i].next) {
        const struct linear_op *other = &search->ops[search->events[i].op];
        is_before = is_before && i != index;
        if (is_before && is_anonymous && other->kind == op->kind &&
            search->roles[search->events[i].op].is_anonymous)
            return false;
        is_shown = is_shown ||
                   (i != index && !linear_is_blind(other) && linear_fits(other, after, &unused));
    }
    return is_shown;
}

/* Places the write if it fits and leads to something new. */
static enum linear_seen try_write(struct search *search, size_t index) {
    size_t number = search->events[index].op;
    const struct linear_op *op = &search->ops[number];
    const struct linear_role *role = &search->roles[number];
    bool is_unknown = op->outcome == LINEAR_UNKNOWN;
    struct config after = {.unseen = is_unknown, .index = role->written};
    if ((search->now.unseen && linear_is_blind(op)) || is_needed(search, role) ||
        !linear_fits(op, search->now.state, &after.state) ||
        (is_unknown && !is_worth_trying(search, index, after.state)))
        return LINEAR_BEFORE;
    flip(search, number);
    enum linear_seen seen = remember(search, after);
    if (seen == LINEAR_NEW)
        place(search, index, after, false);
    else
        flip(search, number);
    return seen;
}

/* The earliest return that nothing found so far gets past. */
static void note_blocked(struct search *search) {
    for (size_t i = search->first; i != NONE; i = search->events[i].next)
        if (search->events[i].is_return) {
            search->result->blocked = search->events[i].op;
            return;
        }
}

/* Back to the last write that may be replaced by another. *ret_event is it; false: there is none.
 */
static bool backtrack(struct search *search, size_t *ret_event) {
    if (search->depth == search->result->placed)
        note_blocked(search);
    while (search->depth > 0) {
        struct frame frame = take_back(search);
        *ret_event = frame.event;
        if (!frame.forced)
            return true;
    }
    return false;
}

static enum linear_verdict run(struct search *search) {
    size_t tried = NONE;
    while (search->pending > 0) {
        if (search->steps++ >= search->steps_max)
            return LINEAR_RAN_OUT;
        size_t free_step = tried == NONE ? find_free_step(search) : NONE;
        if (free_step != NONE) {
            flip(search, search->events[free_step].op);
            place(search, free_step,
                  (struct config){.state = search->now.state, .index = search->now.index}, true);
            continue;
        }
        size_t write = find_write(search, tried);
        if (write == NONE) {
            if (!backtrack(search, &tried))
                return LINEAR_BAD;
            continue;
        }
        enum linear_seen seen = try_write(search, write);
        if (seen == LINEAR_NO_ROOM)
            return LINEAR_RAN_OUT;
        tried = seen == LINEAR_NEW ? NONE : write;
    }
    return LINEAR_GOOD;
}

enum linear_verdict linear_check(const struct linear_op *ops, size_t count,
                                 struct linear_limits limits, struct linear_result *ret_result) {
    ASSERT(count <= LINEAR_OPS_MAX);
    *ret_result = (struct linear_result){0};
    struct search search = {.ops = ops,
                            .words = count / WORD_BITS + 1,
                            .steps_max = limits.steps,
                            .result = ret_result};
    search.cache.width = search.words + 2;
    search.cache.room_max = limits.cache_bytes / (search.cache.width * sizeof(uint64_t));
    search.events = malloc((2 * count + 1) * sizeof *search.events);
    search.roles = calloc(count + 1, sizeof *search.roles);
    search.needed = calloc(2 * count + 1, sizeof *search.needed);
    search.stack = malloc((count + 1) * sizeof *search.stack);
    search.placed = calloc(search.words + 2, sizeof *search.placed);
    enum linear_verdict verdict = LINEAR_RAN_OUT;
    if (search.events != NULL && search.roles != NULL && search.needed != NULL &&
        search.stack != NULL && search.placed != NULL &&
        linear_find_roles(ops, count, search.roles, search.needed)) {
        list_events(&search, count);
        if (link_events(&search, count))
            verdict = run(&search);
    }
    ret_result->steps = search.steps;
    free(search.events);
    free(search.roles);
    free(search.needed);
    free(search.stack);
    free(search.placed);
    linear_cache_fini(&search.cache);
    return verdict;
}
