/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from bytes (copied) or numbers to pointers (borrowed). O(1); no order of its own. */
#ifndef PM_UTIL_MAP_H
#define PM_UTIL_MAP_H

#include <stddef.h>
#include <stdint.h>

struct pm_map_entry;

struct pm_map {
    struct pm_map_entry **buckets;
    size_t n_buckets, n;
};

/* Zeros are an empty map. The values are their owners'. */
void pm_map_fini(struct pm_map *map);

/* Sets (replacing) and returns the former value, or NULL. Aborts when memory is exhausted. */
void *pm_map_set(struct pm_map *map, const char *key, void *value);
void *pm_map_get(const struct pm_map *map, const char *key);
void *pm_map_get_n(const struct pm_map *map, const char *key, size_t n);
void *pm_map_remove(struct pm_map *map, const char *key); /* returns the former value, or NULL */

/* The same with a number as key; do not mix both kinds in one map. */
void *pm_map_set_u64(struct pm_map *map, uint64_t key, void *value);
void *pm_map_get_u64(const struct pm_map *map, uint64_t key);
void *pm_map_remove_u64(struct pm_map *map, uint64_t key);

#endif
