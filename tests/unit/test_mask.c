/* SPDX-License-Identifier: Apache-2.0 */
/* Masks (MASK-1): every fault has its code and its byte, and what is right means the devices it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "plan/mask.h"
#include "util/str.h"

#define U0 "GPU-8f6c1f8e-0000-1111-2222-333344445555"
#define U1 "GPU-8f6c1f8e-0000-1111-2222-333344445556"
#define U2 "GPU-12345678-0000-1111-2222-333344445555"
#define U3 "GPU-aabbccdd-0000-1111-2222-333344445555"
#define M0 "MIG-00000000-0000-1111-2222-333344445555"
#define M2 "MIG-00000002-0000-1111-2222-333344445555"

/* ---- what the text alone shows ------------------------------------------------------------------------ */

struct fault {
    const char *text;
    int code;
    size_t offset;
};

#define FAULT(text, code, offset)                                                                  \
    {                                                                                              \
        text, POOLMGR_E_MASK_##code, offset                                                        \
    }

static const struct fault faults[] = {
    FAULT("", EMPTY, 0),
    FAULT("0,,1", SYNTAX, 2),
    FAULT("0,", SYNTAX, 2),
    FAULT(",0", SYNTAX, 0),
    FAULT("0 ,1", SYNTAX, 1),
    FAULT("0, 1", SYNTAX, 2),
    FAULT(" 0", SYNTAX, 0),
    FAULT("0\n", SYNTAX, 1),
    FAULT("\t", SYNTAX, 0),
    FAULT("none ", SYNTAX, 4),
    FAULT("+1", SYNTAX, 0),
    FAULT("1gpu2", SYNTAX, 1),
    FAULT("0x1", SYNTAX, 1),
    FAULT("1.5", SYNTAX, 1),
    FAULT("all0", SYNTAX, 0),
    FAULT("every", SYNTAX, 0),
    FAULT("ALL", SYNTAX, 0),
    FAULT("None", SYNTAX, 0),
    FAULT("CUDA0", SYNTAX, 0),
    FAULT("0-", SYNTAX, 2),
    FAULT("0-a", SYNTAX, 2),
    FAULT("0--1", SYNTAX, 2),
    FAULT("0-1-2", SYNTAX, 3),
    FAULT("--1", SYNTAX, 0),
    FAULT("-", SYNTAX, 0),
    FAULT("0:", SYNTAX, 2),
    FAULT("0:1:2", SYNTAX, 3),
    FAULT("0:1-2", SYNTAX, 3),
    FAULT("0-1:2", SYNTAX, 3),
    FAULT(":0", SYNTAX, 0),
    FAULT(";", SYNTAX, 0),
    FAULT("0;", SYNTAX, 2),
    FAULT(";0", SYNTAX, 0),
    FAULT("0;;1", SYNTAX, 2),
    FAULT("nvidia", SYNTAX, 0),
    FAULT("nvidia:", SYNTAX, 7),
    FAULT("nvidia:;amd:0", SYNTAX, 7),
    FAULT("nvidia:0,amd:0", SYNTAX, 9),
    FAULT("nvidia:nvidia:0", SYNTAX, 7),
    FAULT("pci:", SYNTAX, 4),
    FAULT("pci:65:00", SYNTAX, 9),
    FAULT("pci:65:00.x", SYNTAX, 10),
    FAULT("pci:065:00.0", SYNTAX, 6),
    FAULT("pci:00000:65:00.0", SYNTAX, 6),
    FAULT("pci:0000:65:00.0.1", SYNTAX, 16),
    FAULT("0\xc3\xa9", SYNTAX, 1),
    FAULT("01", LEADING_ZERO, 0),
    FAULT("00", LEADING_ZERO, 0),
    FAULT("1,02", LEADING_ZERO, 2),
    FAULT("0-01", LEADING_ZERO, 2),
    FAULT("0:00", LEADING_ZERO, 2),
    FAULT("0099999999999999999999", LEADING_ZERO, 0),
    FAULT("-1", NEGATIVE, 0),
    FAULT("0,2,-1,1", NEGATIVE, 4),
    FAULT("nvidia:-1", NEGATIVE, 7),
    FAULT("1024", INDEX_RANGE, 0),
    FAULT("0,1024", INDEX_RANGE, 2),
    FAULT("1000-1024", INDEX_RANGE, 5),
    FAULT("0:1024", INDEX_RANGE, 2),
    FAULT("4294967296", INDEX_RANGE, 0),
    FAULT("18446744073709551616", INDEX_RANGE, 0),
    FAULT("MIG-" U0 "/1024/0", INDEX_RANGE, 45),
    FAULT("3-1", RANGE_REVERSED, 0),
    FAULT("7,3-1", RANGE_REVERSED, 2),
    FAULT("0-128", RANGE_TOO_WIDE, 0),
    FAULT("0,1-1023", RANGE_TOO_WIDE, 2),
    FAULT("0,0", DUPLICATE, 2),
    FAULT("0-2,1", DUPLICATE, 4),
    FAULT("1,0-2", DUPLICATE, 2),
    FAULT("0-2,2-3", DUPLICATE, 4),
    FAULT("nvidia:0;nvidia:0", DUPLICATE, 16),
    FAULT("0:1,0:1", DUPLICATE, 4),
    FAULT(U0 "," U0, DUPLICATE, 41),
    FAULT(U0 ",GPU-8F6C1F8E-0000-1111-2222-333344445555", DUPLICATE, 41),
    FAULT(U0 ";nvidia:" U0, DUPLICATE, 48),
    FAULT("GPU-8f6c,GPU-8f6c", DUPLICATE, 9),
    FAULT("pci:65:00.0,pci:0000:65:00.0", DUPLICATE, 12),
    FAULT("pci:0000:6A:00.0,pci:00000000:6a:00.0", DUPLICATE, 17),
    FAULT("none,0", MIXED_NONE, 0),
    FAULT("0,none", MIXED_NONE, 2),
    FAULT("0;cpu", MIXED_NONE, 2),
    FAULT("none,none", MIXED_NONE, 0),
    FAULT("nvidia:none", MIXED_NONE, 7),
    FAULT("all,0", MIXED_ALL, 0),
    FAULT("0,all", MIXED_ALL, 2),
    FAULT("all,all", MIXED_ALL, 0),
    FAULT("all;amd:0", MIXED_ALL, 0),
    FAULT("amd:0;all", MIXED_ALL, 6),
    FAULT("nvidia:all,0", MIXED_ALL, 7),
    FAULT("amd:1;nvidia:0;amd:all", MIXED_ALL, 19),
    FAULT("GPU-xyz", UUID_MALFORMED, 4),
    FAULT("GPU-", PREFIX_SHORT, 0),
    FAULT("0,GPU-8f6c1f8e0", UUID_MALFORMED, 14),
    FAULT("GPU-8f6c1f8e-0000-1111-2222-3333444455556", UUID_MALFORMED, 40),
    FAULT("GPU-0123456789abcdef0", UUID_MALFORMED, 12),
    FAULT("GPU-0123456789abcde", UUID_MALFORMED, 12),
    FAULT("GPU-8f6c_1", UUID_MALFORMED, 8),
    FAULT("gpu-8f6c1f8e", UUID_MALFORMED, 0),
    FAULT("Mig-8f6c1f8e", UUID_MALFORMED, 0),
    FAULT("MIG-", UUID_MALFORMED, 4),
    FAULT("MIG-8f6c1f8e", UUID_MALFORMED, 12),
    FAULT("MIG-GPU-8f6c/1/0", UUID_MALFORMED, 12),
    FAULT("MIG-" U0, UUID_MALFORMED, 44),
    FAULT("MIG-" U0 "/1", UUID_MALFORMED, 46),
    FAULT("MIG-" U0 "/1/", SYNTAX, 47),
    FAULT("MIG-" U0 "/1/0/2", SYNTAX, 48),
    FAULT("GPU-ab", PREFIX_SHORT, 0),
    FAULT("0,GPU-abc", PREFIX_SHORT, 2),
    FAULT("foo:0", VENDOR_UNKNOWN, 0),
    FAULT("0;foo:0", VENDOR_UNKNOWN, 2),
    FAULT("0,foo:0", VENDOR_UNKNOWN, 2),
    FAULT("NVIDIA:0", VENDOR_UNKNOWN, 0),
    FAULT("none:0", VENDOR_UNKNOWN, 0),
};

