/* Endpoints and keys: QUERN_*, else AWS_*, else ~/.config/quern/config. */
#include "cli/client_config.h"

#include <curl/curl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ENDPOINT_DEFAULT "http://127.0.0.1:9000"

struct settings {
    char *endpoint;
    char *access_key;
    char *secret_key;
};

static void settings_fini(struct settings *settings) {
    free(settings->endpoint);
    free(settings->access_key);
    free(settings->secret_key);
}

static int take_line(void *context, const char *section, const char *name, const char *value) {
    struct settings *settings = context;
    char **target = strcmp(name, "endpoint") == 0     ? &settings->endpoint
                    : strcmp(name, "access_key") == 0 ? &settings->access_key
                    : strcmp(name, "secret_key") == 0 ? &settings->secret_key
                                                      : NULL;
    if (target == NULL)
        return 0; /* inih reports the line */
    free(*target);
    *target = strdup(value);
    return *target != NULL;
}

/* An absent file is as good as an empty one. */
static int read_file(struct settings *settings, struct err *err) {
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char path[4096];
    if (base != NULL && base[0] != '\0')
        snprintf(path, sizeof path, "%s/quern/config", base);
    else if (home != NULL)
        snprintf(path, sizeof path, "%s/.config/quern/config", home);
    else
        return 0;
    if (access(path, F_OK) != 0)
        return 0;
    int line = ini_parse(path, take_line, settings);
    if (line < 0)
        return err_set(err, ERR_IO, "%s cannot be read", path);
    if (line > 0)
        return err_set(err, ERR_INVALID, "%s: line %d is not endpoint, access_key or secret_key",
                       path, line);
    return 0;
}

static const char *first_set(const char *a, const char *b, const char *c) {
    const char *values[] = {getenv(a), getenv(b), c};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i] != NULL && values[i][0] != '\0')
            return values[i];
    return NULL;
}

/* Takes "http://host:port" apart with curl's own parser, so that Host is what curl connects to. */
static int add_endpoint(struct client_config *config, const char *text, struct err *err) {
    if (config->endpoint_count == CLIENT_ENDPOINTS_MAX)
        return err_set(err, ERR_INVALID, "more than %u endpoints", CLIENT_ENDPOINTS_MAX);
    CURLU *url = curl_url();
    if (url == NULL)
        return ERR_NOMEM;
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    struct client_endpoint *endpoint = &config->endpoints[config->endpoint_count++];
    int status = 0;
    if (curl_url_set(url, CURLUPART_URL, text, 0) != 0 ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != 0 ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != 0 ||
        curl_url_get(url, CURLUPART_PATH, &path, 0) != 0 || strcmp(path, "/") != 0 ||
        strncmp(scheme, "http", 4) != 0) {
        status = err_set(err, ERR_INVALID, "the endpoint '%s' is not like http://HOST:PORT", text);
    } else {
        bool has_port = curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) == 0;
        if (asprintf(&endpoint->host, "%s%s%s", host, has_port ? ":" : "", has_port ? port : "") <
            0)
            endpoint->host = NULL;
        if (endpoint->host == NULL ||
            asprintf(&endpoint->url, "%s://%s", scheme, endpoint->host) < 0)
            status = ERR_NOMEM;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_url_cleanup(url);
    return status;
}

static int add_endpoints(struct client_config *config, const char *list, struct err *err) {
    _cleanup_(freep) char *copy = strdup(list);
    if (copy == NULL)
        return ERR_NOMEM;
    char *rest = NULL;
    int status = 0;
    for (char *word = strtok_r(copy, ", ", &rest); word != NULL && status == 0;
         word = strtok_r(NULL, ", ", &rest))
        status = add_endpoint(config, word, err);
    if (status == 0 && config->endpoint_count == 0)
        return err_set(err, ERR_INVALID, "the endpoint is empty");
    return status;
}

static int read_all(struct client_config *config, struct settings *settings, struct err *err) {
    int status = read_file(settings, err);
    if (status != 0)
        return status;
    const char *endpoint = first_set("QUERN_ENDPOINT", "AWS_ENDPOINT_URL", settings->endpoint);
    const char *access = first_set("QUERN_ACCESS_KEY", "AWS_ACCESS_KEY_ID", settings->access_key);
    const char *secret =
        first_set("QUERN_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", settings->secret_key);
    if (access == NULL || secret == NULL)
        return err_set(err, ERR_ACCESS_DENIED,
                       "no keys: set QUERN_ACCESS_KEY and QUERN_SECRET_KEY (a server wrote them to "
                       "DIR/credentials), or put them into ~/.config/quern/config");
    config->access_key = strdup(access);
    config->secret_key = strdup(secret);
    if (config->access_key == NULL || config->secret_key == NULL)
        return ERR_NOMEM;
    return add_endpoints(config, endpoint != NULL ? endpoint : ENDPOINT_DEFAULT, err);
}

int client_config_read(struct client_config *config, struct err *err) {
    struct settings settings = {0};
    int status = read_all(config, &settings, err);
    settings_fini(&settings);
    return status;
}

void client_config_fini(struct client_config *config) {
    for (unsigned i = 0; i < config->endpoint_count; i++) {
        free(config->endpoints[i].url);
        free(config->endpoints[i].host);
    }
    free(config->access_key);
    free(config->secret_key);
    *config = (struct client_config){0};
}
