/* SPDX-License-Identifier: Apache-2.0 */
#include "api/planning.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/buf.h"
#include "util/str.h"

#define LLAMA_BATCH 2048 /* its -b */

/* One question on its way to an answer. */
struct work {
    const struct pm_planning *planning;
    struct pm_estimate estimate;
    struct pm_split_device devices[PM_SHARES_MAX];
    struct pm_split
        split; /* what is shown: where it does not fit, with the short device made larger */
    bool fits;
    size_t short_device;
    uint64_t short_bytes, largest_context;
};

static void put_number(json_t *object, const char *name, uint64_t number)
{
    (void)json_object_set_new(object, name, json_integer((json_int_t)number));
}

static void put_text(json_t *object, const char *name, const char *text)
{
    json_t *value = json_string(text);

    if (text[0] != '\0' && value) /* foreign text may be no UTF-8 */
        (void)json_object_set(object, name, value);
    json_decref(value);
}

/* Instances of MIG are not put together: a process uses one. */
static enum pm_split_mode mode_of(const struct pm_planning *planning)
{
    for (size_t i = 0; i < planning->n_devices; i++) {
        if (planning->devices[i].gpu.slot >= 0 && planning->mode != PM_SPLIT_FIXED)
            return PM_SPLIT_NONE;
    }
    return planning->mode;
}

/* ---- the plan ----------------------------------------------------------------------------------------- */

static int split(struct work *work, struct poolmgr_error *err)
{
    const struct pm_planning *planning = work->planning;
    int r = pm_split_plan(&work->estimate, mode_of(planning), planning->ratios, planning->n_ratios,
                          work->devices, planning->n_devices, &work->split, err);

    if (r < 0)
        return r;

    work->fits = work->split.fits;
    if (work->fits || planning->mode == PM_SPLIT_FIXED) {
        work->short_device = work->split.short_device;
        work->short_bytes = work->split.short_bytes;
        return POOLMGR_OK;
    }

    work->short_device = work->split.short_device;
    work->short_bytes = work->split.short_bytes;
    if (__builtin_add_overflow(work->devices[work->short_device].free_bytes, work->short_bytes,
                               &work->devices[work->short_device].free_bytes))
        return POOLMGR_OK;

    return pm_split_plan(&work->estimate, mode_of(planning), planning->ratios, planning->n_ratios,
                         work->devices, planning->n_devices, &work->split, err);
}

/* What stays with the host elsewhere lies on the same device; of what is tied there is no copy. */
static void plan_on_cpu(struct work *work)
{
    struct pm_estimate *estimate = &work->estimate;
    uint64_t host = estimate->host_bytes - estimate->tied_bytes;
    uint64_t *free_bytes = &work->devices[0].free_bytes;

    work->devices[0].context_bytes = 0;
    estimate->weights[0] += host;
    estimate->weights_bytes += host;
    estimate->host_bytes = 0;
    /* The largest context is sought with estimates that know nothing of that. */
    *free_bytes -= host < *free_bytes ? host : *free_bytes;
}

static int plan(struct work *work, struct poolmgr_error *err)
{
    const struct pm_planning *planning = work->planning;
    int r;

    r = pm_estimate_make(planning->model, &planning->ask, &work->estimate, err);
    if (r < 0)
        return r;

    for (size_t i = 0; i < planning->n_devices && i < PM_SHARES_MAX; i++) {
        work->devices[i] = planning->devices[i].is;
        if (work->devices[i].context_bytes == 0)
            work->devices[i].context_bytes = work->estimate.context_bytes;
    }
    if (planning->on_cpu)
        plan_on_cpu(work);

    r = pm_split_largest_context(planning->model, &planning->ask, mode_of(planning),
                                 planning->ratios, planning->n_ratios, work->devices,
                                 planning->n_devices, &work->largest_context, err);
    if (planning->on_cpu)
        work->devices[0].free_bytes = planning->devices[0].is.free_bytes;
    return r < 0 ? r : split(work, err);
}

/* ---- the answer --------------------------------------------------------------------------------------- */

static json_t *model_json(const struct pm_planning *planning)
{
    const struct pm_model *model = planning->model;
    json_t *object = json_object();

    put_text(object, "ref", planning->ref);
    put_text(object, "architecture", model->architecture);
    put_text(object, "quantisation", model->quantisation);
    put_number(object, "parameters", model->n_parameters);
    put_number(object, "size_bytes", model->file_bytes);
    put_number(object, "layers", model->n_layers);
    if (model->context > 0)
        put_number(object, "trained_context", model->context);
    return object;
}

