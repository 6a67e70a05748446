/* Request bodies in XML: expat walks the document, a table for each kind of body says what to do at
 * which path. */
#include "wire/xml.h"

#include <expat.h>

#include "base/cleanup.h"

#define PATH_BYTES_MAX 256u
#define DEPTH_MAX 16u
#define TEXT_BYTES_MAX 8192u /* of one element */

struct reader;

/* An element that means something: a group with begin and end, or a leaf with take. */
struct field {
    const char *path; /* "Delete/Object/Key" */
    int (*begin)(struct reader *reader);
    int (*take)(struct reader *reader, struct span text);
    int (*end)(struct reader *reader);
};

struct reader {
    XML_Parser parser;
    const struct field *fields; /* ends with a NULL path */
    struct arena *arena;
    void *out;   /* the caller's struct */
    size_t room; /* of its array */
    char path[PATH_BYTES_MAX];
    size_t path_size;
    unsigned depth;
    const struct field *leaf; /* the one we are in */
    struct buf text;          /* of that leaf */
    int code;
    struct err *err;
};

static int malformed(struct reader *reader, const char *what) {
    return err_set(reader->err, ERR_MALFORMED_XML, "the XML is not what was expected: %s", what);
}

static void stop(struct reader *reader, int code) {
    if (reader->code != 0 || code == 0)
        return;
    reader->code = code;
    XML_StopParser(reader->parser, XML_FALSE);
}

static const struct field *field_at(const struct reader *reader) {
    for (const struct field *field = reader->fields; field->path != NULL; field++)
        if (span_is((struct span){reader->path, reader->path_size}, field->path))
            return field;
    return NULL;
}

static bool path_push(struct reader *reader, const char *name) {
    const char *colon = strchr(name, ':'); /* a prefix of a name space means nothing here */
    struct span local = span_of(colon != NULL ? colon + 1 : name);
    if (reader->depth == DEPTH_MAX || local.size + 1 > PATH_BYTES_MAX - reader->path_size)
        return false;
    if (reader->depth++ > 0)
        reader->path[reader->path_size++] = '/';
    memcpy(reader->path + reader->path_size, local.data, local.size);
    reader->path_size += local.size;
    return true;
}

static void path_pop(struct reader *reader) {
    reader->depth--;
    while (reader->path_size > 0 && reader->path[--reader->path_size] != '/')
        ;
}

static void on_start(void *data, const char *name, const char **attributes) {
    (void)attributes;
    struct reader *reader = data;
    if (reader->code != 0) /* expat may still finish what it was at when it was stopped */
        return;
    if (reader->leaf != NULL || !path_push(reader, name))
        return stop(reader, malformed(reader, "elements too deep"));
    const struct field *field = field_at(reader);
    if (field == NULL && reader->depth == 1)
        return stop(reader, malformed(reader, "another root element"));
    if (field != NULL && field->take != NULL) {
        reader->leaf = field;
        buf_clear(&reader->text);
    }
    if (field != NULL && field->begin != NULL)
        stop(reader, field->begin(reader));
}

static void on_end(void *data, const char *name) {
    (void)name;
    struct reader *reader = data;
    if (reader->code != 0)
        return;
    const struct field *field = field_at(reader);
    reader->leaf = NULL;
    if (field != NULL && field->take != NULL)
        stop(reader, reader->text.failed ? malformed(reader, "a text too long")
                                         : field->take(reader, buf_span(&reader->text)));
    if (field != NULL && field->end != NULL)
        stop(reader, field->end(reader));
    path_pop(reader);
}

static void on_text(void *data, const char *text, int size) {
    struct reader *reader = data;
    if (reader->leaf != NULL)
        buf_append(&reader->text, text, (size_t)size);
}

static void on_doctype(void *data, const char *name, const char *system, const char *public,
                       int has_internal) {
    (void)name, (void)system, (void)public, (void)has_internal;
    stop(data, malformed(data, "a DOCTYPE"));
}

