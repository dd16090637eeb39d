/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random masks (MASK-1). Of random machines a set of devices is drawn and written down by random names: what is read
 * must be that set, in that order, and stay so in normal form. Random texts are held against the grammar as a regular
 * expression. `test_mask_random SEED` runs one seed again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/mask.h"
#include "rounds.h"
#include "util/buf.h"
#include "util/str.h"

#define N_MACHINES 10000
#define N_TEXTS    50000
#define GPUS_MAX   64

static uint64_t seed, state_of_random;

static uint64_t draw(uint64_t below)
{
    state_of_random =
        state_of_random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state_of_random >> 33) % below;
}

static void start(uint64_t with)
{
    seed = with;
    state_of_random = with * UINT64_C(0x9e3779b97f4a7c15);
    (void)draw(2);
}

#define CHECK(condition, text, err)                                                                \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ": '%s': %s: %s", seed, text, #condition, (err)->message);    \
    } while (0)

/* ---- a machine ---------------------------------------------------------------------------------------- */

static struct pm_gpu gpus[GPUS_MAX];
static size_t n_gpus, n_vendors;

/* Few digits differ, so that prefixes are long and often ambiguous. */
static void draw_uuid(char *to, const char *prefix)
{
    int n =
        sprintf(to, "%s%06x%02x-0000-%04x-%04x-%012x", prefix, (unsigned)draw(2), (unsigned)draw(4),
                (unsigned)draw(3), (unsigned)draw(65536), (unsigned)draw(UINT32_MAX));

    assert_int_equal(n, (int)strlen(prefix) + 36);
}

static void draw_instances(const struct pm_gpu *parent)
{
    for (int slot = 0; slot < 7; slot++) {
        if (draw(2) == 0)
            continue; /* slots have holes */
        gpus[n_gpus] = (struct pm_gpu){.vendor = PM_VENDOR_NVIDIA,
                                       .index = parent->index,
                                       .slot = slot,
                                       .gi = slot + 1,
                                       .ci = slot % 2};
        draw_uuid(gpus[n_gpus++].id, "MIG-");
    }
}

static void draw_gpu(enum pm_vendor vendor, unsigned index)
{
    struct pm_gpu *gpu = &gpus[n_gpus++];

    *gpu = (struct pm_gpu){.vendor = vendor, .index = index, .slot = -1};
    (void)sprintf(gpu->pci, "%08x:%02x:%02x.0", (unsigned)draw(2) * 0xa, index + 16,
                  (unsigned)vendor);
    if (vendor == PM_VENDOR_NVIDIA)
        draw_uuid(gpu->id, "GPU-");
    if (vendor == PM_VENDOR_AMD)
        (void)sprintf(gpu->id, "GPU-%08x%08x", index, (unsigned)draw(UINT32_MAX));
    gpu->mig_mode = vendor == PM_VENDOR_NVIDIA && draw(4) == 0;
    if (gpu->mig_mode)
        draw_instances(gpu);
}

static void draw_machine(void)
{
    n_gpus = n_vendors = 0;
    for (int vendor = 0; vendor < PM_VENDOR_COUNT; vendor++) {
        unsigned n = draw(3) == 0 ? 0 : 1 + (unsigned)draw(5);

        for (unsigned i = 0; i < n; i++)
            draw_gpu((enum pm_vendor)vendor, i);
        n_vendors += n > 0;
    }
    for (size_t i = 1; i < n_gpus; i++) { /* their order in memory says nothing */
        size_t k = draw(i + 1);
        struct pm_gpu other = gpus[i];

        gpus[i] = gpus[k];
        gpus[k] = other;
    }
}

/* ---- a name for a device ------------------------------------------------------------------------------ */

static const struct pm_gpu *parent_of(const struct pm_gpu *instance)
{
    for (size_t i = 0; i < n_gpus; i++) {
        if (gpus[i].slot < 0 && gpus[i].vendor == instance->vendor &&
            gpus[i].index == instance->index)
            return &gpus[i];
    }
    return NULL;
}

/* The shortest beginning that only this device has, and some digits more. */
static size_t unique_prefix(const struct pm_gpu *gpu)
{
    size_t longest = 7;

    for (size_t i = 0; i < n_gpus; i++) {
        size_t n = 0;

        if (&gpus[i] == gpu || gpus[i].slot >= 0)
            continue;
        while (gpus[i].id[n] == gpu->id[n] && gpu->id[n])
            n++;
        longest = n > longest ? n : longest;
    }
    longest += 1 + draw(8);
    return longest < strlen(gpu->id) ? longest : strlen(gpu->id);
}

