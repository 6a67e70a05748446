/* The keeper: the one process of a sandbox that is ours. It confines itself, then starts one task
 * at a time, holds it to its limits, keeps the end of its stderr, and when it has ended kills
 * whatever it left and empties the scratch directory. */
#ifndef QUERN_WORKER_KEEPER_H
#define QUERN_WORKER_KEEPER_H

#include <stdnoreturn.h>

#include "worker/jail.h"

/* Sends launch_opened over the socket, then serves it until the other side closes. One thread,
 * nothing shared. */
noreturn void keeper_main(int socket, struct jail *jail);

#endif
