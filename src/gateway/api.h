/* The handlers of the admin API, one for each row of tbl/api_routes.h. Inside gateway/ only. */
#ifndef QUERN_GATEWAY_API_H
#define QUERN_GATEWAY_API_H

#include <jansson.h>

struct request;

int api_healthz(struct request *request);
int api_readyz(struct request *request);
int api_status(struct request *request);
int api_ring(struct request *request);
int api_node_join(struct request *request);
int api_node_set(struct request *request);
int api_locks(struct request *request);
int api_lock_post(struct request *request); /* acquire, /renew, /release, /break */
int api_jobs(struct request *request);
int api_job_submit(struct request *request);
int api_job_get(struct request *request);  /* the job itself, /wait, /output, /errors */
int api_job_post(struct request *request); /* /cancel */

/* The body, an object of JSON; the caller drops it. */
int api_read_body(struct request *request, size_t bytes_max, json_t **ret_json);
/* The item of a path "PREFIXitem/action", and the action, "" when there is none. */
const char *api_path_item(struct request *request, const char *prefix, const char **ret_action);

/* Replies with the JSON value and drops the reference to it; NULL is an error of memory. */
int api_reply(struct request *request, int status, json_t *json);

#endif