static void add_in_some_case(struct pm_buf *buf, const char *text, size_t n)
{
    bool capitals = draw(4) == 0;

    for (size_t i = 0; i < n; i++) {
        char c = (char)(capitals ? toupper((unsigned char)text[i]) : text[i]);

        pm_buf_add(buf, &c, 1);
    }
}

/* Whether it needs its vendor in front. */
static bool add_name_of_instance(struct pm_buf *buf, const struct pm_gpu *gpu)
{
    switch (draw(3)) {
    case 0: pm_buf_addf(buf, "%u:%d", gpu->index, gpu->slot); return n_vendors > 1;
    case 1: pm_buf_addf(buf, "MIG-%s/%d/%d", parent_of(gpu)->id, gpu->gi, gpu->ci); return false;
    default: add_in_some_case(buf, gpu->id, strlen(gpu->id)); return false;
    }
}

static bool add_name(struct pm_buf *buf, const struct pm_gpu *gpu)
{
    size_t n_zeros = strspn(gpu->pci, "0"), skipped = 4 * draw(2);

    if (gpu->slot >= 0)
        return add_name_of_instance(buf, gpu);

    switch (draw(4)) {
    case 0:
        pm_buf_adds(buf, "pci:");
        if (n_zeros == 8 && draw(2) == 0)
            skipped = 9;
        add_in_some_case(buf, gpu->pci + skipped, strlen(gpu->pci + skipped));
        return false;
    case 1:
        if (!gpu->id[0])
            break;
        add_in_some_case(buf, gpu->id, strlen(gpu->id));
        return false;
    case 2:
        if (gpu->vendor != PM_VENDOR_NVIDIA)
            break;
        pm_buf_add(buf, gpu->id, unique_prefix(gpu));
        return false;
    default: break;
    }
    pm_buf_addf(buf, "%u", gpu->index);
    return n_vendors > 1;
}

/* ---- a mask of known meaning -------------------------------------------------------------------------- */

struct written {
    struct pm_buf text;
    size_t meant[GPUS_MAX], n_meant, last_offset;
    bool used[GPUS_MAX];
    int vendor; /* of the group that is open: PM_VENDOR_COUNT none is named, -1 none is open */
};

static void add_item(struct written *to, const char *item, enum pm_vendor vendor, bool needs_vendor)
{
    bool names = needs_vendor || draw(3) == 0;
    int group = names ? (int)vendor : PM_VENDOR_COUNT;

    if (to->vendor == (int)vendor || (to->vendor == PM_VENDOR_COUNT && !needs_vendor))
        group = draw(4) == 0 ? group : to->vendor;
    if (to->vendor >= 0)
        pm_buf_adds(&to->text, group == to->vendor && draw(4) > 0 ? "," : ";");
    if (to->text.n == 0 || to->text.data[to->text.n - 1] == ';') {
        if (group < PM_VENDOR_COUNT)
            pm_buf_addf(&to->text, "%s:", pm_vendor_name(vendor));
    }
    to->vendor = group;
    to->last_offset = to->text.n;
    pm_buf_adds(&to->text, item);
}

static void mean(struct written *to, size_t i)
{
    to->used[i] = true;
    to->meant[to->n_meant++] = i;
}

static bool is_free(const struct written *to, size_t i)
{
    return !to->used[i] && !(gpus[i].slot < 0 && gpus[i].mig_mode);
}

/* The whole GPUs that follow gpus[i] go into a range with it. */
static bool add_range(struct written *to, size_t i)
{
    size_t length = 1;

    if (gpus[i].slot >= 0 || draw(2) == 0)
        return false;
    mean(to, i);
    for (bool more = true; more && draw(4) > 0; length += more) {
        more = false;
        for (size_t k = 0; k < n_gpus && !more; k++) {
            more = gpus[k].slot < 0 && gpus[k].vendor == gpus[i].vendor && is_free(to, k) &&
                   gpus[k].index == gpus[i].index + length;
            if (more)
                mean(to, k);
        }
    }
    {
        pm_auto_free char *item =
            pm_xasprintf("%u-%u", gpus[i].index, gpus[i].index + (unsigned)length - 1);

        add_item(to, item, gpus[i].vendor, n_vendors > 1);
    }
    return true;
}

