/* The store's side of its rpc messages. */
#ifndef QUERN_STORE_SERVER_H
#define QUERN_STORE_SERVER_H

#include "store/local.h"

void store_serve(struct store *store, struct rpc_server *server); /* adds the handlers */

#endif
