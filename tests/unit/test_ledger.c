/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger (VRAM-1, INV-10): never over-committed, nothing lost, nothing given back twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan/ledger.h"
#include "rounds.h"

#define GIB (UINT64_C(1) << 30)

static struct pm_ledger ledger;

static int set_up(void **s)
{
    (void)pm_ledger_open(&ledger, 24 * GIB);
    (void)pm_ledger_open(&ledger, 12 * GIB);
    return 0;
}

static int tear_down(void **s)
{
    pm_ledger_fini(&ledger);
    return 0;
}

static struct pm_shares one(uint32_t account, uint64_t bytes)
{
    struct pm_shares shares = {0};

    assert_true(pm_shares_add(&shares, account, bytes));
    return shares;
}

static struct pm_shares two(uint64_t first, uint64_t second)
{
    struct pm_shares shares = one(0, first);

    assert_true(pm_shares_add(&shares, 1, second));
    return shares;
}

/* ---- one rule at a time ------------------------------------------------------------------------------ */

static void test_a_charge_is_whole_or_nothing(void **s)
{
    struct pm_shares want = two(10 * GIB, 13 * GIB), charge = {0};

    assert_false(pm_ledger_charge(&ledger, &want, NULL, &charge));
    assert_int_equal(charge.n, 0);
    assert_int_equal(ledger.accounts[0].charged, 0);
    want = two(10 * GIB, 12 * GIB);
    assert_true(pm_ledger_charge(&ledger, &want, NULL, &charge));
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 14 * GIB);
    assert_int_equal(pm_ledger_left(&ledger, 1, NULL), 0);
}

static void test_the_last_byte_fits_and_one_more_does_not(void **s)
{
    struct pm_shares want = one(0, 24 * GIB + 1), charge = {0};

    assert_false(pm_ledger_charge(&ledger, &want, NULL, &charge));
    want = one(0, 24 * GIB);
    assert_true(pm_ledger_charge(&ledger, &want, NULL, &charge));
    want = one(0, 1);
    assert_false(pm_ledger_fits(&ledger, &want, NULL));
}

static void test_what_is_given_back_twice_is_given_back_once(void **s)
{
    struct pm_shares want = one(0, 10 * GIB), charge = {0}, other = {0};

    assert_true(pm_ledger_charge(&ledger, &want, NULL, &charge));
    assert_true(pm_ledger_charge(&ledger, &want, NULL, &other));
    pm_ledger_release(&ledger, &charge);
    pm_ledger_release(&ledger, &charge);
    assert_int_equal(ledger.accounts[0].charged, 10 * GIB);
}

static void test_what_is_reserved_is_its_owners_alone(void **s)
{
    struct pm_shares held = one(0, 20 * GIB), want = one(0, 22 * GIB), charge = {0}, own = {0};
    struct pm_shares small = one(0, 5 * GIB), other = {0};

    assert_true(pm_ledger_charge(&ledger, &held, NULL, &charge));
    pm_ledger_release(&ledger, &charge);
    pm_ledger_reserve(&ledger, &held, &want, &own);
    assert_int_equal(pm_shares_of(&own, 0), 20 * GIB);
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 4 * GIB);
    assert_int_equal(pm_ledger_left(&ledger, 0, &own), 24 * GIB);
    assert_false(pm_ledger_charge(&ledger, &small, NULL, &other));
    assert_true(pm_ledger_charge(&ledger, &want, &own, &charge));
    assert_int_equal(ledger.accounts[0].reserved, 0);
    assert_int_equal(own.n, 0);
}

static void test_no_more_is_reserved_than_is_lacking(void **s)
{
    struct pm_shares freed = one(0, 20 * GIB), want = one(0, 5 * GIB), own = {0};

    pm_ledger_reserve(&ledger, &freed, &want, &own);
    pm_ledger_reserve(&ledger, &freed, &want, &own);
    assert_int_equal(ledger.accounts[0].reserved, 5 * GIB);
    pm_ledger_unreserve(&ledger, &own);
    pm_ledger_unreserve(&ledger, &own);
    assert_int_equal(ledger.accounts[0].reserved, 0);
}

static void test_what_was_there_before_counts_though_it_does_not_fit(void **s)
{
    struct pm_shares held = one(1, 20 * GIB), want = one(1, 1), charge = {0};

    assert_true(pm_ledger_note(&ledger, &held, &charge));
    assert_int_equal(pm_ledger_left(&ledger, 1, NULL), 0);
    assert_false(pm_ledger_fits(&ledger, &want, NULL));
    pm_ledger_release(&ledger, &charge);
    assert_int_equal(pm_ledger_left(&ledger, 1, NULL), 12 * GIB);
}

