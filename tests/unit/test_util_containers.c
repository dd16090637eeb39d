/* SPDX-License-Identifier: Apache-2.0 */
/* Heap, map, list and buffer, compared with the simplest thing that does the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/buf.h"
#include "util/cleanup.h"
#include "util/heap.h"
#include "util/list.h"
#include "util/map.h"
#include "util/str.h"

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* ---- heap ------------------------------------------------------------------------------------------- */

#define N_NODES 200

/* The node that must come first, found the slow way; NULL when none is in the heap. */
static struct pm_heap_node *slow_first(struct pm_heap_node *nodes, const uint64_t *set_at)
{
    struct pm_heap_node *first = NULL;

    for (size_t i = 0; i < N_NODES; i++) {
        if (!pm_heap_contains(&nodes[i]))
            continue;
        if (!first || nodes[i].key < first->key ||
            (nodes[i].key == first->key && set_at[i] < set_at[first - nodes]))
            first = &nodes[i];
    }
    return first;
}

static void test_the_heap_gives_the_earliest_first_and_equal_ones_in_order(void **state)
{
    struct pm_heap_node nodes[N_NODES] = {0};
    uint64_t set_at[N_NODES] = {0};
    struct pm_heap heap = {0};
    uint64_t seed = 7;

    (void)state;
    for (uint64_t step = 1; step <= 5000; step++) {
        size_t i = next_random(&seed) % N_NODES;

        switch (next_random(&seed) % 4) {
        case 0: pm_heap_remove(&heap, &nodes[i]); break;
        case 1:
            if (pm_heap_first(&heap))
                pm_heap_remove(&heap, pm_heap_first(&heap));
            break;
        default:
            pm_heap_set(&heap, &nodes[i], next_random(&seed) % 50); /* few keys: many are equal */
            set_at[i] = step;
        }
        assert_ptr_equal(pm_heap_first(&heap), slow_first(nodes, set_at));
    }
    for (uint64_t former = 0; pm_heap_first(&heap);) {
        struct pm_heap_node *node = pm_heap_first(&heap);

        assert_true(node->key >= former);
        former = node->key;
        pm_heap_remove(&heap, node);
        assert_false(pm_heap_contains(node));
    }
    pm_heap_fini(&heap);
}

static void test_never_takes_a_node_out_of_the_heap(void **state)
{
    struct pm_heap_node node = {0};
    struct pm_heap heap = {0};

    (void)state;
    pm_heap_set(&heap, &node, PM_NEVER);
    assert_null(pm_heap_first(&heap));
    pm_heap_set(&heap, &node, 5);
    assert_ptr_equal(pm_heap_first(&heap), &node);
    pm_heap_set(&heap, &node, PM_NEVER);
    assert_null(pm_heap_first(&heap));
    pm_heap_remove(&heap, &node);
    pm_heap_fini(&heap);
}

/* ---- map -------------------------------------------------------------------------------------------- */

static void test_a_map_finds_what_was_set_and_nothing_else(void **state)
{
    static char present[1000]; /* what is in the map, and where the values point */
    struct pm_map map = {0};
    uint64_t seed = 11;
    char key[24];
    size_t n = 0;

    (void)state;
    for (size_t step = 0; step < 20000; step++) {
        size_t i = next_random(&seed) % sizeof(present);
        void *expected = present[i] ? &present[i] : NULL;

        (void)snprintf(key, sizeof(key), "key-%zu", i);
        assert_ptr_equal(pm_map_get(&map, key), expected);
        if (next_random(&seed) % 3 == 0) {
            assert_ptr_equal(pm_map_remove(&map, key), expected);
            n -= (size_t)present[i];
            present[i] = 0;
        } else {
            assert_ptr_equal(pm_map_set(&map, key, &present[i]), expected);
            n += !present[i];
            present[i] = 1;
        }
        assert_int_equal(map.n, n);
    }
    pm_map_fini(&map);
    assert_int_equal(map.n, 0);
}

static void test_keys_of_a_map_are_copied_and_compared_whole(void **state)
{
    struct pm_map map = {0};
    int a, b, c;
    char key[] = "abcdefgh";

    (void)state;
    assert_null(pm_map_get(&map, "abcdefgh"));
    assert_null(pm_map_remove(&map, "abcdefgh"));
    assert_null(pm_map_set(&map, key, &a));
    key[0] = 'x';
    assert_null(pm_map_get(&map, key));
    assert_null(pm_map_set(&map, "", &b));
    assert_null(pm_map_set(&map, "abcdefghi", &c));
    assert_ptr_equal(pm_map_get(&map, "abcdefgh"), &a);
    assert_ptr_equal(pm_map_get_n(&map, "abcdefghij", 9), &c);
    assert_ptr_equal(pm_map_get_n(&map, "abcdefghij", 0), &b);
    assert_null(pm_map_get_n(&map, "abcdefghij", 10));
    assert_ptr_equal(pm_map_set(&map, "abcdefgh", &b), &a);
    pm_map_fini(&map);
}