static const char *name_of(int code)
{
    return code == 0 ? "ok" : pm_status(code)->name;
}

static void test_every_fault_has_its_code_and_its_byte(void **state)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(faults); i++) {
        const struct fault *fault = &faults[i];
        struct poolmgr_error err = {0};
        struct pm_mask *mask = NULL;
        size_t offset = 77777;
        int r = pm_mask_parse(fault->text, strlen(fault->text), &mask, &offset, &err);

        if (r != fault->code || offset != fault->offset || err.code != r || !err.has_offset ||
            err.offset != offset || err.message[0] == '\0' || mask)
            fail_msg("'%s': %s at %zu, not %s at %zu: %s", fault->text, name_of(r), offset,
                     name_of(fault->code), fault->offset, err.message);
    }
}

static void test_a_mask_has_at_most_4096_bytes(void **state)
{
    char text[PM_MASK_TEXT_MAX + 2] = "";
    struct poolmgr_error err = {0};
    struct pm_mask *mask = NULL;
    size_t n = 0, offset;

    while (n + 9 <= PM_MASK_TEXT_MAX)
        n += (size_t)sprintf(text + n, "GPU-%04zx,", n);
    n += (size_t)sprintf(text + n, "%zu", (size_t)7);
    assert_int_equal(n, PM_MASK_TEXT_MAX);
    assert_int_equal(pm_mask_parse(text, n, &mask, NULL, &err), 0);
    assert_string_equal(pm_mask_text(mask), text);
    pm_mask_unref(mask);

    text[n++] = '7';
    assert_int_equal(pm_mask_parse(text, n, &mask, &offset, &err), POOLMGR_E_MASK_TOO_LONG);
    assert_int_equal(offset, PM_MASK_TEXT_MAX);
}