static void write_mask(struct written *to)
{
    for (size_t n = 1 + draw(6); n > 0; n--) {
        size_t i = draw(n_gpus);
        pm_auto_buf struct pm_buf item = {0};
        bool needs_vendor;

        if (!is_free(to, i) || add_range(to, i))
            continue;
        needs_vendor = add_name(&item, &gpus[i]);
        mean(to, i);
        add_item(to, pm_buf_text(&item), gpus[i].vendor, needs_vendor);
    }
}

static int look_up(const char *text, bool one_engine, size_t *set, size_t *n, size_t *offset,
                   struct poolmgr_error *err)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    int r = pm_mask_parse(text, strlen(text), &mask, offset, err);

    return r < 0 ? r : pm_mask_resolve(mask, gpus, n_gpus, one_engine, set, n, offset, err);
}

static void check_normal_form(const char *text, const size_t *set, size_t n)
{
    pm_auto_free char *normal = pm_mask_normal(gpus, set, n), *twice = NULL;
    struct poolmgr_error err = {0};
    size_t again[GPUS_MAX], n_again, offset;

    CHECK(look_up(normal, false, again, &n_again, &offset, &err) == 0, normal, &err);
    CHECK(pm_mask_equal(set, n, again, n_again), text, &err);
    twice = pm_mask_normal(gpus, again, n_again);
    CHECK(strcmp(normal, twice) == 0, normal, &err);
}

static void check_one_engine(const char *text, const size_t *set, size_t n)
{
    struct poolmgr_error err = {0};
    size_t again[GPUS_MAX], n_again, offset;
    bool vendors = false, instances = false;
    int r = look_up(text, true, again, &n_again, &offset, &err);

    for (size_t i = 0; i < n; i++) {
        vendors = vendors || gpus[set[i]].vendor != gpus[set[0]].vendor;
        instances = instances || gpus[set[i]].slot >= 0;
    }
    if (n > 1 && instances && vendors)
        CHECK(r == POOLMGR_E_MASK_MIG_MULTI || r == POOLMGR_E_MASK_MIXED_VENDOR, text, &err);
    else
        CHECK(r == (n > 1 && instances ? POOLMGR_E_MASK_MIG_MULTI
                    : vendors          ? POOLMGR_E_MASK_MIXED_VENDOR
                                       : 0),
              text, &err);
}

/* One device more that is there already, by another of its names. */
static void check_repeated(struct written *to)
{
    size_t i = to->meant[draw(to->n_meant)];
    pm_auto_buf struct pm_buf item = {0};
    struct poolmgr_error err = {0};
    size_t set[GPUS_MAX], n, offset = 0;
    bool needs_vendor = add_name(&item, &gpus[i]);
    int r;

    add_item(to, pm_buf_text(&item), gpus[i].vendor, needs_vendor);
    r = look_up(pm_buf_text(&to->text), false, set, &n, &offset, &err);
    CHECK(r == POOLMGR_E_MASK_DUPLICATE && offset == to->last_offset, pm_buf_text(&to->text), &err);
}

static size_t n_sets, n_devices;

static void run_machine(uint64_t with)
{
    struct written to = {.vendor = -1};
    struct poolmgr_error err = {0};
    size_t set[GPUS_MAX], n = 0, offset;

    start(with);
    draw_machine();
    if (n_gpus > 0)
        write_mask(&to);
    if (to.n_meant > 0) {
        const char *text = pm_buf_text(&to.text);

        CHECK(look_up(text, false, set, &n, &offset, &err) == 0, text, &err);
        CHECK(n == to.n_meant && memcmp(set, to.meant, n * sizeof(set[0])) == 0, text, &err);
        check_normal_form(text, set, n);
        check_one_engine(text, set, n);
        check_repeated(&to);
        n_sets++;
        n_devices += n;
    }
    pm_buf_fini(&to.text);
}

static void test_a_mask_means_what_was_written_by_whatever_names(void **state)
{
    for (uint64_t i = 1; i <= (uint64_t)rounds(N_MACHINES); i++)
        run_machine(i);
    assert_true(n_sets > (uint64_t)rounds(N_MACHINES) / 2 && n_devices > 2 * n_sets);
}

/* ---- the grammar, once more --------------------------------------------------------------------------- */

#define HEX   "[0-9a-fA-F]"
#define INDEX "(0|[1-9][0-9]*)"
#define UUID  HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}"
#define BDF   "(" HEX "{4}:|" HEX "{8}:)?" HEX "{2}:" HEX "{2}\\.[0-9]"
#define PREFIX                                                                                     \
    "GPU-" HEX "{4}(" HEX "{0,4}|" HEX "{4}-(" HEX "{0,4}|" HEX "{4}-(" HEX "{0,4}|" HEX           \
    "{4}-(" HEX "{0,4}|" HEX "{4}-" HEX "{0,12}))))"
