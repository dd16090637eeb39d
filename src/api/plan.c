/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/plan: would a pool's model fit on the devices there are, or would be. Asks, and changes nothing. */
#include <inttypes.h>
#include <string.h>

#include "api/call.h"
#include "api/member.h"
#include "api/planning.h"
#include "util/str.h"

/* One question, until its model is read. */
struct asking {
    struct pm_reading *reading; /* NULL: done */
    struct pm_pool_spec *spec;  /* a reference */
    struct pm_planning planning;
    struct pm_planning_device *found; /* what there is, or would be */
    size_t n_found;
    struct pm_planning_device devices[PM_SHARES_MAX]; /* of them, what the mask means */
    double ratios[PM_SHARES_MAX];
};

static void forget(struct asking *asking)
{
    pm_pool_spec_unref(asking->spec);
    free(asking->found);
    free(asking);
}

static void release(struct pm_call *call)
{
    struct asking *asking = call->state;

    pm_reading_cancel(asking->reading);
    forget(asking);
}

/* Programs are looked at in the line in which models are read: by now it is known if the daemon has just begun, too. */
static void ask_program(const struct pm_call *call, struct asking *asking)
{
    struct pm_estimate_ask *ask = &asking->planning.ask;

    if (pm_manager_traits(call->api->manager, asking->spec->runs).few_outputs)
        ask->n_outputs = ask->n_slots > 0 ? ask->n_slots : 1;
}

static void on_read(void *ctx, struct pm_model *model, uint64_t size_bytes,
                    const struct poolmgr_error *error)
{
    struct pm_call *call = ctx;
    struct asking *asking = call->state;
    struct poolmgr_error err = {0};
    json_t *answer = NULL;

    asking->reading = NULL;
    ask_program(call, asking);
    if (error) {
        pm_call_error(call, error);
        return;
    }

    asking->planning.model = model;
    asking->planning.ask.mmproj_bytes = size_bytes - model->file_bytes; /* and draft and the like */
    if (pm_planning_answer(&asking->planning, &answer, &err) < 0)
        pm_call_error(call, &err);
    else
        pm_call_json(call, 200, answer);
}

/* ---- what is asked; false: it was answered ------------------------------------------------------------ */

static bool read_count(struct pm_call *call, const json_t *body, const char *name, uint64_t most,
                       uint64_t *ret)
{
    const json_t *value = json_object_get(body, name);

    if (!value)
        return true;
    if (json_is_integer(value) && json_integer_value(value) > 0 &&
        (uint64_t)json_integer_value(value) <= most) {
        *ret = (uint64_t)json_integer_value(value);
        return true;
    }
    pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, name,
                 "'%s' must be a whole number from 1 to %" PRIu64, name, most);
    return false;
}

static bool read_counts(struct pm_call *call, const json_t *body, struct pm_estimate_ask *ask)
{
    if (!read_count(call, body, "slots", PM_ESTIMATE_SLOTS_MAX, &ask->n_slots))
        return false;
    return read_count(call, body, "context",
                      PM_ESTIMATE_TOKENS_MAX / (ask->n_slots > 0 ? ask->n_slots : 1),
                      &ask->context);
}

static bool read_machine(struct pm_call *call, const json_t *machine, struct asking *asking)
{
    const json_t *device;
    size_t i;

    if (!json_is_array(machine) || json_array_size(machine) == 0 ||
        json_array_size(machine) > PM_SHARES_MAX) {
        pm_call_fail(
            call, POOLMGR_E_INVALID_REQUEST, "machine",
            "'machine' must be a list of 1 to %d devices, as [{\"free_bytes\": 25769803776}]",
            PM_SHARES_MAX);
        return false;
    }

    asking->found = pm_xalloc(json_array_size(machine) * sizeof(*asking->found));
    json_array_foreach(machine, i, device)
    {
        const json_t *bytes = json_object_get(device, "free_bytes");

        if (json_object_size(device) != 1 || !json_is_integer(bytes) ||
            json_integer_value(bytes) <= 0) {
            pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, "machine",
                         "a device of 'machine' has one member, 'free_bytes', above 0");
            return false;
        }
        asking->found[i] = pm_planning_imagine(i, (uint64_t)json_integer_value(bytes));
    }
    asking->n_found = i;
    return true;
}

