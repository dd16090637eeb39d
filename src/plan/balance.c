/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table says, for each number of devices in play and each prefix of the items, the smallest maximum of used / capacity with
 * which the first devices hold that prefix. It grows with the prefix, and what a last device pays for the rest shrinks with
 * it, so the best place for the last boundary is where the two cross: found by bisection. With the maximum known, the
 * smallest boundaries are those that leave as much as it allows to the devices behind: a frontier from the right.
 */
#include <assert.h>
#include <stdlib.h>

#include "plan/internal.h"
#include "util/cleanup.h"
#include "util/str.h"

/* used / capacity; capacity 0: more than any, what does not fit. */
struct fraction {
    uint64_t used, capacity;
};

static const struct fraction too_much = {1, 0};

static int compare(struct fraction a, struct fraction b)
{
    unsigned __int128 left, right;

    if (a.capacity == 0 || b.capacity == 0)
        return (a.capacity == 0) - (b.capacity == 0);

    left = (unsigned __int128)a.used * b.capacity;
    right = (unsigned __int128)b.used * a.capacity;
    return (left > right) - (left < right);
}

static struct fraction larger(struct fraction a, struct fraction b)
{
    return compare(a, b) >= 0 ? a : b;
}

static struct fraction smaller(struct fraction a, struct fraction b)
{
    return compare(a, b) <= 0 ? a : b;
}

uint64_t pm_cut_used(const struct pm_cut *cut, uint64_t compute, size_t from, size_t to)
{
    return to > from ? cut->cost[to] - cut->cost[from] + compute : 0;
}

/* What device d would be filled to by [from, to). */
static struct fraction fill(const struct pm_cut *cut, uint64_t compute, size_t d, size_t from,
                            size_t to)
{
    uint64_t used = pm_cut_used(cut, compute, from, to);

    if (to <= from)
        return (struct fraction){0, 1};
    if ((pm_wide)used > cut->capacity[d])
        return too_much;
    return (struct fraction){used, (uint64_t)cut->capacity[d]};
}

/* ---- the table ---------------------------------------------------------------------------------------- */

/* best[i]: the smallest maximum for the items before i. Adds device d, which takes what `before` (one device less in play)
 * leaves. */
static struct fraction add_device(const struct pm_cut *cut, size_t d, const struct fraction *before,
                                  size_t i)
{
    size_t low = 0, high = i;
    struct fraction best;

    /* The first boundary at which what is before it is the larger of the two. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(before[middle], fill(cut, cut->compute_split, d, middle, i)) >= 0)
            high = middle;
        else
            low = middle + 1;
    }

    best = larger(before[low], fill(cut, cut->compute_split, d, low, i));
    if (low > 0)
        best = smaller(best, larger(before[low - 1], fill(cut, cut->compute_split, d, low - 1, i)));
    return best;
}

/* The smallest maximum with which n_most devices of all hold everything. */
static struct fraction find_maximum(const struct pm_cut *cut, size_t n_most)
{
    size_t width = cut->n_items + 1, rows = cut->n + 1;
    pm_auto_free struct fraction *before = pm_xalloc(rows * width * sizeof(*before));
    pm_auto_free struct fraction *now = pm_xalloc(rows * width * sizeof(*now));

    /* No device in play holds no item. */
    for (size_t i = 0; i < rows * width; i++)
        before[i] = i % width == 0 ? (struct fraction){0, 1} : too_much;

    for (size_t k = 0; k < n_most; k++) {
        struct fraction *spare = before;

        for (size_t i = 0; i < width; i++)
            now[i] = i == 0 ? (struct fraction){0, 1} : too_much;
        for (size_t d = 0; d < cut->n; d++) {
            for (size_t i = 0; i < width; i++)
                now[(d + 1) * width + i] =
                    smaller(now[d * width + i], add_device(cut, d, &before[d * width], i));
        }
        before = now;
        now = spare;
    }

    return before[cut->n * width + cut->n_items];
}

/* ---- boundaries --------------------------------------------------------------------------------------- */

/* The smallest beginning of a range up to `to` with which device d is filled to `most` at most. */
static size_t reach_left(const struct pm_cut *cut, struct fraction most, size_t d, size_t to)
{
    size_t low = 0, high = to;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(fill(cut, cut->compute_split, d, middle, to), most) <= 0)
            high = middle;
        else
            low = middle + 1;
    }

    return low;
}

void pm_cut_balance(const struct pm_cut *cut, size_t n_most, size_t at[PM_SHARES_MAX + 1])
{
    struct fraction most = find_maximum(cut, n_most);
    /* from[k][d]: from there on, devices d and later hold all, k of them in play at most. */
    size_t from[PM_SHARES_MAX + 1][PM_SHARES_MAX + 1];

    assert(most.capacity > 0);
    for (size_t k = 0; k <= n_most; k++) {
        from[k][cut->n] = cut->n_items;
        for (size_t d = cut->n; d-- > 0;) {
            from[k][d] = from[k][d + 1];
            if (k > 0) {
                size_t left = reach_left(cut, most, d, from[k - 1][d + 1]);

                if (left < from[k][d])
                    from[k][d] = left;
            }
        }
    }

    at[0] = 0;
    for (size_t d = 0, k = n_most; d < cut->n; d++) {
        bool needed = from[k][d + 1] > at[d];

        at[d + 1] = needed ? from[k - 1][d + 1] : at[d];
        k -= needed;
    }
    assert(at[cut->n] == cut->n_items);
}

static struct fraction maximum_of(const struct pm_cut *cut, const size_t *at, uint64_t compute)
{
    struct fraction most = {0, 1};

    for (size_t d = 0; d < cut->n; d++)
        most = larger(most, fill(cut, compute, d, at[d], at[d + 1]));
    return most;
}

int pm_cut_compare(const struct pm_cut *cut, const size_t *a, uint64_t compute_a, const size_t *b,
                   uint64_t compute_b)
{
    return compare(maximum_of(cut, a, compute_a), maximum_of(cut, b, compute_b));
}
