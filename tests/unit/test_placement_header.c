/* SPDX-License-Identifier: Apache-2.0 */
/* X-Placement is read strictly, or refused with what is wrong (PLACE-2, H-24). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/placement.h"
#include "util/cleanup.h"

static struct pm_placement_header header;

static const struct pm_placement *parsed(const char *text)
{
    struct poolmgr_error err = {0};

    if (pm_placement_parse(text, strlen(text), &header, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return &header.placement;
}

static void test_all_members_are_read(void **s)
{
    const struct pm_placement *placement =
        parsed("pin=a; prefer=b,c-2; avoid= d.x ,e; mask=0,GPU-1f2e; fallback=no");

    assert_string_equal(placement->pin, "a");
    assert_int_equal(placement->n_prefer, 2);
    assert_string_equal(placement->prefer[0], "b");
    assert_string_equal(placement->prefer[1], "c-2");
    assert_int_equal(placement->n_avoid, 2);
    assert_string_equal(placement->avoid[0], "d.x");
    assert_string_equal(placement->avoid[1], "e");
    assert_string_equal(placement->mask, "0,GPU-1f2e");
    assert_true(placement->no_fallback);
}

static void test_members_are_optional_and_blanks_do_not_count(void **s)
{
    assert_null(parsed("fallback=yes")->pin);
    assert_false(parsed("fallback=yes")->no_fallback);
    assert_string_equal(parsed(" \tpin\t= a ;fallback = no ")->pin, "a");
    assert_true(header.placement.no_fallback);
    assert_int_equal(header.placement.n_prefer, 0);
    assert_null(header.placement.mask);
}

static void test_what_is_malformed_is_refused_with_what_is_wrong(void **s)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "X-Placement: '' is no name=value"},
        {"pin", "X-Placement: 'pin' is no name=value"},
        {"pin=a;", "X-Placement: '' is no name=value"},
        {"pin=a;;mask=0", "X-Placement: '' is no name=value"},
        {"pin=a; pin=b", "X-Placement: 'pin' is given twice"},
        {"pin=a; pin=a", "X-Placement: 'pin' is given twice"},
        {"mask=0; mask=1", "X-Placement: 'mask' is given twice"},
        {"fallback=no; fallback=no", "X-Placement: 'fallback' is given twice"},
        {"Pin=a", "X-Placement: 'Pin' is unknown"},
        {"=a", "X-Placement: '' is unknown"},
        {"pool=a", "X-Placement: 'pool' is unknown"},
        {"pin=", "X-Placement: '' is no pool's id"},
        {"pin=a,b", "X-Placement: 'a,b' is no pool's id"},
        {"pin=A", "X-Placement: 'A' is no pool's id"},
        {"pin=a b", "X-Placement: 'a b' is no pool's id"},
        {"pin=a=b", "X-Placement: 'a=b' is no pool's id"},
        {"prefer=", "X-Placement: '' is no pool's id"},
        {"prefer=a,", "X-Placement: '' is no pool's id"},
        {"prefer=,a", "X-Placement: '' is no pool's id"},
        {"avoid=a,,b", "X-Placement: '' is no pool's id"},
        {"prefer=\"a\"", "X-Placement: '\"a\"' is no pool's id"},
        {"fallback=", "X-Placement: '' is neither yes nor no"},
        {"fallback=No", "X-Placement: 'No' is neither yes nor no"},
        {"pin=a\xff", "X-Placement: 'a?' is no pool's id"},
        {"prefer=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,q", "X-Placement: 'q' is one pool too many"},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct poolmgr_error err = {0};

        assert_int_equal(pm_placement_parse(rows[i].text, strlen(rows[i].text), &header, &err),
                         POOLMGR_E_INVALID_REQUEST);
        assert_string_equal(err.message, rows[i].message);
        assert_string_equal(err.param, "X-Placement");
    }
}

/* MASK-1: the code of the fault, and the byte of the header. */
static void test_a_mask_is_refused_at_its_byte(void **s)
{
    static const struct {
        const char *text;
        int code;
        uint32_t offset;
    } rows[] = {
        {"mask=", POOLMGR_E_MASK_EMPTY, 5},
        {"mask=0,", POOLMGR_E_MASK_SYNTAX, 7},
        {"mask=,0", POOLMGR_E_MASK_SYNTAX, 5},
        {"pin=a; mask=0,,1", POOLMGR_E_MASK_SYNTAX, 14},
        {"pin=a; mask =  0 1", POOLMGR_E_MASK_SYNTAX, 16},
        {"mask=*; pin=a", POOLMGR_E_MASK_SYNTAX, 5},
        {"mask=0,GPU-1f", POOLMGR_E_MASK_PREFIX_SHORT, 7},
        {"mask=0-2,1", POOLMGR_E_MASK_DUPLICATE, 9},
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct poolmgr_error err = {0};

        assert_int_equal(pm_placement_parse(rows[i].text, strlen(rows[i].text), &header, &err),
                         rows[i].code);
        assert_true(err.has_offset);
        assert_int_equal(err.offset, rows[i].offset);
        assert_true(pm_str_starts(err.message, "X-Placement: mask: "));
        assert_string_equal(err.param, "X-Placement");
    }
}

static void test_a_header_is_bounded_and_has_no_nul(void **s)
{
    char text[PM_PLACEMENT_MAX + 2];
    struct poolmgr_error err = {0};

    memset(text, ' ', sizeof(text));
    memcpy(text, "pin=a", 5);
    assert_int_equal(pm_placement_parse(text, PM_PLACEMENT_MAX, &header, &err), 0);
    assert_int_equal(pm_placement_parse(text, PM_PLACEMENT_MAX + 1, &header, &err),
                     POOLMGR_E_INVALID_REQUEST);
    assert_int_equal(pm_placement_parse("pin=a\0; pin=b", 13, &header, &err),
                     POOLMGR_E_INVALID_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_members_are_read),
        cmocka_unit_test(test_members_are_optional_and_blanks_do_not_count),
        cmocka_unit_test(test_what_is_malformed_is_refused_with_what_is_wrong),
        cmocka_unit_test(test_a_mask_is_refused_at_its_byte),
        cmocka_unit_test(test_a_header_is_bounded_and_has_no_nul),
    };

    return cmocka_run_group_tests_name("gateway: X-Placement", tests, NULL, NULL);
}