static void test_a_byte_of_zero_ends_nothing(void **state)
{
    struct poolmgr_error err = {0};
    struct pm_mask *mask = NULL;
    size_t offset;

    assert_int_equal(pm_mask_parse("0\0,1", 4, &mask, &offset, &err), POOLMGR_E_MASK_SYNTAX);
    assert_int_equal(offset, 1);
    assert_int_equal(pm_mask_parse("none\0", 5, &mask, &offset, &err), POOLMGR_E_MASK_SYNTAX);
    assert_int_equal(offset, 4);
}

static void test_a_failure_needs_nobody_who_reads_it(void **state)
{
    struct pm_mask *mask = NULL;

    assert_int_equal(pm_mask_parse("0,", 2, &mask, NULL, NULL), POOLMGR_E_MASK_SYNTAX);
}

static void test_none_and_cpu_mean_no_device(void **state)
{
    static const char *const texts[] = {"none", "cpu"};

    for (size_t i = 0; i < PM_ARRAY_LEN(texts); i++) {
        struct poolmgr_error err = {0};
        struct pm_mask *mask = NULL;
        size_t set[1], n = 7;

        assert_int_equal(pm_mask_parse(texts[i], strlen(texts[i]), &mask, NULL, &err), 0);
        assert_true(pm_mask_is_cpu(mask));
        assert_int_equal(pm_mask_resolve(mask, NULL, 0, true, set, &n, NULL, &err), 0);
        assert_int_equal(n, 0);
        pm_mask_unref(mask);
    }
}

/* ---- machines ----------------------------------------------------------------------------------------- */

#define WHOLE(vendor_, index_, id_, pci_)                                                          \
    .vendor = PM_VENDOR_##vendor_, .index = (index_), .slot = -1, .id = (id_), .pci = (pci_)
#define INSTANCE(index_, slot_, gi_, id_)                                                          \
    .vendor = PM_VENDOR_NVIDIA, .index = (index_), .slot = (slot_), .gi = (gi_), .id = (id_)

static const struct pm_gpu four[] = {
    {WHOLE(NVIDIA, 0, U0, "00000000:17:00.0")},
    {WHOLE(NVIDIA, 1, U1, "00000000:65:00.0")},
    {WHOLE(NVIDIA, 2, U2, "00000000:ca:00.0")},
    {WHOLE(NVIDIA, 3, U3, "00000001:17:00.0")},
};

