/* The admin API: X(method, path, handler, public). A path that ends in '*' stands for all that
 * begin so; the first row that fits is taken. Handlers are request_handler functions, declared in
 * gateway/api.h. */
X(GET, "/-/healthz", api_healthz, true)
X(GET, "/-/readyz", api_readyz, true)
X(GET, "/-/api/v1/status", api_status, false)
X(GET, "/-/api/v1/ring", api_ring, false)
X(POST, "/-/api/v1/nodes", api_node_join, false)
X(POST, "/-/api/v1/nodes/*", api_node_set, false)
X(GET, "/-/api/v1/locks", api_locks, false)
X(POST, "/-/api/v1/locks/*", api_lock_post, false)
X(GET, "/-/api/v1/jobs", api_jobs, false)
X(POST, "/-/api/v1/jobs", api_job_submit, false)
X(GET, "/-/api/v1/jobs/*", api_job_get, false)
X(POST, "/-/api/v1/jobs/*", api_job_post, false)
