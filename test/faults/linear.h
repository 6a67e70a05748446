/* Whether the history of one key is linearizable: Wing and Gong's search with Lowe's cache of
 * configurations ("Testing for linearizability", 2017). Keys are registers that do not know of each
 * other, so a history is linearizable when that of every key is (P-compositionality).
 *
 * A register holds a value or is absent. Values are unique: no two writes of a history write the
 * same one. An operation takes effect at one moment between its invocation and its return; one
 * whose outcome is unknown at any later moment too, or never. What is checked of it is what the
 * client saw: the value that was read, that a condition held, or that it did not.
 *
 * The search is bounded; one that ran out has no verdict, and whoever asks must count that as a
 * failure. What makes it fast enough loses no order that could be found:
 *
 *   - reads and refusals are taken as soon as they fit: they change nothing, so that is never
 * worse;
 *   - a value that somebody must still see is not overwritten: being unique, it never comes back;
 *   - an unknown write is tried only right before something that shows it: else it might as well
 * not have happened; and of those that nobody could tell apart only the first.
 */
#ifndef QUERN_TEST_FAULTS_LINEAR_H
#define QUERN_TEST_FAULTS_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#define LINEAR_ABSENT 0u          /* the value of a register that is not there */
#define LINEAR_OPS_MAX (1u << 20) /* of one key */

enum linear_kind {
    LINEAR_READ, /* GET, HEAD, or the key's line in a listing, or that it has none */
    LINEAR_PUT,
    LINEAR_PUT_IF_MATCH,  /* If-Match: expected */
    LINEAR_PUT_IF_ABSENT, /* If-None-Match: * */
    LINEAR_DELETE,        /* done also when it is absent */
    LINEAR_DELETE_IF_MATCH
};

enum linear_outcome {
    LINEAR_DONE,
    LINEAR_REFUSED, /* 412: the key was there and the condition did not hold */
    LINEAR_MISSING, /* 404 to If-Match: the key was absent */
    LINEAR_UNKNOWN  /* no answer, or one that leaves it open */
};

struct linear_op {
    uint64_t invoke_ns;
    uint64_t return_ns; /* later than invoke_ns; not looked at when the outcome is unknown */
    uint64_t value;     /* written or read */
    uint64_t expected;  /* by *_IF_MATCH */
    enum linear_kind kind;
    enum linear_outcome outcome;
    uint32_t tag; /* the caller's */
};

struct linear_limits {
    uint64_t steps;     /* operations tried */
    size_t cache_bytes; /* of configurations seen */
};

#define LINEAR_LIMITS ((struct linear_limits){.steps = 100000000, .cache_bytes = 512u << 20})

enum linear_verdict { LINEAR_GOOD, LINEAR_BAD, LINEAR_RAN_OUT };

struct linear_result {
    uint64_t steps;
    size_t placed;  /* operations in the longest order that was found */
    size_t blocked; /* LINEAR_BAD: index of the operation that fits nowhere behind them */
};

/* The register is absent before the first operation. LINEAR_RAN_OUT also when a value is written
 * twice. ops are in any order and at most
 * LINEAR_OPS_MAX; unknown reads may be among them and say nothing. Pure; any thread. */
enum linear_verdict linear_check(const struct linear_op *ops, size_t count,
                                 struct linear_limits limits, struct linear_result *ret_result);

#endif