static void test_a_device_that_shrank_grants_nothing(void **s)
{
    struct pm_shares want = one(0, 20 * GIB), more = one(0, 1), charge = {0};

    assert_true(pm_ledger_charge(&ledger, &want, NULL, &charge));
    pm_ledger_resize(&ledger, 0, 10 * GIB);
    assert_false(pm_ledger_fits(&ledger, &more, NULL));
    pm_ledger_release(&ledger, &charge);
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 10 * GIB);
}

/* VRAM-1: left = min(capacity - charged, free - what is still to be loaded) */
static void test_what_is_free_bounds_what_is_left(void **s)
{
    struct pm_shares want = one(0, 10 * GIB), charge = {0}, other = {0};

    pm_ledger_see(&ledger, 0, 17 * GIB); /* 7 of the 24 are somebody's */
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 17 * GIB);
    assert_int_equal(pm_ledger_foreign(&ledger, 0), 7 * GIB);
    assert_true(pm_ledger_charge(&ledger, &want, NULL, &charge));
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 7 * GIB); /* it is still to load */
    pm_ledger_see(&ledger, 0, 13 * GIB);
    pm_ledger_use(&ledger, &charge, 0, 4 * GIB, true);
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 7 * GIB);
    assert_false(pm_ledger_charge(&ledger, &want, NULL, &other));
    pm_ledger_see(&ledger, 0, 5 * GIB);
    pm_ledger_use(&ledger, &charge, 0, 12 * GIB, true); /* it took more than it was charged */
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 5 * GIB);
    pm_ledger_see(&ledger, 0, PM_LEDGER_UNSEEN);
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 14 * GIB);
    assert_int_equal(pm_ledger_foreign(&ledger, 0), 0);
}

static void test_what_would_be_left_without_some_is_what_is_left_without_them(void **s)
{
    struct pm_shares want = one(0, 10 * GIB), a = {0}, b = {0};
    struct pm_freed freed = {0};

    assert_true(pm_ledger_charge(&ledger, &want, NULL, &a));
    assert_true(pm_ledger_charge(&ledger, &want, NULL, &b));
    pm_ledger_use(&ledger, &a, 0, 8 * GIB, true);
    pm_ledger_see(&ledger, 0, 11 * GIB); /* 5 are somebody's, b is still to load */
    pm_freed_add(&freed, &a, 0);
    pm_freed_add(&freed, &a, 1); /* nothing of it is there */
    assert_int_equal(pm_ledger_left_without(&ledger, 0, NULL, &freed), 9 * GIB);
    pm_ledger_release(&ledger, &a);
    pm_ledger_see(&ledger, 0, 19 * GIB);
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 9 * GIB);
}

static void test_a_charge_grows_by_what_is_nobodys_only(void **s)
{
    struct pm_shares want = one(0, 10 * GIB), lacks = one(0, 20 * GIB), a = {0}, b = {0}, own = {0};

    assert_true(pm_ledger_charge(&ledger, &want, NULL, &a));
    assert_true(pm_ledger_charge(&ledger, &want, NULL, &b));
    pm_ledger_amend(&ledger, &a, 0, 8 * GIB);
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 6 * GIB);
    pm_ledger_release(&ledger, &b);
    pm_ledger_reserve(&ledger, &want, &lacks, &own);
    pm_ledger_amend(&ledger, &a, 0, 30 * GIB);
    assert_int_equal(pm_shares_of(&a, 0), 14 * GIB);
    assert_int_equal(pm_ledger_left(&ledger, 0, NULL), 0);
    assert_int_equal(pm_ledger_left(&ledger, 0, &own), 10 * GIB);
    pm_ledger_release(&ledger, &a);
    assert_int_equal(ledger.accounts[0].pending, 0);
}

static void test_sums_that_overflow_are_refused(void **s)
{
    struct pm_shares most = one(0, UINT64_MAX), few = one(0, 1), a = {0}, b = {0};

    assert_false(pm_ledger_charge(&ledger, &most, NULL, &a));
    assert_true(pm_ledger_note(&ledger, &most, &a));
    assert_false(pm_ledger_note(&ledger, &few, &b));
    assert_int_equal(b.n, 0);
    assert_int_equal(ledger.accounts[0].charged, UINT64_MAX);
}

static void test_an_account_has_one_share_and_an_engine_few_devices(void **s)
{
    struct pm_shares shares = {0};

    for (uint32_t i = 0; i < PM_SHARES_MAX; i++)
        assert_true(pm_shares_add(&shares, i, 1));
    assert_false(pm_shares_add(&shares, 3, 1));
    assert_false(pm_shares_add(&shares, PM_SHARES_MAX, 1));
}

/* ---- a million random operations --------------------------------------------------------------------- */