/* 0: in MIG mode, slots 0 and 2; 1: whole. */
static const struct pm_gpu mig[] = {
    {WHOLE(NVIDIA, 0, U0, "00000000:17:00.0"), .mig_mode = true},
    {INSTANCE(0, 0, 1, M0)},
    {INSTANCE(0, 2, 5, M2)},
    {WHOLE(NVIDIA, 1, U2, "00000000:65:00.0")},
};

static const struct pm_gpu mixed[] = {
    {WHOLE(AMD, 0, "GPU-0123456789abcdef", "00000000:03:00.0")},
    {WHOLE(NVIDIA, 0, U0, "00000000:17:00.0")},
    {WHOLE(INTEL, 0, "", "00000000:00:02.0")},
    {WHOLE(AMD, 1, "GPU-8f6c1f8e00001111", "00000000:04:00.0")},
    {WHOLE(NVIDIA, 1, U2, "00000000:65:00.0")},
};

static const struct pm_gpu troubled[] = {
    {WHOLE(NVIDIA, 0, U0, ""), .hidden = true},
    {WHOLE(NVIDIA, 1, U1, ""), .unhealthy = true},
    {WHOLE(NVIDIA, 2, U2, ""), .prohibited = true},
    {WHOLE(NVIDIA, 3, U3, "")},
};

static const struct pm_gpu hopeless[] = {
    {WHOLE(NVIDIA, 0, U0, ""), .unhealthy = true},
};

static const struct pm_gpu declared[] = {
    {WHOLE(NVIDIA, 0, "0", "")},
    {WHOLE(NVIDIA, 1, "1", "")},
    {WHOLE(NVIDIA, PM_MASK_INDEX_MAX + 1, U2, "")},
};

#define RIGHT(machine, text, normal)                                                               \
    {                                                                                              \
        machine, PM_ARRAY_LEN(machine), text, 0, 0, false, normal                                  \
    }
#define WRONG(machine, text, code, offset)                                                         \
    {                                                                                              \
        machine, PM_ARRAY_LEN(machine), text, POOLMGR_E_MASK_##code, offset, false, NULL           \
    }
/* Right for a pool of several engines. */
#define WRONG_FOR_ONE(machine, text, code, offset)                                                 \
    {                                                                                              \
        machine, PM_ARRAY_LEN(machine), text, POOLMGR_E_MASK_##code, offset, true, NULL            \
    }

