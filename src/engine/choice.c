/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a plan to what an engine is told of devices: which it may see, by variables, and how its layers lie on them, by
 * llama.cpp's arguments. A visible list is written from the plan alone, with full UUIDs in its order, so that the
 * engine's device n is the plan's; a text that a person wrote is never passed on, because CUDA takes the beginning of
 * a list up to its first fault and says nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "plan/mask.h"
#include "plan/selector.h"
#include "util/cleanup.h"

void pm_choice_fini(struct pm_choice *choice)
{
    pm_strv_fini(&choice->arguments);
    pm_strv_fini(&choice->variables.names);
    pm_strv_fini(&choice->variables.values);
}

static void add(struct pm_strv *arguments, const char *flag, const char *value)
{
    pm_strv_add(arguments, flag);
    pm_strv_add(arguments, value);
}

static void set(struct pm_choice *choice, const char *name, const char *value)
{
    pm_strv_add(&choice->variables.names, name);
    pm_strv_add(&choice->variables.values, value);
}

/* Every kind of device but one (NULL: every kind) is hidden. */
static void hide(struct pm_choice *choice, const char *const *but, size_t n_but)
{
    for (size_t i = 0; i < pm_n_selectors; i++) {
        bool kept = pm_selectors[i].nothing == NULL;

        for (size_t k = 0; k < n_but; k++)
            kept = kept || strcmp(pm_selectors[i].name, but[k]) == 0;
        if (!kept)
            set(choice, pm_selectors[i].name, pm_selectors[i].nothing);
    }
}

void pm_choice_hide_all(struct pm_choice *choice)
{
    hide(choice, NULL, 0);
}

/* ---- which devices are visible ------------------------------------------------------------------------ */

enum naming { BY_INDEX, BY_CUDA_UUID, BY_AMD_ID };

static enum naming naming_of(const char *id)
{
    if (strspn(id, "0123456789") == strlen(id))
        return BY_INDEX;
    return pm_str_starts(id, "GPU-") && strlen(id) == strlen("GPU-") + 16 ? BY_AMD_ID
                                                                          : BY_CUDA_UUID;
}

/* Vulkan has numbers of its own for the same GPUs, which nobody knows here. Where the plan has all that there are it
 * may see them, so that an engine built for it works; elsewhere it could take the wrong one. */
static void see_cuda(struct pm_choice *choice, const char *list, bool has_all)
{
    static const char *const own[] = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
                                      "GGML_VK_VISIBLE_DEVICES"};

    set(choice, "CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    set(choice, "CUDA_VISIBLE_DEVICES", list);
    hide(choice, own, PM_ARRAY_LEN(own) - !has_all);
}

/* A number that was declared says nothing of the vendor: nothing is hidden besides. */
static void see_indexes(struct pm_choice *choice, const char *list)
{
    set(choice, "CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    set(choice, "CUDA_VISIBLE_DEVICES", list);
}

/* HIP obeys CUDA's variable and its own besides: with one of them there is only one list, so they stay unset. */
static void see_amd(struct pm_choice *choice, const char *list)
{
    static const char *const own[] = {"ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
                                      "GPU_DEVICE_ORDINAL", "CUDA_VISIBLE_DEVICES"};

    set(choice, "ROCR_VISIBLE_DEVICES", list);
    hide(choice, own, PM_ARRAY_LEN(own));
}

static int see_devices(struct pm_choice *choice, const struct pm_plan *plan,
                       struct poolmgr_error *err)
{
    pm_auto_buf struct pm_buf list = {0};
    enum naming naming = naming_of(plan->devices[0].id);

    for (size_t i = 0; i < plan->n_devices; i++) {
        if (naming_of(plan->devices[i].id) != naming)
            return pm_fail(err, POOLMGR_E_BAD_ARGUMENTS,
                           "devices %s and %s: one engine cannot be given devices that are named "
                           "in different ways",
                           plan->devices[0].id, plan->devices[i].id);
        pm_buf_addf(&list, "%s%s", i > 0 ? "," : "", plan->devices[i].id);
    }

    switch (naming) {
    case BY_INDEX: see_indexes(choice, pm_buf_text(&list)); break;
    case BY_CUDA_UUID: see_cuda(choice, pm_buf_text(&list), plan->has_all); break;
    case BY_AMD_ID: see_amd(choice, pm_buf_text(&list)); break;
    }
    return POOLMGR_OK;
}

/* ---- llama.cpp's arguments ---------------------------------------------------------------------------- */

static void add_layers(struct pm_strv *arguments, unsigned n)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%u", n > 0 ? n : PM_ENGINE_ALL_LAYERS);
    add(arguments, "-ngl", text);
}

/* Whole layers: as integers they come out as planned, while ratios are rounded to something else. */
static void add_split(struct pm_strv *arguments, const struct pm_plan *plan)
{
    pm_auto_buf struct pm_buf counts = {0};

    for (size_t i = 0; i < plan->n_devices; i++)
        pm_buf_addf(&counts, "%s%u", i > 0 ? "," : "", plan->devices[i].n_layers);
    add(arguments, "-ts", pm_buf_text(&counts));
}

static void say_how_layers_lie(struct pm_strv *arguments, const struct pm_plan *plan)
{
    if (plan->n_devices == 1) {
        add(arguments, "-sm", "none");
        add(arguments, "-mg", "0");
    } else {
        add(arguments, "-sm", "layer");
        if (plan->n_layers > 0)
            add_split(arguments, plan);
    }
    add_layers(arguments, plan->n_layers);
}

static void say_none(struct pm_strv *arguments)
{
    add(arguments, "--device", "none");
    add(arguments, "-ngl", "0");
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static bool wants_cpu(const struct pm_pool_spec *pool)
{
    return pool->devices &&
           (strcmp(pool->devices, "cpu") == 0 || strcmp(pool->devices, "none") == 0);
}

static enum pm_choice_of kind_of(const struct pm_plan *plan, const struct pm_pool_spec *pool)
{
    if (plan && !plan->on_cpu && plan->n_devices > 0)
        return PM_CHOICE_DEVICES;
    return (plan && plan->on_cpu) || wants_cpu(pool) ? PM_CHOICE_CPU : PM_CHOICE_OPEN;
}

int pm_engine_choose(const struct pm_plan *plan, const struct pm_pool_spec *pool,
                     const struct pm_engine_traits *traits, struct pm_choice *ret,
                     struct poolmgr_error *err)
{
    struct pm_choice choice = {.of = kind_of(plan, pool)};
    int r;

    if (choice.of == PM_CHOICE_DEVICES) {
        r = see_devices(&choice, plan, err);
        if (r < 0) {
            pm_choice_fini(&choice);
            return r;
        }
        say_how_layers_lie(&choice.arguments, plan);
    } else if (choice.of == PM_CHOICE_CPU) {
        pm_choice_hide_all(&choice);
        say_none(&choice.arguments);
    }
    if (plan && choice.of != PM_CHOICE_OPEN && traits && traits->fit)
        add(&choice.arguments, "-fit", "off");
    if (plan && choice.of != PM_CHOICE_OPEN && traits && traits->trace)
        add(&choice.arguments, "-lv", "4");

    *ret = choice;
    return POOLMGR_OK;
}