#define ITEM                                                                                       \
    "(" INDEX "|" INDEX "-" INDEX "|" INDEX ":" INDEX "|" PREFIX "|GPU-" HEX "{16}|MIG-" UUID      \
    "|MIG-GPU-" UUID "/" INDEX "/" INDEX "|pci:" BDF ")"
#define ITEMS "(all|" ITEM ")(,(all|" ITEM "))*" /* `all` beside items has a code of its own */
#define GROUP "((nvidia|amd|intel):)?" ITEMS
#define MASK  "^(none|cpu|" GROUP "(;" GROUP ")*)$"

static const char *const pieces[] = {"0",
                                     "1",
                                     "7",
                                     "01",
                                     "1024",
                                     ",",
                                     ",",
                                     ",",
                                     ";",
                                     "-",
                                     ":",
                                     "all",
                                     "none",
                                     "cpu",
                                     "nvidia:",
                                     "amd:",
                                     "foo:",
                                     "GPU-",
                                     "MIG-",
                                     "pci:",
                                     "8f6c1f8e",
                                     "-0000-1111-2222-333344445555",
                                     "0123456789abcdef",
                                     "GPU-8f6c1f8e-0000-1111-2222-333344445555",
                                     "0000:65:00.0",
                                     "65:00.0",
                                     "/",
                                     "/1/0",
                                     ".",
                                     " ",
                                     "+",
                                     "x",
                                     "ab",
                                     "\n"};

/* What the grammar cannot say, and has a code of its own. */
static bool is_beyond_grammar(int r)
{
    return r == POOLMGR_E_MASK_INDEX_RANGE || r == POOLMGR_E_MASK_RANGE_REVERSED ||
           r == POOLMGR_E_MASK_RANGE_TOO_WIDE || r == POOLMGR_E_MASK_DUPLICATE ||
           r == POOLMGR_E_MASK_MIXED_ALL;
}

/* Likely right: items and commas by turns, then pieces put in and taken out. */
static void draw_text(struct pm_buf *buf)
{
    for (size_t n = 1 + draw(8); n > 0; n--)
        pm_buf_adds(buf, pieces[draw(PM_ARRAY_LEN(pieces))]);
    if (draw(8) == 0 && buf->n > 0)
        buf->data[draw(buf->n)] = (char)(' ' + draw(95));
}

static void test_what_is_read_is_what_the_grammar_allows(void **state)
{
    size_t n_right = 0, n_beyond = 0;
    regex_t grammar;

    assert_int_equal(regcomp(&grammar, MASK, REG_EXTENDED | REG_NOSUB), 0);
    start(1);
    for (size_t i = 0; i < (size_t)rounds(N_TEXTS); i++) {
        pm_auto_buf struct pm_buf buf = {0};
        struct poolmgr_error err = {0};
        struct pm_mask *mask = NULL;
        size_t offset = 0;
        bool is_right;
        int r;

        draw_text(&buf);
        is_right = regexec(&grammar, pm_buf_text(&buf), 0, NULL, 0) == 0;
        r = pm_mask_parse(buf.data, buf.n, &mask, &offset, &err);
        if (is_beyond_grammar(r))
            n_beyond++; /* of a text that goes on wrongly behind that place, either is true */
        else
            CHECK((r == 0) == is_right, pm_buf_text(&buf), &err);
        CHECK(offset <= buf.n, pm_buf_text(&buf), &err);
        n_right += r == 0;
        pm_mask_unref(mask);
    }
    regfree(&grammar);
    assert_true(n_right > (size_t)rounds(N_TEXTS) / 50 && n_beyond > 100);
}

static void test_one_machine(void **state)
{
    run_machine(*(uint64_t *)*state);
}

int main(int argc, char **argv)
{
    uint64_t with = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const struct CMUnitTest one[] = {cmocka_unit_test_prestate(test_one_machine, &with)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mask_means_what_was_written_by_whatever_names),
        cmocka_unit_test(test_what_is_read_is_what_the_grammar_allows),
    };

    if (argc > 1)
        return cmocka_run_group_tests_name("mask: one random machine", one, NULL, NULL);
    return cmocka_run_group_tests_name("mask: random", tests, NULL, NULL);
}
