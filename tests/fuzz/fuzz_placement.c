/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as X-Placement: refused with a reason that names it, or read into values that lie in the copy, are pools'
 * ids and devices, and mean the same when they are written down and read again.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gateway/placement.h"
#include "util/buf.h"
#include "util/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const struct pm_placement_header *header, const char *text)
{
    assert(text >= header->text && text + strlen(text) <= header->text + PM_PLACEMENT_MAX);
}

static void write_pools(const struct pm_placement_header *header, const char *name,
                        const char *const *ids, size_t n, struct pm_buf *out)
{
    assert(n <= PM_PLACEMENT_POOLS_MAX);
    for (size_t i = 0; i < n; i++) {
        check_inside(header, ids[i]);
        assert(pm_pool_id_valid(ids[i]));
        pm_buf_addf(out, "%s%s", i == 0 ? name : ",", ids[i]);
    }
    if (n > 0)
        pm_buf_adds(out, "; ");
}

static void write_down(const struct pm_placement_header *header, struct pm_buf *out)
{
    const struct pm_placement *placement = &header->placement;

    if (placement->pin) {
        check_inside(header, placement->pin);
        assert(pm_pool_id_valid(placement->pin));
        pm_buf_addf(out, "pin=%s; ", placement->pin);
    }
    write_pools(header, "prefer=", placement->prefer, placement->n_prefer, out);
    write_pools(header, "avoid=", placement->avoid, placement->n_avoid, out);
    if (placement->mask) {
        check_inside(header, placement->mask);
        assert(placement->mask[0] != '\0' && !strpbrk(placement->mask, " ;="));
        pm_buf_addf(out, "mask=%s; ", placement->mask);
    }
    pm_buf_addf(out, "fallback=%s", placement->no_fallback ? "no" : "yes");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pm_placement_header header, again;
    pm_auto_buf struct pm_buf text = {0}, same = {0};
    struct poolmgr_error err = {0};

    if (pm_placement_parse((const char *)data, size, &header, &err) < 0) {
        assert(err.code == POOLMGR_E_INVALID_REQUEST ||
               (pm_str_starts(pm_status(err.code)->name, "mask_") && err.offset <= size));
        assert(err.message[0] != '\0');
        assert(strcmp(err.param, "X-Placement") == 0);
        return 0;
    }
    write_down(&header, &text);
    if (text.n > PM_PLACEMENT_MAX)
        return 0; /* the words that were left out made it longer */
    assert(pm_placement_parse(text.data, text.n, &again, &err) == 0);
    write_down(&again, &same);
    assert(strcmp(pm_buf_text(&text), pm_buf_text(&same)) == 0);
    return 0;
}