static int run(struct reader *reader, struct span body) {
    if (body.size > XML_BODY_BYTES_MAX)
        return malformed(reader, "a body too long");
    reader->parser = XML_ParserCreate("UTF-8");
    if (reader->parser == NULL)
        return err_set(reader->err, ERR_NOMEM, "out of memory for a parser");
    XML_SetUserData(reader->parser, reader);
    XML_SetElementHandler(reader->parser, on_start, on_end);
    XML_SetCharacterDataHandler(reader->parser, on_text);
    XML_SetStartDoctypeDeclHandler(reader->parser, on_doctype);
    enum XML_Status status = XML_Parse(reader->parser, body.data, (int)body.size, XML_TRUE);
    if (status != XML_STATUS_OK && reader->code == 0)
        stop(reader, malformed(reader, XML_ErrorString(XML_GetErrorCode(reader->parser))));
    XML_ParserFree(reader->parser);
    return reader->code;
}

static int read_body(struct span body, const struct field *fields, struct arena *arena, void *out,
                     struct err *err) {
    struct reader reader = {.fields = fields,
                            .arena = arena,
                            .out = out,
                            .err = err,
                            .text = {.limit = TEXT_BYTES_MAX}};
    int code = run(&reader, body);
    buf_fini(&reader.text);
    return code;
}

static int keep(struct reader *reader, struct span text, struct span *ret_kept) {
    char *copy = arena_strndup(reader->arena, text.data, text.size);
    if (copy == NULL)
        return err_set(reader->err, ERR_LIMIT, "the XML is too large");
    *ret_kept = (struct span){copy, text.size};
    return 0;
}

/* Makes room for one more element of an array in the arena, by doubling. */
static int grow(struct reader *reader, void **array, size_t count, size_t count_max, size_t size) {
    if (count == count_max)
        return malformed(reader, "too many elements");
    if (count < reader->room)
        return 0;
    size_t room = reader->room == 0 ? 16 : 2 * reader->room;
    void *larger = arena_alloc(reader->arena, room * size);
    if (larger == NULL)
        return err_set(reader->err, ERR_LIMIT, "the XML is too large");
    if (count > 0)
        memcpy(larger, *array, count * size);
    *array = larger;
    reader->room = room;
    return 0;
}

/* CompleteMultipartUpload */

static struct xml_part *last_part(struct reader *reader) {
    struct xml_complete *complete = reader->out;
    return &complete->parts[complete->part_count - 1];
}

static int part_begin(struct reader *reader) {
    struct xml_complete *complete = reader->out;
    void *parts = complete->parts;
    int code = grow(reader, &parts, complete->part_count, XML_PARTS_MAX, sizeof *complete->parts);
    if (code != 0)
        return code;
    complete->parts = parts;
    complete->part_count++;
    return 0;
}

static int part_end(struct reader *reader) {
    const struct xml_part *part = last_part(reader);
    if (part->number == 0 || part->etag.size == 0)
        return malformed(reader, "a Part without PartNumber or ETag");
    return 0;
}