static const struct meaning {
    const struct pm_gpu *gpus;
    size_t n;
    const char *text;
    int code; /* 0: it means `normal` */
    size_t offset;
    bool only_for_one;
    const char *normal;
} meanings[] = {
    RIGHT(four, "0", "nvidia:" U0),
    RIGHT(four, "nvidia:3", "nvidia:" U3),
    RIGHT(four, "2,0", "nvidia:" U2 "," U0),
    RIGHT(four, "1-3", "nvidia:" U1 "," U2 "," U3),
    RIGHT(four, "3-3,0-1", "nvidia:" U3 "," U0 "," U1),
    RIGHT(four, "all", "nvidia:" U0 "," U1 "," U2 "," U3),
    RIGHT(four, "nvidia:all", "nvidia:" U0 "," U1 "," U2 "," U3),
    RIGHT(four, U2, "nvidia:" U2),
    RIGHT(four, "GPU-AABBCCDD-0000-1111-2222-333344445555", "nvidia:" U3),
    RIGHT(four, "GPU-1234", "nvidia:" U2),
    RIGHT(four, "GPU-12345678-", "nvidia:" U2),
    RIGHT(four, "pci:65:00.0", "nvidia:" U1),
    RIGHT(four, "pci:0000:CA:00.0", "nvidia:" U2),
    RIGHT(four, "pci:00000001:17:00.0,pci:17:00.0", "nvidia:" U3 "," U0),
    RIGHT(four, "nvidia:1;nvidia:0", "nvidia:" U1 "," U0),
    RIGHT(four, "1;0", "nvidia:" U1 "," U0),
    RIGHT(four, "none", "none"),
    WRONG(four, "7", NOT_FOUND, 0),
    WRONG(four, "0,4", NOT_FOUND, 2),
    WRONG(four, "2-4", NOT_FOUND, 0),
    WRONG(four, "1023", NOT_FOUND, 0),
    WRONG(four, "amd:0", NOT_FOUND, 4),
    WRONG(four, "amd:all", NOT_FOUND, 4),
    WRONG(four, "GPU-dead", NOT_FOUND, 0),
    WRONG(four, "amd:" U0, NOT_FOUND, 4),
    WRONG(four, "GPU-8f6c1f8e-0000-1111-2222-333344445557", NOT_FOUND, 0),
    WRONG(four, "GPU-0123456789abcdef", NOT_FOUND, 0),
    WRONG(four, "pci:66:00.0", NOT_FOUND, 0),
    WRONG(four, "pci:0001:65:00.0", NOT_FOUND, 0),
    WRONG(four, M0, NOT_FOUND, 0),
    WRONG(four, "GPU-8f6c", PREFIX_AMBIGUOUS, 0),
    WRONG(four, "2,GPU-8f6c1f8e-0000-1111-2222-33334444555", PREFIX_AMBIGUOUS, 2),
    WRONG(four, "0," U0, DUPLICATE, 2),
    WRONG(four, "0;nvidia:0", DUPLICATE, 9),
    WRONG(four, "GPU-1234," U2, DUPLICATE, 9),
    WRONG(four, "nvidia:all;0", DUPLICATE, 11),
    WRONG(four, "pci:65:00.0,0-1", DUPLICATE, 12),
    WRONG(four, "0:1", MIG_DISABLED, 0),
    WRONG(four, "MIG-" U1 "/1/0", MIG_DISABLED, 0),
    WRONG(four, "4:0", NOT_FOUND, 0),

    RIGHT(mig, "all", "nvidia:" M0 "," M2 "," U2),
    RIGHT(mig, "0:2", "nvidia:" M2),
    RIGHT(mig, "nvidia:0:0", "nvidia:" M0),
    RIGHT(mig, M2 "," M0, "nvidia:" M2 "," M0),
    RIGHT(mig, "MIG-" U0 "/5/0", "nvidia:" M2),
    RIGHT(mig, "1", "nvidia:" U2),
    WRONG(mig, "0", GPU_IN_MIG_MODE, 0),
    WRONG(mig, "1," U0, GPU_IN_MIG_MODE, 2),
    WRONG(mig, "0-1", GPU_IN_MIG_MODE, 0),
    WRONG(mig, "0:1", NOT_FOUND, 0),
    WRONG(mig, "MIG-" U0 "/5/1", NOT_FOUND, 0),
    WRONG(mig, "MIG-" U3 "/1/0", NOT_FOUND, 0),
    WRONG(mig, "1:0", MIG_DISABLED, 0),
    WRONG(mig, "0,0:2", MIG_PARENT_OVERLAP, 2),
    WRONG(mig, M0 "," U0, MIG_PARENT_OVERLAP, 41),
    WRONG(mig, "0:0," M0, DUPLICATE, 4),
    WRONG_FOR_ONE(mig, "0:0,0:2", MIG_MULTI, 4),
    WRONG_FOR_ONE(mig, "1,0:2", MIG_MULTI, 2),
    WRONG_FOR_ONE(mig, "all", MIG_MULTI, 0),

    RIGHT(mixed, "nvidia:0", "nvidia:" U0),
    RIGHT(mixed, "amd:GPU-0123456789abcdef", "amd:GPU-0123456789abcdef"),
    RIGHT(mixed, "GPU-0123456789ABCDEF", "amd:GPU-0123456789abcdef"),
    RIGHT(mixed, "intel:all", "intel:pci:00000000:00:02.0"),
    RIGHT(mixed, "GPU-8f6c", "nvidia:" U0),
    WRONG(mixed, "0", VENDOR_AMBIGUOUS, 0),
    WRONG(mixed, "nvidia:0;1", VENDOR_AMBIGUOUS, 9),
    WRONG(mixed, "0-1", VENDOR_AMBIGUOUS, 0),
    WRONG(mixed, "0:1", VENDOR_AMBIGUOUS, 0),
    WRONG(mixed, "intel:1", NOT_FOUND, 6),
    WRONG(mixed, "amd:0:1", MIG_DISABLED, 4),
    WRONG_FOR_ONE(mixed, "nvidia:0;amd:1", MIXED_VENDOR, 13),
    WRONG_FOR_ONE(mixed, "all", MIXED_VENDOR, 0),

    RIGHT(troubled, "3", "nvidia:" U3),
    RIGHT(troubled, "all", "nvidia:" U3),
    WRONG(troubled, "0", NOT_PERMITTED, 0),
    WRONG(troubled, "3,GPU-8f6c1f8e-0000-1111-2222-333344445555", NOT_PERMITTED, 2),
    WRONG(troubled, "3,1", DEVICE_UNHEALTHY, 2),
    WRONG(troubled, "3,2", COMPUTE_PROHIBITED, 2),
    WRONG(troubled, "0-3", NOT_PERMITTED, 0),
    WRONG(hopeless, "all", DEVICE_UNHEALTHY, 0),

    RIGHT(declared, "1,0", "nvidia:1,0"),
    RIGHT(declared, "all", "nvidia:0,1," U2),
    RIGHT(declared, "GPU-1234", "nvidia:" U2),
    WRONG(declared, "2", NOT_FOUND, 0),
};

