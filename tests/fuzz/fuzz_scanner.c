/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the body of an inference request: cut in any way the scanner must find the same, and on valid JSON it
 * must read what jansson reads, or refuse. The first byte chooses the cut.
 */
#include <assert.h>
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "http/scanner.h"
#include "util/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int scan(struct pm_scanner *scanner, const char *data, size_t n, size_t cut, size_t step)
{
    pm_scanner_init(scanner);
    if (pm_scanner_feed(scanner, data, cut) < 0)
        return -1;
    for (size_t at = cut; at < n; at += step) {
        if (pm_scanner_feed(scanner, data + at, n - at < step ? n - at : step) < 0)
            return -1;
    }
    return pm_scanner_end(scanner);
}

static bool same_range(struct pm_scan_range a, struct pm_scan_range b)
{
    return a.from == b.from && a.to == b.to;
}

static void check_same(const struct pm_scanner *a, int r_a, const struct pm_scanner *b, int r_b)
{
    assert(r_a == r_b);
    if (r_a < 0) {
        assert(a->error && strcmp(a->error, b->error) == 0);
        assert(a->param == b->param || strcmp(a->param, b->param) == 0);
        return;
    }
    assert(a->has_model == b->has_model && a->model_too_long == b->model_too_long &&
           a->stream == b->stream);
    assert(a->n_model == b->n_model && memcmp(a->model, b->model, a->n_model) == 0);
    assert(a->has_keep_alive == b->has_keep_alive && strcmp(a->keep_alive, b->keep_alive) == 0);
    assert(same_range(a->model_value, b->model_value));
    assert(same_range(a->keep_alive_member, b->keep_alive_member));
}

static void check_bounds(const struct pm_scanner *scanner, size_t n)
{
    assert(scanner->n_model <= PM_SCAN_MODEL_MAX && scanner->model[scanner->n_model] == '\0');
    assert(scanner->offset == n);
    assert(scanner->model_value.from <= scanner->model_value.to && scanner->model_value.to <= n);
    assert(scanner->keep_alive_member.from <= scanner->keep_alive_member.to);
    assert(scanner->keep_alive_member.to <= n);
    assert(scanner->has_model == (scanner->model_value.to > scanner->model_value.from));
    assert(scanner->has_keep_alive ==
           (scanner->keep_alive_member.to > scanner->keep_alive_member.from));
}

static json_t *load(const char *data, size_t n, size_t flags)
{
    json_error_t error;

    return json_loadb(data, n, flags | JSON_ALLOW_NUL, &error);
}

static bool is_ours(const char *key)
{
    static const char *const ours[] = {"model", "stream", "keep_alive"};

    for (size_t i = 0; i < PM_ARRAY_LEN(ours); i++) {
        if (strcasecmp(key, ours[i]) == 0)
            return true;
    }
    return false;
}

/* Two of ours in different case are refused by us and not by jansson: then there is nothing to compare. */
static bool has_case_twins(const json_t *root)
{
    const char *key, *other;
    json_t *value;

    json_object_foreach((json_t *)root, key, value)
    {
        void *iter = json_object_iter((json_t *)root);

        for (; iter; iter = json_object_iter_next((json_t *)root, iter)) {
            other = json_object_iter_key(iter);
            if (other != key && is_ours(key) && strcasecmp(key, other) == 0)
                return true;
        }
    }
    return false;
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static unsigned depth_of(const json_t *value)
{
    unsigned deepest = 0;
    const char *key;
    json_t *child;
    size_t i;

    if (!json_is_array(value) && !json_is_object(value))
        return 0;
    json_array_foreach(value, i, child)
    {
        deepest = larger(deepest, depth_of(child));
    }
    json_object_foreach((json_t *)value, key, child)
    {
        deepest = larger(deepest, depth_of(child));
    }
    return deepest + 1;
}

/* jansson took the body, without duplicate keys: what we found is what it found, and we refuse for known reasons only. */
static void check_with_jansson(const struct pm_scanner *scanner, int r, json_t *root)
{
    const json_t *model = json_object_get(root, "model"), *stream = json_object_get(root, "stream");
    const json_t *keep_alive = json_object_get(root, "keep_alive");

    if (r < 0) {
        assert(!json_is_object(root) || (model && !json_is_string(model)) ||
               (stream && !json_is_boolean(stream) && !json_is_null(stream)) || keep_alive ||
               has_case_twins(root));
        return;
    }
    assert(json_is_object(root) && scanner->has_model == (model != NULL));
    assert(scanner->stream == json_is_true(stream) &&
           scanner->has_keep_alive == (keep_alive != NULL));
    if (model && !scanner->model_too_long) {
        assert(scanner->n_model == json_string_length(model));
        assert(memcmp(scanner->model, json_string_value(model), scanner->n_model) == 0);
    } else if (model) {
        assert(json_string_length(model) > PM_SCAN_MODEL_MAX);
        assert(memcmp(scanner->model, json_string_value(model), scanner->n_model) == 0);
    }
}

/* The body without keep_alive is still JSON, and all the rest of it is there. */
static void check_cut(const struct pm_scanner *scanner, const char *data, size_t n,
                      const json_t *root)
{
    size_t from = (size_t)scanner->keep_alive_member.from,
           to = (size_t)scanner->keep_alive_member.to;
    char *left = malloc(n);
    json_t *copy = json_copy((json_t *)root), *cut;

    memcpy(left, data, from);
    memcpy(left + from, data + to, n - to);
    cut = load(left, n - (to - from), JSON_REJECT_DUPLICATES);
    (void)json_object_del(copy, "keep_alive");
    assert(cut && json_equal(cut, copy));
    json_decref(cut);
    json_decref(copy);
    free(left);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *data = (const char *)bytes + 1;
    struct pm_scanner whole, single, two;
    int r, r_single, r_two;
    json_t *root;
    size_t n;

    if (size < 1)
        return 0;
    n = size - 1;
    r = scan(&whole, data, n, n, 1);
    r_single = scan(&single, data, n, 0, 1);
    r_two = scan(&two, data, n, n * bytes[0] / 256, n);
    check_same(&whole, r, &single, r_single);
    check_same(&whole, r, &two, r_two);
    if (r == 0)
        check_bounds(&whole, n);

    /* jansson lets a NUL pass behind a number; we do not. */
    root = memchr(data, '\0', n) ? NULL : load(data, n, JSON_REJECT_DUPLICATES);
    if (root && depth_of(root) <= PM_SCAN_DEPTH_MAX) {
        check_with_jansson(&whole, r, root);
        if (r == 0 && whole.has_keep_alive)
            check_cut(&whole, data, n, root);
    }
    json_decref(root);
    return 0;
}
