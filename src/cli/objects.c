/* ListObjectsV2 and ListBuckets. */
#include "cli/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/reply.h"

#define PAGE_ENTRIES_MAX 2000u /* a page has at most 1000; ListBuckets has no pages */

struct page {
    struct listed *entries; /* with room for PAGE_ENTRIES_MAX */
    unsigned count;
    struct listed entry; /* being read */
    bool is_truncated;
    char token[4096];
};

static void copy_text(char *to, size_t size, struct span text) {
    snprintf(to, size, "%.*s", SPAN_ARGS(text));
}

static void copy_etag(char *to, size_t size, struct span text) {
    if (text.size >= 2 && text.data[0] == '"')
        text = (struct span){text.data + 1, text.size - 2};
    copy_text(to, size, text);
}

static int end_entry(struct page *page, struct err *err) {
    if (page->count == PAGE_ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "the listing has more than %u entries", PAGE_ENTRIES_MAX);
    page->entries[page->count++] = page->entry;
    page->entry = (struct listed){0};
    return 0;
}

static int take_element(void *context, const char *parent, const char *name, struct span text,
                        struct err *err) {
    struct page *page = context;
    struct listed *entry = &page->entry;
    bool in_entry = strcmp(parent, "Contents") == 0 || strcmp(parent, "Bucket") == 0;
    if (in_entry && (strcmp(name, "Key") == 0 || strcmp(name, "Name") == 0))
        copy_text(entry->name, sizeof entry->name, text);
    else if (in_entry && strcmp(name, "Size") == 0)
        entry->size = strtoull(text.data, NULL, 10);
    else if (in_entry && (strcmp(name, "LastModified") == 0 || strcmp(name, "CreationDate") == 0))
        copy_text(entry->modified, sizeof entry->modified, text);
    else if (in_entry && strcmp(name, "ETag") == 0)
        copy_etag(entry->etag, sizeof entry->etag, text);
    else if (strcmp(parent, "CommonPrefixes") == 0 && strcmp(name, "Prefix") == 0) {
        copy_text(entry->name, sizeof entry->name, text);
        entry->is_prefix = true;
        return end_entry(page, err);
    } else if (strcmp(name, "Contents") == 0 || strcmp(name, "Bucket") == 0)
        return end_entry(page, err);
    else if (strcmp(name, "IsTruncated") == 0)
        page->is_truncated = span_is(text, "true");
    else if (strcmp(name, "NextContinuationToken") == 0)
        copy_text(page->token, sizeof page->token, text);
    return 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

/* The reply has keys first and common prefixes behind them: people want one order. */
static int read_page(struct client *client, const struct client_request *request, struct page *page,
                     struct err *err) {
    _cleanup_(client_response_finip) struct client_response response = CLIENT_RESPONSE_INIT;
    int status = client_perform(client, request, &response, err);
    page->is_truncated = false;
    page->token[0] = '\0';
    page->count = 0;
    if (status == 0)
        status = reply_read_xml(buf_span(&response.body), take_element, page, err);
    if (status == 0)
        qsort(page->entries, page->count, sizeof *page->entries, compare_names);
    return status;
}

static int visit_page(const struct page *page, objects_visit *visit, void *context,
                      struct err *err) {
    int status = 0;
    for (unsigned i = 0; i < page->count && status == 0; i++)
        status = visit(context, &page->entries[i], err);
    return status;
}

static int list_page(struct client *client, const struct place *place, bool is_deep,
                     const char *token, struct page *page, struct err *err) {
    char path[CLIENT_PATH_SIZE];
    struct place bucket = *place;
    bucket.key[0] = '\0';
    struct uri_param params[4] = {{SPAN_LITERAL("list-type"), SPAN_LITERAL("2")},
                                  {SPAN_LITERAL("prefix"), span_of(place->key)}};
    size_t count = 2;
    if (!is_deep)
        params[count++] = (struct uri_param){SPAN_LITERAL("delimiter"), SPAN_LITERAL("/")};
    if (token[0] != '\0')
        params[count++] = (struct uri_param){SPAN_LITERAL("continuation-token"), span_of(token)};
    struct client_request request = {.method = "GET",
                                     .path = client_path(&bucket, path),
                                     .params = params,
                                     .param_count = count};
    return read_page(client, &request, page, err);
}

static int list_pages(struct client *client, const struct place *place, bool is_deep,
                      struct page *page, objects_visit *visit, void *context, struct err *err) {
    char token[sizeof page->token] = "";
    do {
        int status = list_page(client, place, is_deep, token, page, err);
        if (status == 0)
            status = visit_page(page, visit, context, err);
        if (status != 0)
            return status;
        if (page->is_truncated && (page->token[0] == '\0' || strcmp(page->token, token) == 0))
            return err_set(err, ERR_PROTOCOL, "the listing does not go on");
        memcpy(token, page->token, sizeof token);
    } while (page->is_truncated);
    return 0;
}

static int page_init(struct page *page) {
    *page = (struct page){.entries = malloc(PAGE_ENTRIES_MAX * sizeof *page->entries)};
    return page->entries != NULL ? 0 : ERR_NOMEM;
}

int objects_list(struct client *client, const struct place *place, bool is_deep,
                 objects_visit *visit, void *context, struct err *err) {
    struct page page;
    int status = page_init(&page);
    if (status == 0)
        status = list_pages(client, place, is_deep, &page, visit, context, err);
    free(page.entries);
    return status;
}

int objects_list_buckets(struct client *client, objects_visit *visit, void *context,
                         struct err *err) {
    struct page page;
    struct client_request request = {.method = "GET", .path = "/"};
    int status = page_init(&page);
    if (status == 0)
        status = read_page(client, &request, &page, err);
    if (status == 0)
        status = visit_page(&page, visit, context, err);
    free(page.entries);
    return status;
}
