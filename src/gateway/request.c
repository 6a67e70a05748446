/* Parameters of requests as strings and numbers. */
#include "gateway/request.h"

int request_number(struct request *request, const char *param, uint64_t fallback, uint64_t max,
                   uint64_t *ret_number) {
    struct span text;
    if (!uri_find(&request->uri, param, &text) || text.size == 0) {
        *ret_number = fallback;
        return 0;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || number > UINT64_MAX / 10 - 1)
            return err_set(&request->err, ERR_INVALID, "%s must be a number", param);
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (number > max)
        return err_set(&request->err, ERR_INVALID, "%s must be at most %llu", param,
                       (unsigned long long)max);
    *ret_number = number;
    return 0;
}

const char *request_string(struct request *request, struct span text) {
    const char *copy = arena_strndup(&request->arena, text.data, text.size);
    return copy != NULL ? copy : "";
}

int request_memory(struct request *request) {
    return request->arena.overflowed
               ? err_set(&request->err, ERR_LIMIT, "the request needs too much memory")
               : 0;
}