static int part_number(struct reader *reader, struct span text) {
    uint32_t number = 0;
    text = span_trim(text);
    for (size_t i = 0; i < text.size && number <= XML_PARTS_MAX; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return malformed(reader, "PartNumber");
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (number < 1 || number > XML_PARTS_MAX)
        return malformed(reader, "PartNumber");
    last_part(reader)->number = number;
    return 0;
}

static int part_etag(struct reader *reader, struct span text) {
    text = span_trim(text);
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
        text = (struct span){text.data + 1, text.size - 2};
    return keep(reader, text, &last_part(reader)->etag);
}

static int part_checksum(struct reader *reader, struct span text) {
    struct xml_part *part = last_part(reader);
    struct span path = {reader->path, reader->path_size};
    for (enum checksum_kind kind = CHECKSUM_NONE + 1; kind < CHECKSUM_END; kind++) {
        struct span element = span_of(checksum_element(kind));
        if (path.size > element.size &&
            memcmp(path.data + path.size - element.size, element.data, element.size) == 0)
            part->checksum_kind = kind;
    }
    text = span_trim(text);
    if (!checksum_is_valid(part->checksum_kind, text))
        return malformed(reader, "a checksum");
    return keep(reader, text, &part->checksum);
}

#define PART "CompleteMultipartUpload/Part"

int xml_read_complete(struct span body, struct arena *arena, struct xml_complete *ret_complete,
                      struct err *err) {
    static const struct field fields[] = {
        {"CompleteMultipartUpload"},
        {PART, .begin = part_begin, .end = part_end},
        {PART "/PartNumber", .take = part_number},
        {PART "/ETag", .take = part_etag},
        {PART "/ChecksumCRC32", .take = part_checksum},
        {PART "/ChecksumCRC32C", .take = part_checksum},
        {PART "/ChecksumCRC64NVME", .take = part_checksum},
        {PART "/ChecksumSHA1", .take = part_checksum},
        {PART "/ChecksumSHA256", .take = part_checksum},
        {NULL},
    };
    struct xml_complete complete = {0};
    int code = read_body(body, fields, arena, &complete, err);
    if (code == 0 && complete.part_count == 0)
        code = err_set(err, ERR_MALFORMED_XML, "the list of parts is empty");
    if (code == 0)
        *ret_complete = complete;
    return code;
}

/* Delete */

static struct xml_delete_object *last_object(struct reader *reader) {
    struct xml_delete *delete = reader->out;
    return &delete->objects[delete->object_count - 1];
}

static int object_begin(struct reader *reader) {
    struct xml_delete *delete = reader->out;
    void *objects = delete->objects;
    int code =
        grow(reader, &objects, delete->object_count, XML_DELETE_MAX, sizeof *delete->objects);
    if (code != 0)
        return code;
    delete->objects = objects;
    delete->object_count++;
    return 0;
}

static int object_end(struct reader *reader) {
    return last_object(reader)->key.size > 0 ? 0 : malformed(reader, "an Object without Key");
}

static int object_key(struct reader *reader, struct span text) {
    return keep(reader, text, &last_object(reader)->key); /* white space is part of a key */
}

static int object_version(struct reader *reader, struct span text) {
    return keep(reader, span_trim(text), &last_object(reader)->version_id);
}

static int delete_quiet(struct reader *reader, struct span text) {
    struct xml_delete *delete = reader->out;
    text = span_trim(text);
    delete->is_quiet = span_is(text, "true");
    return delete->is_quiet || span_is(text, "false") ? 0 : malformed(reader, "Quiet");
}

int xml_read_delete(struct span body, struct arena *arena, struct xml_delete *ret_delete,
                    struct err *err) {
    static const struct field fields[] = {
        {"Delete"},
        {"Delete/Quiet", .take = delete_quiet},
        {"Delete/Object", .begin = object_begin, .end = object_end},
        {"Delete/Object/Key", .take = object_key},
        {"Delete/Object/VersionId", .take = object_version},
        {NULL},
    };
    struct xml_delete delete = {0};
    int code = read_body(body, fields, arena, &delete, err);
    if (code == 0 && delete.object_count == 0)
        code = err_set(err, ERR_MALFORMED_XML, "the list of objects is empty");
    if (code == 0)
        *ret_delete = delete;
    return code;
}

/* CreateBucketConfiguration */

static int location(struct reader *reader, struct span text) {
    return keep(reader, span_trim(text), reader->out);
}

int xml_read_create_bucket(struct span body, struct arena *arena, struct span *ret_location,
                           struct err *err) {
    static const struct field fields[] = {
        {"CreateBucketConfiguration"},
        {"CreateBucketConfiguration/LocationConstraint", .take = location},
        {NULL},
    };
    struct span found = {"", 0};
    int code = span_trim(body).size > 0 ? read_body(body, fields, arena, &found, err) : 0;
    if (code == 0)
        *ret_location = found;
    return code;
}
