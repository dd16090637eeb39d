/* SPDX-License-Identifier: Apache-2.0 */
/* The scope owns what it has not handed over yet: pm_auto(destructor) declares, pm_take() hands over. */
#ifndef PM_UTIL_CLEANUP_H
#define PM_UTIL_CLEANUP_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* `pm_auto(pm_config_free) struct pm_config *config = NULL;` — needs PM_DEFINE_AUTO(struct pm_config *, pm_config_free). */
#define pm_auto(destructor) __attribute__((__cleanup__(destructor##_auto)))

#define PM_DEFINE_AUTO(type, destructor)                                                           \
    static inline __attribute__((__unused__)) void destructor##_auto(type *variable)               \
    {                                                                                              \
        if (*variable)                                                                             \
            destructor(*variable);                                                                 \
    }

static inline void pm_free_auto(void *variable)
{
    free(*(void **)variable);
}

static inline void pm_close_auto(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

#define pm_auto_free  __attribute__((__cleanup__(pm_free_auto)))
#define pm_auto_close __attribute__((__cleanup__(pm_close_auto)))

/* Hands the pointer over and forgets it. */
#define pm_take(variable)                                                                          \
    (__extension__({                                                                               \
        __typeof__(variable) taken_ = (variable);                                                  \
        (variable) = NULL;                                                                         \
        taken_;                                                                                    \
    }))

static inline int pm_take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#define pm_container_of(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define PM_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