#define DEVICES    4
#define HOLDERS    64
#define OPERATIONS 1000000

struct holder {
    struct pm_shares want, charge, own;
};

static uint64_t seed = 1;

static uint64_t draw(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

/* Mostly small, sometimes as large as a number can be. */
static uint64_t draw_bytes(void)
{
    return draw(200) == 0 ? UINT64_MAX - draw(3) : draw(400);
}

static void draw_want(struct holder *holder)
{
    holder->want = (struct pm_shares){0};
    for (uint64_t n = 1 + draw(3); n > 0; n--)
        (void)pm_shares_add(&holder->want, (uint32_t)draw(DEVICES), draw_bytes());
}

static uint64_t pending_of(const struct pm_shares *charge, uint32_t device)
{
    for (uint32_t i = 0; i < charge->n; i++) {
        if (charge->items[i].account == device && charge->items[i].bytes > charge->items[i].used)
            return charge->items[i].bytes - charge->items[i].used;
    }
    return 0;
}

static void check_books(const struct pm_ledger *books, const struct holder *holders)
{
    for (uint32_t device = 0; device < DEVICES; device++) {
        uint64_t charged = 0, reserved = 0, pending = 0, free_bytes;

        for (size_t i = 0; i < HOLDERS; i++) {
            charged += pm_shares_of(&holders[i].charge, device);
            reserved += pm_shares_of(&holders[i].own, device);
            pending += pending_of(&holders[i].charge, device);
        }
        assert_int_equal(charged, books->accounts[device].charged);
        assert_int_equal(pending, books->accounts[device].pending);
        free_bytes = books->accounts[device].free;
        assert_true(pm_ledger_left(books, device, NULL) == 0 ||
                    pm_ledger_left(books, device, NULL) + pending <= free_bytes);
        assert_int_equal(reserved, books->accounts[device].reserved);
        assert_true(charged <= books->accounts[device].capacity);
        assert_true(reserved <= books->accounts[device].capacity - charged);
    }
}

static void operate(struct pm_ledger *books, struct holder *holder, uint64_t *n_granted)
{
    struct pm_shares freed = holder->charge;
    bool fits;

    switch (draw(7)) {
    case 0: draw_want(holder); return;
    case 4:
        pm_ledger_see(books, (uint32_t)draw(DEVICES), draw(3) == 0 ? PM_LEDGER_UNSEEN : draw(4000));
        return;
    case 5:
        pm_ledger_use(books, &holder->charge, (uint32_t)draw(DEVICES), draw_bytes(), draw(2));
        return;
    case 6: pm_ledger_amend(books, &holder->charge, (uint32_t)draw(DEVICES), draw_bytes()); return;
    case 1:
        if (holder->charge.n > 0)
            return;
        fits = pm_ledger_fits(books, &holder->want, &holder->own);
        assert_int_equal(pm_ledger_charge(books, &holder->want, &holder->own, &holder->charge),
                         fits);
        *n_granted += fits;
        return;
    case 2:
        pm_ledger_release(books, &holder->charge);
        pm_ledger_reserve(books, &freed, &holder->want, &holder->own);
        return;
    default: pm_ledger_unreserve(books, &holder->own); return;
    }
}

static void test_a_million_random_operations_never_over_commit(void **s)
{
    struct holder *holders = calloc(HOLDERS, sizeof(*holders));
    struct pm_ledger books = {0};
    uint64_t n_granted = 0;

    for (uint32_t i = 0; i < DEVICES; i++)
        (void)pm_ledger_open(&books, 1000 * (i + 1));
    for (int i = 0; i < rounds(OPERATIONS); i++) {
        operate(&books, &holders[draw(HOLDERS)], &n_granted);
        check_books(&books, holders);
    }
    assert_true(n_granted > (uint64_t)rounds(OPERATIONS) / 100);
    pm_ledger_fini(&books);
    free(holders);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_charge_is_whole_or_nothing),
        TEST(test_the_last_byte_fits_and_one_more_does_not),
        TEST(test_what_is_given_back_twice_is_given_back_once),
        TEST(test_what_is_reserved_is_its_owners_alone),
        TEST(test_no_more_is_reserved_than_is_lacking),
        TEST(test_what_was_there_before_counts_though_it_does_not_fit),
        TEST(test_a_device_that_shrank_grants_nothing),
        TEST(test_what_is_free_bounds_what_is_left),
        TEST(test_what_would_be_left_without_some_is_what_is_left_without_them),
        TEST(test_a_charge_grows_by_what_is_nobodys_only),
        TEST(test_sums_that_overflow_are_refused),
        TEST(test_an_account_has_one_share_and_an_engine_few_devices),
        TEST(test_a_million_random_operations_never_over_commit),
    };

    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
