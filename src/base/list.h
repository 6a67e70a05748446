/* An intrusive doubly linked list with a sentinel head. */
#ifndef QUERN_BASE_LIST_H
#define QUERN_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
#define LIST_FOR_EACH(node, head)                                                                  \
    for (struct list *node = (head)->next; node != (head); node = node->next)

static inline void list_init(struct list *head) {
    head->next = head->prev = head;
}

static inline bool list_is_empty(const struct list *head) {
    return head->next == head;
}

static inline void list_add_tail(struct list *head, struct list *node) {
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Leaves the node pointing at itself, so that removing twice is harmless. */
static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves all of more behind what is in the list. */
static inline void list_append(struct list *head, struct list *more) {
    if (list_is_empty(more))
        return;
    more->next->prev = head->prev;
    more->prev->next = head;
    head->prev->next = more->next;
    head->prev = more->prev;
    list_init(more);
}

static inline struct list *list_pop_head(struct list *head) {
    if (list_is_empty(head))
        return NULL;
    struct list *node = head->next;
    list_remove(node);
    return node;
}

#endif