/* What the pool's own engines hold there: a plan takes their place. */
static uint64_t held_by(const struct pm_core *core, const struct pm_pool_spec *spec, const char *id)
{
    struct pm_replica_device on;
    uint64_t bytes = 0;

    for (unsigned replica = 0; replica < spec->n_replicas; replica++) {
        for (size_t i = 0; pm_core_replica_device(core, spec->id, replica, i, &on); i++)
            bytes += strcmp(on.id, id) == 0 ? on.planned_bytes : 0;
    }
    return bytes;
}

static struct pm_planning_device take_device(const struct pm_core *core,
                                             const struct pm_pool_spec *spec, size_t i,
                                             const struct pm_device_view *view)
{
    uint64_t held = held_by(core, spec, view->is.id), index;
    uint64_t taken = view->planned_bytes + view->claimed_bytes - held;
    uint64_t left = view->is.total_bytes > taken ? view->is.total_bytes - taken : 0;
    struct pm_planning_device device;

    if (view->free_known && view->free_bytes + held < left)
        left = view->free_bytes + held;
    device = pm_planning_imagine(i, left);
    (void)pm_str_copy(device.gpu.id, sizeof(device.gpu.id), view->is.id);
    if (view->is.is_gpu.id[0] != '\0')
        device.gpu = view->is.is_gpu; /* found: with its place on the bus, its slot, its modes */
    else if (pm_parse_u64(view->is.id, &index) && index <= PM_MASK_INDEX_MAX)
        device.gpu.index = (unsigned)index;
    device.gpu.unhealthy = view->is.state != PM_DEVICE_OK;
    device.is.reserve_bytes = view->is.reserve_bytes;
    return device;
}

/* All, GPUs in MIG mode and what cannot be used among them: the mask chooses. */
static void take_devices(const struct pm_core *core, struct asking *asking)
{
    struct pm_device_view view;

    for (size_t i = 0; pm_core_device_at(core, i, &view); i++) {
        if (strcmp(view.is.id, PM_CPU_ID) == 0)
            continue;
        asking->found = pm_xrealloc(asking->found, (asking->n_found + 1) * sizeof(*asking->found));
        asking->found[asking->n_found++] = take_device(core, asking->spec, i, &view);
    }
}

/* The question's mask, else the pool's, which does not name devices of another machine. *ret NULL: all there are. */
static int read_mask(const struct asking *asking, const char *text, bool elsewhere,
                     struct pm_mask **ret, struct poolmgr_error *err)
{
    const struct pm_pool_spec *spec = asking->spec;

    if (text && strcmp(text, "auto") != 0)
        return pm_mask_parse(text, strlen(text), ret, NULL, err);
    if (text || elsewhere)
        return POOLMGR_OK;
    if (strcmp(spec->devices, "cpu") == 0)
        return pm_mask_parse("cpu", 3, ret, NULL, err);
    if (spec->where)
        *ret = pm_mask_ref(spec->where);
    return POOLMGR_OK;
}

/* Asked for, or what `auto` means here. */
static bool is_on_cpu(const struct pm_call *call, const struct asking *asking,
                      const struct pm_mask *mask, bool elsewhere)
{
    const struct pm_manager *manager = call->api->manager;
    struct pm_pool_view view;

    if (mask || elsewhere)
        return mask && pm_mask_is_cpu(mask);
    return pm_core_pool(pm_manager_core(manager), asking->spec->id, pm_manager_now(manager),
                        &view) &&
           view.on_cpu;
}

static int take_cpu(const struct pm_core *core, struct asking *asking, bool elsewhere,
                    struct poolmgr_error *err)
{
    struct pm_device_view view;

    if (elsewhere) {
        pm_planning_on_cpu(&asking->planning, asking->devices, asking->found[0].is.free_bytes, 0);
        return POOLMGR_OK;
    }
    for (size_t i = 0; pm_core_device_at(core, i, &view); i++) {
        if (strcmp(view.is.id, PM_CPU_ID) != 0)
            continue;
        pm_planning_on_cpu(&asking->planning, asking->devices,
                           view.left_bytes + held_by(core, asking->spec, PM_CPU_ID) +
                               view.is.reserve_bytes,
                           view.is.reserve_bytes);
        return POOLMGR_OK;
    }
    return pm_fail(
        err, POOLMGR_E_CONFLICT,
        "the memory of this machine is not known; say what there would be, as 'machine'");
}

