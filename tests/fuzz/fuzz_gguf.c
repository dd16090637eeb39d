/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a model file: read without a fault, and what is called whole lies inside the file. As a model: estimated for
 * some ask and split over some devices that its bytes choose, or refused with a reason; a plan that fits is sound.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "plan/gguf.h"
#include "plan/split.h"
#include "util/cleanup.h"

struct bytes {
    const uint8_t *data;
    size_t n;
};

static long read_bytes(void *ctx, uint64_t offset, void *to, size_t n)
{
    const struct bytes *bytes = ctx;

    if (offset >= bytes->n)
        return 0;
    if (n > bytes->n - offset)
        n = bytes->n - (size_t)offset;
    memcpy(to, bytes->data + offset, n);
    return (long)n;
}

/* The same bytes always make the same choices. */
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

static void set_seed(const uint8_t *data, size_t size)
{
    seed = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        seed = (seed ^ data[i]) * 1099511628211u;
}

static uint64_t draw_large(void)
{
    return draw(8) == 0 ? UINT64_MAX - draw(3) : (draw(UINT32_MAX) << draw(30)) >> draw(40);
}

static struct pm_estimate_ask draw_ask(void)
{
    static const unsigned types[] = {
        PM_CACHE_F16, PM_CACHE_F32, PM_CACHE_Q8_0, PM_CACHE_Q4_0, 5, 99};

    return (struct pm_estimate_ask){
        .context = draw(2) == 0 ? 0 : draw_large(),
        .n_slots = draw(4) == 0 ? draw_large() : draw(5),
        .ubatch = draw(4) == 0 ? draw_large() : 0,
        .cache_k = types[draw(PM_ARRAY_LEN(types))],
        .cache_v = types[draw(PM_ARRAY_LEN(types))],
        .unified = draw(2) == 0,
        .mmproj_bytes = draw(4) == 0 ? draw_large() : 0,
        .measured = {.compute_bytes = draw(2) == 0 ? 0 : draw_large()},
    };
}

static size_t draw_devices(struct pm_split_device *devices)
{
    size_t n = 1 + (size_t)draw(PM_SHARES_MAX);

    for (size_t i = 0; i < n; i++)
        devices[i] = (struct pm_split_device){.free_bytes = draw_large(),
                                              .reserve_bytes = draw(2) == 0 ? 0 : draw_large(),
                                              .order = draw(4)};
    return n;
}

static void check_plan(const struct pm_estimate *estimate, enum pm_split_mode mode,
                       const double *ratios, const struct pm_split_device *devices, size_t n)
{
    struct poolmgr_error err = {0};
    struct pm_split split;
    size_t n_items = 0;

    if (pm_split_plan(estimate, mode, ratios, n, devices, n, &split, &err) < 0) {
        assert(mode == PM_SPLIT_FIXED && err.message[0] != '\0');
        return;
    }

    assert(split.fits == (split.short_bytes == 0));
    for (size_t i = 0; split.fits && i < n; i++) {
        n_items += split.counts[i];
        assert(split.used_bytes[i] <= devices[i].free_bytes);
    }
    assert(!split.fits || n_items == estimate->n_items);
}

static void check_model(const struct pm_model *model)
{
    struct pm_estimate_ask ask = draw_ask();
    struct pm_split_device devices[PM_SHARES_MAX];
    size_t n = draw_devices(devices);
    double ratios[PM_SHARES_MAX] = {0.5, 0.5};
    struct pm_estimate estimate;
    struct poolmgr_error err = {0};
    uint64_t largest = 0;

    if (pm_estimate_make(model, &ask, &estimate, &err) < 0) {
        assert(err.message[0] != '\0');
        return;
    }

    assert(pm_estimate_single(&estimate) <= INT64_MAX);
    for (enum pm_split_mode mode = PM_SPLIT_NONE; mode <= PM_SPLIT_FIXED; mode++)
        check_plan(&estimate, mode, ratios, devices, n);
    if (pm_split_largest_context(model, &ask, PM_SPLIT_AUTO, NULL, 0, devices, n, &largest, NULL) ==
        POOLMGR_OK)
        assert(largest <= (model->context > 0 ? model->context : ask.context));
    pm_estimate_fini(&estimate);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, size};
    struct pm_gguf_source source = {.size = size, .read = read_bytes, .ctx = &bytes};
    struct pm_gguf_source twice[] = {source, source};
    struct poolmgr_error err = {0};
    struct pm_model *model = NULL;
    struct pm_gguf gguf;
    int r = pm_gguf_read(&source, &gguf, &err);

    assert(pm_model_read(twice, 2, &model, &err) < 0); /* no two shards are the same */
    if (r < 0) {
        assert(r == POOLMGR_E_MODEL_CORRUPT || r == POOLMGR_E_MODEL_UNSUPPORTED);
        assert(err.message[0] != '\0');
        assert(pm_model_read(&source, 1, &model, NULL) == r);
        return 0;
    }

    assert(gguf.data_end <= size && gguf.version >= 2 && gguf.version <= 3);
    set_seed(data, size);
    if (pm_model_read(&source, 1, &model, &err) == POOLMGR_OK)
        check_model(model);
    else
        assert(err.code == POOLMGR_E_MODEL_CORRUPT);
    pm_model_unref(model);
    return 0;
}
