/* The launcher's process: forks keepers when asked, looks after what is left when one dies. */
#ifndef QUERN_WORKER_NURSERY_H
#define QUERN_WORKER_NURSERY_H

#include <stdnoreturn.h>

/* Serves launch_open over the socket until it closes; then all keepers end with it. dir: the data
 * directory's folder for scratch files, hidden from tasks. */
noreturn void nursery_main(int socket, const char *dir);

#endif