static bool choose_devices(struct pm_call *call, const json_t *body, struct asking *asking)
{
    pm_auto(pm_mask_unref) struct pm_mask *mask = NULL;
    struct poolmgr_error err = {0};
    bool elsewhere = json_object_get(body, "machine");
    const char *text = json_string_value(json_object_get(body, "devices"));
    int r;

    if (!text && !pm_member_text(call, body, "devices", &text)) /* an empty one is a mask's fault */
        return false;
    r = read_mask(asking, text, elsewhere, &mask, &err);
    if (r == POOLMGR_OK && is_on_cpu(call, asking, mask, elsewhere)) {
        r = take_cpu(pm_manager_core(call->api->manager), asking, elsewhere, &err);
        pm_mask_unref(pm_take(mask));
    } else if (r == POOLMGR_OK && !mask && asking->n_found > 0) {
        r = pm_mask_parse("all", strlen("all"), &mask, NULL, &err); /* that can be used */
    }
    if (r == POOLMGR_OK && mask)
        r = pm_planning_choose(mask, asking->found, asking->n_found, asking->devices,
                               &asking->planning.n_devices, &err);
    if (r == POOLMGR_OK && asking->planning.n_devices == 0)
        r = pm_fail(&err, POOLMGR_E_CONFLICT,
                    "there is no device to plan on; say what there would be, as 'machine'");
    if (r == POOLMGR_OK)
        return true;
    (void)pm_error_param(&err, 0, "devices");
    pm_call_error(call, &err);
    return false;
}

static bool find_pool(struct pm_call *call, const json_t *body, struct asking *asking)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    const struct pm_pool_spec *spec;
    const char *model;

    if (!pm_member_text(call, body, "model", &model))
        return false;
    if (!model) {
        pm_call_fail(call, POOLMGR_E_INVALID_REQUEST, "model", "'model' must name a pool");
        return false;
    }
    spec = pm_core_route(core, model);
    if (!spec) {
        pm_call_fail(call, POOLMGR_E_MODEL_NOT_FOUND, "model",
                     "no pool serves '%.128s'; of a file `poolctl plan FILE` asks without a daemon",
                     model);
        return false;
    }
    if (!spec->model.main || !spec->runs || spec->runs->family != PM_FAMILY_LLAMA_CPP) {
        pm_call_fail(call, POOLMGR_E_UNSUPPORTED, "model",
                     "what pool '%s' needs is not estimated: its engine reads no GGUF", spec->id);
        return false;
    }
    asking->spec = pm_pool_spec_ref((struct pm_pool_spec *)spec);
    return true;
}

static bool read_question(struct pm_call *call, const json_t *body, struct asking *asking)
{
    const json_t *machine = json_object_get(body, "machine");
    struct pm_planning *planning = &asking->planning;

    if (!find_pool(call, body, asking))
        return false;

    planning->ref = asking->spec->model.main;
    planning->devices = asking->devices;
    planning->ratios = asking->ratios;
    planning->ask = pm_spec_ask(asking->spec);
    (void)pm_planning_read_split(asking->spec->tensor_split, &planning->mode, asking->ratios,
                                 &planning->n_ratios);
    if (machine ? !read_machine(call, machine, asking)
                : (take_devices(pm_manager_core(call->api->manager), asking), false))
        return false;

    return read_counts(call, body, &planning->ask) && choose_devices(call, body, asking);
}

/* As its next start would; but it was measured on this machine, with the context and the slots it has. */
static void take_measures(struct pm_call *call, const json_t *body, struct asking *asking)
{
    const struct pm_estimate_ask own = pm_spec_ask(asking->spec);
    struct pm_estimate_ask *ask = &asking->planning.ask;

    if (!json_object_get(body, "machine") && !asking->planning.on_cpu &&
        ask->context == own.context && ask->n_slots == own.n_slots)
        pm_core_measures(pm_manager_core(call->api->manager), asking->spec, &ask->measured);
}

void pm_plan_ask(struct pm_call *call)
{
    json_t *body = pm_call_body(call);
    struct asking *asking;
    bool good;

    if (!body)
        return;

    asking = pm_xalloc(sizeof(*asking));
    good = read_question(call, body, asking);
    if (good)
        take_measures(call, body, asking);
    json_decref(body);
    if (!good) {
        forget(asking);
        return;
    }

    call->state = asking;
    call->gone = release;
    asking->reading = pm_manager_read_model(call->api->manager, asking->spec, on_read, call);
}