static const struct pm_gpu *gpus;
static size_t n_gpus;

static int look_up(const char *text, bool one_engine, size_t *set, size_t *n, size_t *offset,
                   struct poolmgr_error *err)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;

    assert_int_equal(pm_mask_parse(text, strlen(text), &mask, NULL, err), 0);
    assert_string_equal(pm_mask_text(mask), text);
    return pm_mask_resolve(mask, gpus, n_gpus, one_engine, set, n, offset, err);
}

static void check_right(const struct meaning *meaning)
{
    struct poolmgr_error err = {0};
    size_t set[8], again[8], n = 99, n_again = 99, offset;

    if (look_up(meaning->text, false, set, &n, &offset, &err) < 0)
        fail_msg("'%s': %s: %s", meaning->text, name_of(err.code), err.message);
    {
        pm_auto_free char *normal = pm_mask_normal(gpus, set, n);
        pm_auto_free char *twice = NULL;

        assert_string_equal(normal, meaning->normal);
        assert_int_equal(look_up(normal, false, again, &n_again, &offset, &err), 0);
        twice = pm_mask_normal(gpus, again, n_again);
        assert_string_equal(twice, normal);
        assert_true(pm_mask_equal(set, n, again, n_again));
    }
}

static void check_wrong(const struct meaning *meaning)
{
    struct poolmgr_error err = {0};
    size_t set[8], n = 99, offset = 77777;
    int r;

    if (meaning->only_for_one)
        assert_int_equal(look_up(meaning->text, false, set, &n, &offset, &err), 0);
    n = 99;
    r = look_up(meaning->text, true, set, &n, &offset, &err);
    if (r != meaning->code || offset != meaning->offset || err.code != r || n != 99 ||
        !err.has_offset || err.offset != offset || err.message[0] == '\0' || err.hint[0] == '\0')
        fail_msg("'%s': %s at %zu, not %s at %zu: %s", meaning->text, name_of(r), offset,
                 name_of(meaning->code), meaning->offset, err.message);
}

static void test_a_mask_means_these_devices_or_has_its_own_fault(void **state)
{
    for (size_t i = 0; i < PM_ARRAY_LEN(meanings); i++) {
        gpus = meanings[i].gpus;
        n_gpus = meanings[i].n;
        if (meanings[i].code == 0)
            check_right(&meanings[i]);
        else
            check_wrong(&meanings[i]);
    }
}

/* A walk over the table of statuses: a mask's code that nothing above provokes would be a promise without a proof. */
static void test_every_code_of_masks_is_provoked(void **state)
{
    for (int code = -1; code > -POOLMGR_STATUS_COUNT; code--) {
        bool provoked = code == POOLMGR_E_MASK_TOO_LONG || !pm_str_starts(name_of(code), "mask_");

        for (size_t i = 0; i < PM_ARRAY_LEN(faults); i++)
            provoked = provoked || faults[i].code == code;
        for (size_t i = 0; i < PM_ARRAY_LEN(meanings); i++)
            provoked = provoked || meanings[i].code == code;
        if (!provoked)
            fail_msg("nothing provokes %s", name_of(code));
    }
}