static json_t *device_json(const struct work *work, size_t i)
{
    const struct pm_planning_device *device = &work->planning->devices[i];
    const struct pm_split *split = &work->split;
    json_t *object = json_object();

    put_number(object, "device", device->gpu.index);
    if (pm_str_starts(device->gpu.id, "GPU-") || pm_str_starts(device->gpu.id, "MIG-"))
        put_text(object, "uuid", device->gpu.id);
    put_number(object, "free_bytes", device->is.free_bytes);
    put_number(object, "reserve_bytes", device->is.reserve_bytes);
    put_number(object, "layers", split->counts[i]);
    if (split->counts[i] == 0)
        return object;

    put_number(object, "weights_bytes", split->weights_bytes[i]);
    put_number(object, "kv_bytes", split->kv_bytes[i]);
    put_number(object, "compute_bytes",
               split->used_bytes[i] - split->weights_bytes[i] - split->kv_bytes[i]);
    put_number(object, "context_bytes", work->devices[i].context_bytes);
    put_number(object, "used_bytes", split->used_bytes[i] + work->devices[i].context_bytes);
    return object;
}

static void add(json_t *args, const char *name, const char *value)
{
    (void)json_array_append_new(args, json_string(name));
    (void)json_array_append_new(args, json_string(value));
}

static void add_number(json_t *args, const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    add(args, name, text);
}

