/* Replies in XML: elements and escaped text into a buffer. */
#include "wire/xml.h"

#include <inttypes.h>

#include "wire/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void xml_begin(struct buf *buf) {
    buf_puts(buf, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
}

void xml_open(struct buf *buf, const char *name) {
    buf_putc(buf, '<');
    buf_puts(buf, name);
    buf_putc(buf, '>');
}

void xml_open_root(struct buf *buf, const char *name) {
    buf_putc(buf, '<');
    buf_puts(buf, name);
    buf_puts(buf, " xmlns=\"" XML_NAMESPACE "\">");
}

void xml_close(struct buf *buf, const char *name) {
    buf_puts(buf, "</");
    buf_puts(buf, name);
    buf_putc(buf, '>');
}

/* What stands for the character of that size in the text; NULL for itself. White space that a
 * parser would change is written as a reference. */
static const char *escape_of(const char *at, size_t size) {
    if (size == 0)
        return REPLACEMENT;
    switch (*at) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\r':
        return "&#13;";
    case '\n':
        return "&#10;";
    case '\t':
        return "&#9;";
    }
    if ((unsigned char)*at < 0x20)
        return REPLACEMENT;
    bool is_noncharacter =
        size == 3 && (memcmp(at, "\xef\xbf\xbe", 3) == 0 || memcmp(at, "\xef\xbf\xbf", 3) == 0);
    return is_noncharacter ? REPLACEMENT : NULL;
}

void xml_escape(struct buf *buf, struct span text) {
    size_t plain = 0; /* bytes before at that stand for themselves and wait to be appended */
    for (size_t at = 0; at < text.size;) {
        size_t size = utf8_next((struct span){text.data + at, text.size - at});
        const char *escape = escape_of(text.data + at, size);
        if (escape != NULL) {
            buf_append(buf, text.data + at - plain, plain);
            buf_puts(buf, escape);
            plain = 0;
        } else {
            plain += size;
        }
        at += size > 0 ? size : 1;
    }
    if (plain > 0)
        buf_append(buf, text.data + text.size - plain, plain);
}

void xml_text(struct buf *buf, const char *name, struct span text) {
    xml_open(buf, name);
    xml_escape(buf, text);
    xml_close(buf, name);
}

void xml_string(struct buf *buf, const char *name, const char *text) {
    xml_text(buf, name, span_of(text));
}

void xml_number(struct buf *buf, const char *name, uint64_t number) {
    xml_open(buf, name);
    buf_printf(buf, "%" PRIu64, number);
    xml_close(buf, name);
}

void xml_bool(struct buf *buf, const char *name, bool value) {
    xml_string(buf, name, value ? "true" : "false");
}