static void test_where_nothing_is_every_name_is_unknown(void **state)
{
    static const char *const texts[] = {"all", "0",        "0-1",         "0:0",
                                        U0,    "GPU-8f6c", "pci:65:00.0", M0};

    gpus = NULL;
    n_gpus = 0;
    for (size_t i = 0; i < PM_ARRAY_LEN(texts); i++) {
        struct poolmgr_error err = {0};
        size_t set[1], n, offset;

        assert_int_equal(look_up(texts[i], true, set, &n, &offset, &err), POOLMGR_E_MASK_NOT_FOUND);
    }
}

static void test_messages_say_what_there_is_and_what_to_write(void **state)
{
    struct poolmgr_error err = {0};
    size_t set[8], n, offset;

    gpus = four;
    n_gpus = 4;
    (void)look_up("7", true, set, &n, &offset, &err);
    assert_string_equal(err.message, "there is no GPU 7 of nvidia here, but 4 others");
    gpus = mixed;
    n_gpus = PM_ARRAY_LEN(mixed);
    (void)look_up("0", true, set, &n, &offset, &err);
    assert_string_equal(err.message, "'0' does not say whose GPU: there are some of 3 vendors");
    assert_string_equal(err.hint, "write nvidia:0 or amd:0 or intel:0");
}

static void test_sets_are_equal_in_any_order(void **state)
{
    static const size_t a[] = {0, 2, 1}, b[] = {1, 0, 2}, c[] = {0, 1};

    assert_true(pm_mask_equal(a, 3, b, 3));
    assert_false(pm_mask_equal(a, 3, c, 2));
    assert_false(pm_mask_equal(c, 2, a, 2));
    assert_true(pm_mask_subset(c, 2, a, 3));
    assert_false(pm_mask_subset(a, 3, c, 2));
    assert_true(pm_mask_subset(NULL, 0, c, 2));
    assert_true(pm_mask_equal(NULL, 0, NULL, 0));
}

static void test_a_mask_names_at_most_1024_devices(void **state)
{
    static struct pm_gpu many[PM_MASK_DEVICES_MAX + 1];
    static size_t set[PM_MASK_DEVICES_MAX];
    struct poolmgr_error err = {0};
    size_t n = 0, offset = 7;

    for (size_t i = 0; i < PM_ARRAY_LEN(many); i++) {
        many[i] = (struct pm_gpu){.index = (unsigned)i, .slot = -1};
        (void)sprintf(many[i].id, "GPU-%08zx-0000-0000-0000-000000000000", i);
    }
    gpus = many;
    n_gpus = PM_MASK_DEVICES_MAX;
    assert_int_equal(look_up("all", false, set, &n, &offset, &err), 0);
    assert_int_equal(n, PM_MASK_DEVICES_MAX);
    n_gpus++;
    assert_int_equal(look_up("all", false, set, &n, &offset, &err), POOLMGR_E_MASK_TOO_LONG);
    assert_int_equal(offset, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault_has_its_code_and_its_byte),
        cmocka_unit_test(test_a_mask_has_at_most_4096_bytes),
        cmocka_unit_test(test_a_byte_of_zero_ends_nothing),
        cmocka_unit_test(test_a_failure_needs_nobody_who_reads_it),
        cmocka_unit_test(test_none_and_cpu_mean_no_device),
        cmocka_unit_test(test_a_mask_means_these_devices_or_has_its_own_fault),
        cmocka_unit_test(test_every_code_of_masks_is_provoked),
        cmocka_unit_test(test_where_nothing_is_every_name_is_unknown),
        cmocka_unit_test(test_messages_say_what_there_is_and_what_to_write),
        cmocka_unit_test(test_sets_are_equal_in_any_order),
        cmocka_unit_test(test_a_mask_names_at_most_1024_devices),
    };

    return cmocka_run_group_tests_name("mask", tests, NULL, NULL);
}
