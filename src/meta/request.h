/* What META_QUERY, META_CALLS and their answers carry before the protobuf bytes, and STATUS, MAKE,
 * DROP and VIEW instead of them. Little-endian, as in memory. */
#ifndef QUERN_META_REQUEST_H
#define QUERN_META_REQUEST_H

#include <assert.h>
#include <stdint.h>

/* META_CALLS is a row of these, of any groups; META_ANSWERS of their answers, in any order. */
struct meta_call { /* then size bytes, a packed Command or Query */
    uint64_t id;   /* the sender's */
    uint32_t group;
    uint32_t size;
    uint32_t kind; /* enum meta_call_kind */
    uint32_t zero;
};
static_assert(sizeof(struct meta_call) == 24, "on the wire");

enum meta_call_kind { META_CALL_COMMAND = 1, META_CALL_QUERY = 2 };

struct meta_call_answer { /* then size bytes: what follows a struct meta_answer */
    uint64_t id;
    int32_t code; /* 0 or an error */
    uint32_t leader;
    uint32_t size;
    uint32_t zero;
};
static_assert(sizeof(struct meta_call_answer) == 24, "on the wire");

struct meta_request { /* then a packed Query */
    uint32_t group;
    uint32_t wait_ms; /* the answer is of no use later */
};
static_assert(sizeof(struct meta_request) == 8, "on the wire");

struct meta_answer { /* then a packed Reply when code is 0, else a sentence */
    int32_t code;
    uint32_t leader; /* as far as is known, or 0 */
};
static_assert(sizeof(struct meta_answer) == 8, "on the wire");

struct meta_replica { /* MAKE and DROP ask with it; VIEW is answered with one for each group */
    uint32_t group;
    uint32_t born; /* 0 in VIEW: there is none */
};
static_assert(sizeof(struct meta_replica) == 8, "on the wire");

struct meta_status_row {
    uint32_t group;
    uint32_t leader;
    uint8_t leads;
    uint8_t hosted; /* 2: on a state store that is damaged */
    uint8_t votes;
    uint8_t voter_count;
    uint32_t voters[7];
    uint64_t ballot_round;
    uint64_t chosen_upto;
    uint64_t applied_upto;
};
static_assert(sizeof(struct meta_status_row) == 64, "on the wire");

#endif
