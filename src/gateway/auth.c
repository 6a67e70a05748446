/* Signatures verified, with the signing keys of the last few days and regions kept. */
#include "gateway/auth.h"

#include <openssl/crypto.h>
#include <string.h>

#include "gateway/gateway_impl.h"
#include "gateway/request.h"
#include "os/clock.h"

static bool keys_find(struct gateway *gateway, struct span scope, uint8_t ret_key[SHA256_SIZE]) {
    bool found = false;
    pthread_mutex_lock(&gateway->signing_lock);
    for (unsigned i = 0; i < SIGNING_KEYS && !found; i++) {
        found = span_is(scope, gateway->signing_keys[i].scope);
        if (found)
            memcpy(ret_key, gateway->signing_keys[i].key, SHA256_SIZE);
    }
    pthread_mutex_unlock(&gateway->signing_lock);
    return found;
}

static void keys_keep(struct gateway *gateway, struct span scope, const uint8_t key[SHA256_SIZE]) {
    if (scope.size >= sizeof gateway->signing_keys[0].scope)
        return;
    pthread_mutex_lock(&gateway->signing_lock);
    struct signing_key *slot = &gateway->signing_keys[gateway->signing_next++ % SIGNING_KEYS];
    memcpy(slot->scope, scope.data, scope.size);
    slot->scope[scope.size] = '\0';
    memcpy(slot->key, key, SHA256_SIZE);
    pthread_mutex_unlock(&gateway->signing_lock);
}

static bool is_access_key(const struct gateway *gateway, struct span access_key) {
    const char *ours = gateway->options.access_key;
    return access_key.size == strlen(ours) &&
           CRYPTO_memcmp(access_key.data, ours, access_key.size) == 0;
}

int auth_check(struct request *request) {
    struct gateway *gateway = request->gateway;
    struct sigv4_auth *auth = &request->auth;
    int rc = sigv4_parse(&request->http, &request->uri, &request->arena, auth, &request->err);
    if (rc != 0)
        return rc;
    if (!is_access_key(gateway, auth->access_key))
        return err_set(&request->err, ERR_INVALID_ACCESS_KEY, "%s",
                       err_text(ERR_INVALID_ACCESS_KEY));
    rc = sigv4_check_time(auth, (int64_t)(clock_wall_ms() / 1000), &request->err);
    if (rc != 0)
        return rc;
    bool known = keys_find(gateway, auth->scope, request->signing_key);
    if (!known)
        sigv4_signing_key(span_of(gateway->options.secret_key), auth->date, auth->region,
                          auth->service, request->signing_key);
    rc = sigv4_verify(auth, &request->http, &request->uri, request->signing_key, &request->err);
    if (rc == 0 && !known)
        keys_keep(gateway, auth->scope, request->signing_key); /* only after it proved right */
    return rc;
}
