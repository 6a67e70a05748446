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
int api_jobs(struct request *request);
int api_job_submit(struct request *request);
int api_job_get(struct request *request);  /* the job itself, /wait, /output, /errors */
int api_job_post(struct request *request); /* /cancel */

/* Replies with the JSON value and drops the reference to it; NULL is an error of memory. */
int api_reply(struct request *request, int status, json_t *json);

#endif
