/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chained buckets that double when they are full. Keys come from strangers (model names, request ids), so the hash is
 * keyed with a random number of the process: nobody outside can aim at one bucket.
 */
#include "util/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "util/str.h"

struct pm_map_entry {
    struct pm_map_entry *next;
    void *value;
    uint64_t hash;
    size_t n;
    char key[];
};

static uint64_t seed(void)
{
    static uint64_t value;

    if (!value) {
        if (getrandom(&value, sizeof(value), 0) != sizeof(value))
            abort();
        value |= 1;
    }
    return value;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

static uint64_t hash_bytes(const char *key, size_t n)
{
    uint64_t h = seed() ^ n;
    uint64_t word;

    for (; n >= sizeof(word); key += sizeof(word), n -= sizeof(word)) {
        memcpy(&word, key, sizeof(word));
        h = mix(h ^ word);
    }
    word = 0;
    memcpy(&word, key, n);
    return mix(h ^ word);
}

static struct pm_map_entry **find(const struct pm_map *map, const void *key, size_t n,
                                  uint64_t hash)
{
    struct pm_map_entry **at = &map->buckets[hash & (map->n_buckets - 1)];

    while (*at && !((*at)->hash == hash && (*at)->n == n && memcmp((*at)->key, key, n) == 0))
        at = &(*at)->next;
    return at;
}

static void grow(struct pm_map *map)
{
    size_t n_buckets = map->n_buckets ? map->n_buckets * 2 : 16;
    struct pm_map_entry **buckets = pm_xalloc(n_buckets * sizeof(struct pm_map_entry *));

    for (size_t i = 0; i < map->n_buckets; i++) {
        struct pm_map_entry *entry = map->buckets[i];

        while (entry) {
            struct pm_map_entry *next = entry->next;

            entry->next = buckets[entry->hash & (n_buckets - 1)];
            buckets[entry->hash & (n_buckets - 1)] = entry;
            entry = next;
        }
    }
    free(map->buckets);
    map->buckets = buckets;
    map->n_buckets = n_buckets;
}

void pm_map_fini(struct pm_map *map)
{
    for (size_t i = 0; i < map->n_buckets; i++) {
        struct pm_map_entry *entry = map->buckets[i];

        while (entry) {
            struct pm_map_entry *next = entry->next;

            free(entry);
            entry = next;
        }
    }
    free(map->buckets);
    *map = (struct pm_map){0};
}

static void *set(struct pm_map *map, const void *key, size_t n, void *value)
{
    uint64_t hash = hash_bytes(key, n);
    struct pm_map_entry **at;
    struct pm_map_entry *entry;
    void *former;

    if (map->n >= map->n_buckets)
        grow(map);

    at = find(map, key, n, hash);
    if (*at) {
        former = (*at)->value;
        (*at)->value = value;
        return former;
    }

    entry = pm_xalloc(sizeof(*entry) + n);
    entry->value = value;
    entry->hash = hash;
    entry->n = n;
    memcpy(entry->key, key, n);
    *at = entry;
    map->n++;
    return NULL;
}

static void *get(const struct pm_map *map, const void *key, size_t n)
{
    struct pm_map_entry **at;

    if (!map->n)
        return NULL;

    at = find(map, key, n, hash_bytes(key, n));
    return *at ? (*at)->value : NULL;
}

static void *take(struct pm_map *map, const void *key, size_t n)
{
    struct pm_map_entry **at;
    struct pm_map_entry *entry;
    void *value;

    if (!map->n)
        return NULL;

    at = find(map, key, n, hash_bytes(key, n));
    entry = *at;
    if (!entry)
        return NULL;

    value = entry->value;
    *at = entry->next;
    free(entry);
    map->n--;
    return value;
}

void *pm_map_set(struct pm_map *map, const char *key, void *value)
{
    return set(map, key, strlen(key), value);
}

void *pm_map_get(const struct pm_map *map, const char *key)
{
    return get(map, key, strlen(key));
}

void *pm_map_get_n(const struct pm_map *map, const char *key, size_t n)
{
    return get(map, key, n);
}

void *pm_map_remove(struct pm_map *map, const char *key)
{
    return take(map, key, strlen(key));
}

void *pm_map_set_u64(struct pm_map *map, uint64_t key, void *value)
{
    return set(map, &key, sizeof(key), value);
}

void *pm_map_get_u64(const struct pm_map *map, uint64_t key)
{
    return get(map, &key, sizeof(key));
}

void *pm_map_remove_u64(struct pm_map *map, uint64_t key)
{
    return take(map, &key, sizeof(key));
}
