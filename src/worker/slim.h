/* Makes the children of this process small. */
#ifndef QUERN_WORKER_SLIM_H
#define QUERN_WORKER_SLIM_H

/* From now on children do not inherit the shared libraries that a sandbox does without: a clone
 * copies, and an end unmaps, tens of mappings instead of hundreds. They must not call them (the
 * program is linked with -z now), and end by _exit or exec. */
void slim_children(void);

#endif