static void test_numbers_are_keys_too(void **state)
{
    static const uint64_t keys[] = {0, 1, UINT32_MAX, 1ull << 32, UINT64_MAX};
    struct pm_map map = {0};
    int values[PM_ARRAY_LEN(keys)];

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(keys); i++)
        assert_null(pm_map_set_u64(&map, keys[i], &values[i]));
    for (size_t i = 0; i < PM_ARRAY_LEN(keys); i++)
        assert_ptr_equal(pm_map_get_u64(&map, keys[i]), &values[i]);
    assert_ptr_equal(pm_map_remove_u64(&map, UINT64_MAX), &values[4]);
    assert_null(pm_map_get_u64(&map, UINT64_MAX));
    assert_null(pm_map_get_u64(&map, 2));
    pm_map_fini(&map);
}

/* ---- list ------------------------------------------------------------------------------------------- */

struct item {
    char letter;
    struct pm_link link;
};

static const char *letters(struct pm_list *list)
{
    static char text[16];
    struct pm_link *link;
    size_t n = 0;

    pm_list_each (list, link)
        text[n++] = pm_container_of(link, struct item, link)->letter;
    text[n] = '\0';
    return text;
}

static void test_a_list_keeps_order_and_forgets_what_is_removed(void **state)
{
    struct item items[] = {{.letter = 'a'}, {.letter = 'b'}, {.letter = 'c'}, {.letter = 'd'}};
    struct pm_link *link, *after;
    struct pm_list list;

    (void)state;
    pm_list_init(&list);
    assert_true(pm_list_empty(&list));
    assert_null(pm_list_first(&list));
    pm_list_append(&list, &items[1].link);
    pm_list_append(&list, &items[3].link);
    pm_list_prepend(&list, &items[0].link);
    pm_list_insert_before(&items[3].link, &items[2].link);
    assert_string_equal(letters(&list), "abcd");
    assert_ptr_equal(pm_list_next(&list, &items[0].link), &items[1].link);
    assert_null(pm_list_next(&list, &items[3].link));

    pm_list_remove(&items[1].link);
    pm_list_remove(&items[1].link);
    assert_false(pm_link_in_list(&items[1].link));
    assert_string_equal(letters(&list), "acd");
    pm_list_each_safe (&list, link, after)
        pm_list_remove(link);
    assert_true(pm_list_empty(&list));
}

/* ---- buffer ----------------------------------------------------------------------------------------- */

static void test_a_buffer_grows_is_printed_to_and_consumed(void **state)
{
    pm_auto_buf struct pm_buf buf = {0};
    size_t n;

    (void)state;
    assert_string_equal(pm_buf_text(&buf), "");
    for (size_t i = 0; i < 1000; i++)
        pm_buf_addf(&buf, "%03zu,", i);
    assert_int_equal(buf.n, 4000);
    assert_int_equal(strlen(pm_buf_text(&buf)), 4000);
    assert_memory_equal(buf.data + 3996, "999,", 4);
    pm_buf_consume(&buf, 3990);
    assert_string_equal(pm_buf_text(&buf), "7,998,999,");
    pm_buf_add(&buf, NULL, 0);
    pm_buf_addf(&buf, "%s", "");
    assert_int_equal(buf.n, 10);
    pm_buf_consume(&buf, 11);
    assert_int_equal(buf.n, 0);

    n = buf.capacity;
    pm_buf_adds(&buf, "again");
    pm_buf_clear(&buf);
    assert_int_equal(buf.n, 0);
    assert_int_equal(buf.capacity, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_heap_gives_the_earliest_first_and_equal_ones_in_order),
        cmocka_unit_test(test_never_takes_a_node_out_of_the_heap),
        cmocka_unit_test(test_a_map_finds_what_was_set_and_nothing_else),
        cmocka_unit_test(test_keys_of_a_map_are_copied_and_compared_whole),
        cmocka_unit_test(test_numbers_are_keys_too),
        cmocka_unit_test(test_a_list_keeps_order_and_forgets_what_is_removed),
        cmocka_unit_test(test_a_buffer_grows_is_printed_to_and_consumed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
