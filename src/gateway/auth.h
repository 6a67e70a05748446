/* Who sent it: SigV4 by header or in the query. */
#ifndef QUERN_GATEWAY_AUTH_H
#define QUERN_GATEWAY_AUTH_H

struct request;

/* Verifies the signature of the head and fills request->auth and request->signing_key. Errors:
 * those of wire/sigv4.h, INVALID_ACCESS_KEY. */
int auth_check(struct request *request);

#endif
