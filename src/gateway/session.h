/* A client's connection: requests read one after the other, each authenticated, routed and
 * answered. */
#ifndef QUERN_GATEWAY_SESSION_H
#define QUERN_GATEWAY_SESSION_H

#include "os/server.h"

/* Of the gateway's struct server_protocol, whose context is its struct gateway. */
enum server_verdict session_serve(void *gateway, struct server_conn *conn);
void session_closed(void *gateway, struct server_conn *conn);

#endif