/* "q8_0", as -ctk has it. */
static void add_cache_type(json_t *args, const char *flag, unsigned id)
{
    char name[16];

    if (id == PM_CACHE_F16)
        return;

    (void)pm_str_copy(name, sizeof(name), pm_ggml_type(id)->name);
    for (char *at = name; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    add(args, flag, name);
}

/* What was asked for otherwise than an engine has it by itself; a step cannot be larger than what is read at once (-b). */
static void add_asked(json_t *args, const struct pm_estimate_ask *ask)
{
    add_cache_type(args, "-ctk", ask->cache_k);
    add_cache_type(args, "-ctv", ask->cache_v);
    if (ask->unified)
        (void)json_array_append_new(args, json_string("-kvu"));
    if (ask->ubatch > LLAMA_BATCH)
        add_number(args, "-b", ask->ubatch);
    if (ask->ubatch > 0)
        add_number(args, "-ub", ask->ubatch);
}

/* DEVICES §6. */
static json_t *args_json(const struct work *work)
{
    const struct pm_split *split = &work->split;
    pm_auto_buf struct pm_buf counts = {0};
    json_t *args = json_array();

    for (size_t i = 0; i < split->n_used; i++)
        pm_buf_addf(&counts, "%s%u", i > 0 ? "," : "", split->counts[split->used[i]]);

    if (work->planning->on_cpu) {
        add(args, "--device", "none");
    } else if (split->n_used > 1) {
        add(args, "-sm", "layer");
        add(args, "-ts", pm_buf_text(&counts));
    } else {
        add(args, "-sm", "none");
        add(args, "-mg", "0");
    }
    add_number(args, "-ngl", work->planning->on_cpu ? 0 : work->estimate.n_items);
    if (work->planning->knows_fit && !work->planning->on_cpu)
        add(args, "-fit", "off");
    add_number(args, "-c", work->estimate.total_context);
    add_number(args, "-np", work->estimate.total_context / work->estimate.context);
    add_asked(args, &work->planning->ask);
    return args;
}

static json_t *env_json(const struct work *work)
{
    const struct pm_split *split = &work->split;
    pm_auto_buf struct pm_buf ids = {0};
    json_t *env = json_object();

    if (work->planning->on_cpu)
        return env;
    for (size_t i = 0; i < split->n_used; i++)
        pm_buf_addf(&ids, "%s%s", i > 0 ? "," : "", work->planning->devices[split->used[i]].gpu.id);
    put_text(env, "CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    put_text(env, "CUDA_VISIBLE_DEVICES", pm_buf_text(&ids));
    return env;
}

/* The members of devices that were measured, where the rest is estimated; nothing where all is. */
static void add_measured(const struct pm_measured_memory *measured, json_t *answer)
{
    json_t *names = json_array();

    if (measured->compute_bytes > 0)
        (void)json_array_append_new(names, json_string("compute_bytes"));
    if (measured->context_bytes > 0)
        (void)json_array_append_new(names, json_string("context_bytes"));
    if (json_array_size(names) > 0)
        (void)json_object_set(answer, "measured", names);
    json_decref(names);
}

static json_t *answer_json(const struct work *work)
{
    const struct pm_estimate *estimate = &work->estimate;
    const struct pm_planning *planning = work->planning;
    json_t *answer = json_object(), *devices = json_array();

    (void)json_object_set_new(answer, "fits", json_boolean(work->fits));
    (void)json_object_set_new(answer, "model", model_json(planning));
    put_number(answer, "context", estimate->context);
    put_number(answer, "slots", estimate->total_context / estimate->context);
    put_number(answer, "total_context", estimate->total_context);
    put_number(answer, "largest_context", work->largest_context);
    if (!work->fits)
        (void)json_object_set_new(
            answer, "shortfall",
            json_pack("{s:I,s:I}", "device",
                      (json_int_t)planning->devices[work->short_device].gpu.index, "bytes",
                      (json_int_t)work->short_bytes));
    if (planning->on_cpu)
        (void)json_object_set_new(answer, "on_cpu", json_true());
    put_number(answer, "host_bytes", estimate->host_bytes);
    for (size_t i = 0; i < planning->n_devices; i++)
        (void)json_array_append_new(devices, device_json(work, i));
    (void)json_object_set_new(answer, "devices", devices);
    add_measured(&planning->ask.measured, answer);
    (void)json_object_set_new(answer, "args", args_json(work));
    (void)json_object_set_new(answer, "env", env_json(work));
    return answer;
}

int pm_planning_answer(const struct pm_planning *planning, json_t **ret, struct poolmgr_error *err)
{
    struct work work = {.planning = planning};
    int r = plan(&work, err);

    if (r == POOLMGR_OK)
        *ret = answer_json(&work);
    pm_estimate_fini(&work.estimate);
    return r;
}

/* ---- what is asked ------------------------------------------------------------------------------------ */

/* Of those that stand for each other: without the one with the least room, the last of several alike. */
static void drop_least(const struct pm_planning_device *devices, size_t *set, size_t *n_set)
{
    size_t least = 0;

    for (size_t i = 1; i < *n_set; i++) {
        if (devices[set[i]].is.free_bytes <= devices[set[least]].is.free_bytes)
            least = i;
    }
    *n_set -= 1;
    memmove(&set[least], &set[least + 1], (*n_set - least) * sizeof(set[0]));
}

int pm_planning_choose(const struct pm_mask *mask, const struct pm_planning_device *devices,
                       size_t n, struct pm_planning_device chosen[PM_SHARES_MAX], size_t *ret_n,
                       struct poolmgr_error *err)
{
    pm_auto_free struct pm_gpu *gpus = pm_xalloc((n + 1) * sizeof(*gpus));
    pm_auto_free size_t *set = pm_xalloc((n + 1) * sizeof(*set));
    size_t n_set = 0;
    int r;

    for (size_t i = 0; i < n; i++)
        gpus[i] = devices[i].gpu;
    r = pm_mask_resolve(mask, gpus, n, true, set, &n_set, NULL, err);
    if (r == POOLMGR_E_MASK_MIG_MULTI) { /* one of them, whichever has room */
        r = pm_mask_resolve(mask, gpus, n, false, set, &n_set, NULL, err);
        while (r == POOLMGR_OK && n_set > PM_SHARES_MAX)
            drop_least(devices, set, &n_set);
    }
    if (r < 0)
        return r;
    if (n_set > PM_SHARES_MAX)
        return pm_fail(err, POOLMGR_E_MASK_TOO_LONG,
                       "'%.64s' means %zu devices, and an engine has at most %d",
                       pm_mask_text(mask), n_set, PM_SHARES_MAX);

    for (size_t i = 0; i < n_set; i++)
        chosen[i] = devices[set[i]];
    *ret_n = n_set;
    return POOLMGR_OK;
}

struct pm_planning_device pm_planning_imagine(size_t i, uint64_t free_bytes)
{
    struct pm_planning_device device = {
        .gpu = {.vendor = PM_VENDOR_NVIDIA, .index = (unsigned)i, .slot = -1, .gi = -1, .ci = -1},
        .is = {.free_bytes = free_bytes, .reserve_bytes = PM_PLANNING_RESERVE_BYTES, .order = i}};

    (void)snprintf(device.gpu.id, sizeof(device.gpu.id), "%zu", i);
    return device;
}

void pm_planning_on_cpu(struct pm_planning *planning, struct pm_planning_device *devices,
                        uint64_t free_bytes, uint64_t reserve_bytes)
{
    devices[0] = pm_planning_imagine(0, free_bytes);
    devices[0].is.reserve_bytes = reserve_bytes;
    planning->on_cpu = true;
    planning->n_devices = 1;
    planning->mode = PM_SPLIT_NONE;
    planning->n_ratios = 0;
}

bool pm_planning_read_split(const char *text, enum pm_split_mode *ret, double *ratios,
                            size_t *ret_n)
{
    static const struct {
        const char *word;
        enum pm_split_mode mode;
    } words[] = {{"none", PM_SPLIT_NONE}, {"auto", PM_SPLIT_AUTO}, {"balanced", PM_SPLIT_BALANCED}};
    char *end;
    size_t n = 0;

    *ret_n = 0;
    for (size_t i = 0; i < PM_ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i].word) == 0) {
            *ret = words[i].mode;
            return true;
        }
    }

    if (*text++ != '[')
        return false;

    for (; n < PM_SHARES_MAX; text = end + 1) {
        ratios[n++] = strtod(text, &end);
        if (end == text || (*end != ',' && *end != ']'))
            return false;
        if (*end == ']') {
            *ret = PM_SPLIT_FIXED;
            *ret_n = n;
            return end[1] == '\0';
        }
    }

    return false;
}
