/* Fuzzes the XML readers, and the writer: whatever bytes it is given, what it writes can be read.
 */
#include <stdint.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "wire/utf8.h"
#include "wire/xml.h"

static void fuzz_readers(struct span body, struct arena *arena) {
    struct xml_complete complete;
    struct xml_delete delete;
    struct span location;
    if (xml_read_complete(body, arena, &complete, NULL) == 0) {
        ASSERT(complete.part_count > 0 && complete.part_count <= XML_PARTS_MAX);
        for (size_t i = 0; i < complete.part_count; i++)
            ASSERT(complete.parts[i].number > 0 && complete.parts[i].etag.size > 0);
    }
    if (xml_read_delete(body, arena, &delete, NULL) == 0)
        for (size_t i = 0; i < delete.object_count; i++)
            ASSERT(utf8_is_valid(delete.objects[i].key));
    xml_read_create_bucket(body, arena, &location, NULL);
}

static void fuzz_writer(struct span text, struct arena *arena) {
    _cleanup_(buf_finip) struct buf buf = BUF_INIT;
    struct xml_delete delete;
    xml_begin(&buf);
    xml_open_root(&buf, "Delete");
    xml_open(&buf, "Object");
    xml_text(&buf, "Key", text);
    xml_close(&buf, "Object");
    xml_close(&buf, "Delete");
    if (text.size == 0 || text.size > 1000) /* below the limit of a text, however escaped */
        return;
    int code = xml_read_delete(buf_span(&buf), arena, &delete, NULL);
    ASSERT(code == 0 && delete.objects[0].key.size >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_(arena_finip) struct arena arena;
    arena_init(&arena, 1 << 20);
    fuzz_readers((struct span){(const char *)data, size}, &arena);
    arena_reset(&arena);
    fuzz_writer((struct span){(const char *)data, size}, &arena);
    return 0;
}
