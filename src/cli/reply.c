/* Reading replies: XML by expat, JSON by jansson. */
#include "cli/reply.h"

#include <expat.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define DEPTH_MAX 16
#define NAME_SIZE 48

struct reader {
    XML_Parser parser;
    reply_element *element;
    void *context;
    char names[DEPTH_MAX][NAME_SIZE];
    int depth;
    struct buf text; /* since the last tag */
    int status;
    struct err *err;
};

static void stop(struct reader *reader, int status) {
    reader->status = status;
    XML_StopParser(reader->parser, XML_FALSE);
}

static void on_open(void *data, const char *name, const char **attributes) {
    struct reader *reader = data;
    if (reader->depth == DEPTH_MAX) {
        stop(reader, err_set(reader->err, ERR_CORRUPT, "the reply is nested too deeply"));
        return;
    }
    snprintf(reader->names[reader->depth++], NAME_SIZE, "%s", name);
    buf_clear(&reader->text);
}

static void on_close(void *data, const char *name) {
    struct reader *reader = data;
    const char *parent = reader->depth > 1 ? reader->names[reader->depth - 2] : "";
    if (reader->text.failed)
        stop(reader, ERR_NOMEM);
    else {
        int status = reader->element(reader->context, parent, reader->names[reader->depth - 1],
                                     buf_span(&reader->text), reader->err);
        if (status != 0)
            stop(reader, status);
    }
    reader->depth--;
    buf_clear(&reader->text);
}

static void on_text(void *data, const char *text, int size) {
    struct reader *reader = data;
    buf_append(&reader->text, text, (size_t)size);
}

static void on_doctype(void *data, const char *name, const char *system, const char *public,
                       int internal) {
    struct reader *reader = data;
    stop(reader, err_set(reader->err, ERR_CORRUPT, "the reply has a DOCTYPE"));
}

int reply_read_xml(struct span body, reply_element *element, void *context, struct err *err) {
    struct reader reader = {.element = element, .context = context, .err = err};
    reader.parser = XML_ParserCreate(NULL);
    if (reader.parser == NULL)
        return ERR_NOMEM;
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, on_open, on_close);
    XML_SetCharacterDataHandler(reader.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reader.parser, on_doctype);
    enum XML_Status parsed = XML_Parse(reader.parser, body.data, (int)body.size, 1);
    if (parsed != XML_STATUS_OK && reader.status == 0)
        reader.status = err_set(err, ERR_CORRUPT, "the reply is not XML: %s",
                                XML_ErrorString(XML_GetErrorCode(reader.parser)));
    XML_ParserFree(reader.parser);
    buf_fini(&reader.text);
    return reader.status;
}

struct named_error {
    char code[64];
    char message[200];
};

static int take_element(void *context, const char *parent, const char *name, struct span text,
                        struct err *err) {
    struct named_error *error = context;
    if (strcmp(parent, "Error") != 0)
        return 0;
    if (strcmp(name, "Code") == 0)
        snprintf(error->code, sizeof error->code, "%.*s", SPAN_ARGS(text));
    else if (strcmp(name, "Message") == 0)
        snprintf(error->message, sizeof error->message, "%.*s", SPAN_ARGS(text));
    return 0;
}

static void read_json_error(struct span body, struct named_error *error) {
    json_t *root = json_loadb(body.data, body.size, 0, NULL);
    const char *code = NULL, *message = NULL;
    if (json_unpack(root, "{s?s, s?s}", "code", &code, "message", &message) == 0) {
        snprintf(error->code, sizeof error->code, "%s", code != NULL ? code : "");
        snprintf(error->message, sizeof error->message, "%s", message != NULL ? message : "");
    }
    json_decref(root);
}

static const struct {
    const char *s3_code;
    int status;
    int code;
} errors[] = {
#define X(name, status, s3_code, text) {s3_code, status, ERR_##name},
#include "tbl/errors.h"
#undef X
};

/* Several errors share a code: the text tells them apart for people, the status for retries. */
static int code_of(const char *s3_code, int status) {
    if (status == 503 || status == 502 || status == 504)
        return strcmp(s3_code, "SlowDown") == 0 ? ERR_BUSY : ERR_TIMEOUT;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].status == status && strcmp(errors[i].s3_code, s3_code) == 0)
            return errors[i].code;
    return status == 404   ? ERR_NOT_FOUND
           : status == 403 ? ERR_ACCESS_DENIED
           : status == 412 ? ERR_PRECONDITION_FAILED
           : status == 416 ? ERR_INVALID_RANGE
           : status >= 500 ? ERR_INTERNAL
                           : ERR_BAD_REQUEST;
}

int reply_read_error(int status, struct span body, struct err *err) {
    struct named_error error = {0};
    if (body.size > 0 && body.data[0] == '{')
        read_json_error(body, &error);
    else if (body.size > 0)
        (void)reply_read_xml(body, take_element, &error, NULL); /* not XML: the status must do */
    int code = code_of(error.code, status);
    if (error.code[0] == '\0')
        return err_set(err, code, "%s (HTTP status %d)", err_text(code), status);
    return err_set(err, code, "%s%s%s", error.code, error.message[0] != '\0' ? ": " : "",
                   error.message);
}
