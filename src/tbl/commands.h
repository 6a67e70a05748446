/* Every subcommand, once, in the order of `quern help`: X(name, function, group, summary).
 * function is int function(int argc, char **argv), argv[0] being the name; it returns an exit
 * status. */
X(mb, cli_mb, OBJECTS, "make buckets")
X(rb, cli_rb, OBJECTS, "remove empty buckets")
X(ls, cli_ls, OBJECTS, "list buckets or objects")
X(stat, cli_stat, OBJECTS, "show what is known of an object")
X(put, cli_put, OBJECTS, "store files as objects")
X(get, cli_get, OBJECTS, "fetch an object into a file")
X(cat, cli_cat, OBJECTS, "write objects to stdout")
X(rm, cli_rm, OBJECTS, "remove objects")
X(run, cli_run, JOBS, "run a command over stored objects")
X(jobs, cli_jobs, JOBS, "list jobs")
X(job, cli_job, JOBS, "show, wait for, explain or cancel a job")
X(bench, cli_bench, CLUSTER, "measure how fast a server answers")
X(status, cli_status, CLUSTER, "nodes, leaders and the health of copies")
X(ring, cli_ring, CLUSTER, "which nodes hold an object's chunks, or each node's share")
X(doctor, cli_doctor, CLUSTER, "look for what is wrong, from here and on the nodes")
X(help, cli_help, OTHER, "this list, or the manual of one command")
