/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list. A link of zeros is in no list. */
#ifndef PM_UTIL_LIST_H
#define PM_UTIL_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "util/cleanup.h"

struct pm_link {
    struct pm_link *prev, *next;
};

struct pm_list {
    struct pm_link head;
};

static inline void pm_list_init(struct pm_list *list)
{
    list->head.prev = list->head.next = &list->head;
}

static inline bool pm_list_empty(const struct pm_list *list)
{
    return list->head.next == &list->head;
}

static inline bool pm_link_in_list(const struct pm_link *link)
{
    return link->next != NULL;
}

static inline void pm_list_insert_before(struct pm_link *where, struct pm_link *link)
{
    link->prev = where->prev;
    link->next = where;
    where->prev->next = link;
    where->prev = link;
}

static inline void pm_list_append(struct pm_list *list, struct pm_link *link)
{
    pm_list_insert_before(&list->head, link);
}

static inline void pm_list_prepend(struct pm_list *list, struct pm_link *link)
{
    pm_list_insert_before(list->head.next, link);
}

/* Harmless for a link that is in no list. */
static inline void pm_list_remove(struct pm_link *link)
{
    if (!link->next)
        return;

    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
}

/* The first link, or NULL. */
static inline struct pm_link *pm_list_first(const struct pm_list *list)
{
    return pm_list_empty(list) ? NULL : list->head.next;
}

/* The link after `link`, or NULL at the end. */
static inline struct pm_link *pm_list_next(const struct pm_list *list, const struct pm_link *link)
{
    return link->next == &list->head ? NULL : link->next;
}

#define pm_list_each(list, link)                                                                   \
    for ((link) = (list)->head.next; (link) != &(list)->head; (link) = (link)->next)

/* The body may remove `link`. */
#define pm_list_each_safe(list, link, after)                                                       \
    for ((link) = (list)->head.next, (after) = (link)->next; (link) != &(list)->head;              \
         (link) = (after), (after) = (link)->next)

#endif
