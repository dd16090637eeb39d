/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool-probe holds a library that may have been replaced by anything, so what it says is read as a stranger's words:
 * every number has its range, every list its limit, and a frame is taken whole or not at all.
 *
 * Members are read one after the other into `reading`, which keeps the first thing that is wrong; the functions do
 * nothing behind that, and the reader looks once, at the end.
 */
#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "gpu/frame.h"
#include "gpu/gpu.h"
#include "util/str.h"

PM_DEFINE_AUTO(json_t *, json_decref)

struct reading {
    const json_t *object;
    const char *where; /* "frame", "gpu", … */
    struct poolmgr_error *err;
    int r; /* of the first that was wrong */
};

static void wrong(struct reading *in, const char *name)
{
    if (in->r == POOLMGR_OK)
        in->r = pm_fail(in->err, POOLMGR_E_INVALID_REQUEST, "'%s' of a %s is missing or wrong",
                        name, in->where);
}

/* ---- members ---------------------------------------------------------------------------------------- */

static void get_text(struct reading *in, const char *name, char *to, size_t size)
{
    const json_t *value = json_object_get(in->object, name);

    if (!value)
        return;
    if (!json_is_string(value) || json_string_length(value) >= size ||
        strlen(json_string_value(value)) != json_string_length(value))
        wrong(in, name);
    else
        (void)pm_str_copy(to, size, json_string_value(value));
}

static void get_number(struct reading *in, const char *name, int64_t min, int64_t max, int64_t *ret)
{
    const json_t *value = json_object_get(in->object, name);

    if (!value)
        return;
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        wrong(in, name);
    else
        *ret = json_integer_value(value);
}

/* What nobody tells stays PM_GPU_UNKNOWN. */
static int get_int(struct reading *in, const char *name, int max)
{
    int64_t number = PM_GPU_UNKNOWN;

    get_number(in, name, 0, max, &number);
    return (int)number;
}

/* True when it is there. */
static bool get_bytes(struct reading *in, const char *name, uint64_t *ret)
{
    int64_t number = -1;

    get_number(in, name, 0, INT64_MAX, &number);
    if (number < 0)
        return false;

    *ret = (uint64_t)number;
    return true;
}

static bool get_bool(struct reading *in, const char *name)
{
    const json_t *value = json_object_get(in->object, name);

    if (value && !json_is_boolean(value))
        wrong(in, name);
    return json_is_true(value);
}

/* The position of a word in a table; 0 where it is none, which is an error. */
static size_t get_word(struct reading *in, const char *name, const char *(*word)(size_t), size_t n)
{
    const char *text = json_string_value(json_object_get(in->object, name));

    for (size_t i = 0; text && i < n; i++) {
        if (strcmp(text, word(i)) == 0)
            return i;
    }
    wrong(in, name);
    return 0;
}

static const char *node_word(size_t i)
{
    return pm_node_state_name((enum pm_node_state)i);
}

static const char *state_word(size_t i)
{
    return pm_device_state_name((enum pm_device_state)i);
}

static const char *vendor_word(size_t i)
{
    return pm_vendor_name((enum pm_vendor)i);
}

static const char *event_word(size_t i)
{
    return pm_gpu_event_names[i];
}

/* ---- a device --------------------------------------------------------------------------------------- */

static void get_identity(struct reading *in, struct pm_gpu *is)
{
    int64_t index = -1;

    get_text(in, "id", is->id, sizeof(is->id));
    if (is->id[0] == '\0')
        wrong(in, "id");
    is->vendor = (enum pm_vendor)get_word(in, "vendor", vendor_word, PM_VENDOR_COUNT);
    get_number(in, "index", 0, PM_GPUS_MAX, &index);
    if (index < 0)
        wrong(in, "index");
    is->index = (unsigned)index;
    is->slot = get_int(in, "slot", INT_MAX);
    is->gi = get_int(in, "gi", INT_MAX);
    is->ci = get_int(in, "ci", INT_MAX);
    get_text(in, "pci", is->pci, sizeof(is->pci));
    is->mig_mode = get_bool(in, "mig_mode");
    is->hidden = get_bool(in, "hidden");
    is->unhealthy = get_bool(in, "unhealthy");
    is->prohibited = get_bool(in, "prohibited");
}

static void get_capability(struct reading *in, struct pm_gpu_seen *gpu)
{
    const json_t *value = json_object_get(in->object, "compute_capability");

    if (!value)
        return;
    for (size_t i = 0; i < 2; i++) {
        const json_t *part = json_array_get(value, i);

        if (!json_is_integer(part) || json_integer_value(part) < (i == 0 ? 1 : 0) ||
            json_integer_value(part) > 1000) {
            wrong(in, "compute_capability");
            return;
        }
        *(i == 0 ? &gpu->cc_major : &gpu->cc_minor) = (int)json_integer_value(part);
    }
}

static void get_process(struct reading *in, struct pm_gpu_process *process)
{
    process->pid = get_int(in, "pid", INT_MAX);
    if (process->pid == PM_GPU_UNKNOWN)
        wrong(in, "pid");
    process->bytes_known = get_bytes(in, "bytes", &process->bytes);
}

static void get_processes(struct reading *in, struct pm_gpu_seen *gpu, size_t *n_left)
{
    const json_t *list = json_object_get(in->object, "processes");
    struct reading each = {NULL, "process", in->err, POOLMGR_OK};
    size_t n = json_array_size(list);

    if (list && (!json_is_array(list) || n > *n_left)) {
        wrong(in, "processes");
        return;
    }
    if (n == 0)
        return;

    *n_left -= n;
    gpu->processes = pm_xalloc(n * sizeof(gpu->processes[0]));
    gpu->n_processes = n;
    for (size_t i = 0; i < n; i++) {
        each.object = json_array_get(list, i);
        get_process(&each, &gpu->processes[i]);
    }
    if (in->r == POOLMGR_OK)
        in->r = each.r;
}

static void get_gpu(struct reading *in, struct pm_gpu_seen *gpu, size_t *n_left)
{
    int64_t n_ecc = PM_GPU_UNKNOWN;

    get_identity(in, &gpu->is);
    get_text(in, "name", gpu->name, sizeof(gpu->name));
    gpu->state = (enum pm_device_state)get_word(in, "state", state_word, PM_DEVICE_STATE_COUNT);
    get_text(in, "text", gpu->text, sizeof(gpu->text));
    if (!get_bytes(in, "total_bytes", &gpu->total_bytes))
        wrong(in, "total_bytes");
    gpu->free_known = get_bytes(in, "free_bytes", &gpu->free_bytes);
    (void)get_bytes(in, "driver_bytes", &gpu->driver_bytes);
    get_capability(in, gpu);
    gpu->compute_mode = get_int(in, "compute_mode", INT_MAX);
    gpu->mig_pending = get_bool(in, "mig_pending");
    get_processes(in, gpu, n_left);
    gpu->processes_complete = get_bool(in, "processes_complete");
    gpu->temperature_c = get_int(in, "temperature_c", INT_MAX);
    gpu->power_mw = get_int(in, "power_mw", INT_MAX);
    gpu->utilisation_percent = get_int(in, "utilisation_percent", INT_MAX);
    gpu->memory_percent = get_int(in, "memory_percent", INT_MAX);
    get_number(in, "ecc_uncorrected", 0, INT64_MAX, &n_ecc);
    gpu->n_ecc_uncorrected = n_ecc;
    gpu->remap_pending = get_int(in, "remap_pending", 1);
    gpu->remap_failed = get_int(in, "remap_failed", 1);
    gpu->recovery = get_int(in, "recovery", INT_MAX);
}

/* ---- frames ----------------------------------------------------------------------------------------- */

static bool has_twins(const struct pm_gpu_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->n; i++) {
        if (pm_gpu_find(snapshot, snapshot->gpus[i].is.id) != &snapshot->gpus[i])
            return true;
    }
    return false;
}

static void get_snapshot(struct reading *in, struct pm_gpu_snapshot *snapshot)
{
    const json_t *list = json_object_get(in->object, "gpus");
    struct reading each = {NULL, "gpu", in->err, POOLMGR_OK};
    size_t n_left = PM_GPU_PROCESSES_MAX;
    int64_t cuda = 0;

    snapshot->node = (enum pm_node_state)get_word(in, "node", node_word, PM_NODE_STATE_COUNT);
    get_text(in, "text", snapshot->text, sizeof(snapshot->text));
    get_text(in, "driver", snapshot->driver, sizeof(snapshot->driver));
    get_number(in, "cuda", 0, INT_MAX, &cuda);
    snapshot->cuda_version = (int)cuda;
    if (!json_is_array(list) || json_array_size(list) > PM_GPUS_MAX) {
        wrong(in, "gpus");
        return;
    }

    snapshot->n = json_array_size(list);
    snapshot->gpus = pm_xalloc((snapshot->n + 1) * sizeof(snapshot->gpus[0]));
    for (size_t i = 0; i < snapshot->n; i++) {
        each.object = json_array_get(list, i);
        get_gpu(&each, &snapshot->gpus[i], &n_left);
    }
    if (in->r == POOLMGR_OK)
        in->r = each.r;
    if (in->r == POOLMGR_OK && has_twins(snapshot))
        wrong(in, "gpus");
}

static void get_event(struct reading *in, struct pm_gpu_event *event)
{
    event->kind = (enum pm_gpu_event_kind)get_word(in, "what", event_word, PM_GPU_EVENT_KIND_COUNT);
    get_text(in, "id", event->id, sizeof(event->id));
    if (event->id[0] == '\0')
        wrong(in, "id");
    event->xid = get_int(in, "xid", INT_MAX);
    if (event->xid == PM_GPU_UNKNOWN)
        wrong(in, "xid");
    event->gi = get_int(in, "gi", INT_MAX);
    event->ci = get_int(in, "ci", INT_MAX);
    event->recovery = get_int(in, "recovery", INT_MAX);
}

static const char *const kind_names[] = {
    [PM_GPU_FRAME_SNAPSHOT] = "snapshot",
    [PM_GPU_FRAME_EVENT] = "event",
    [PM_GPU_FRAME_HEARTBEAT] = "heartbeat",
};

static const char *kind_word(size_t i)
{
    return kind_names[i];
}

void pm_gpu_frame_fini(struct pm_gpu_frame *frame)
{
    pm_gpu_snapshot_fini(&frame->snapshot);
    memset(frame, 0, sizeof(*frame));
}

int pm_gpu_frame_read(const char *data, size_t n, struct pm_gpu_frame *ret,
                      struct poolmgr_error *err)
{
    pm_auto(json_decref) json_t *json = NULL;
    struct pm_gpu_frame frame = {0};
    struct reading in = {NULL, "frame", err, POOLMGR_OK};

    if (n > PM_GPU_FRAME_MAX)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "a frame has more than %d bytes",
                       PM_GPU_FRAME_MAX);

    json = json_loadb(data, n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json))
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "a frame is no JSON object");

    in.object = json;
    frame.kind = (enum pm_gpu_frame_kind)get_word(&in, "kind", kind_word, PM_GPU_FRAME_KIND_COUNT);
    if (in.r == POOLMGR_OK && frame.kind == PM_GPU_FRAME_SNAPSHOT)
        get_snapshot(&in, &frame.snapshot);
    else if (frame.kind == PM_GPU_FRAME_EVENT)
        get_event(&in, &frame.event);
    if (in.r < 0) {
        pm_gpu_frame_fini(&frame);
        return in.r;
    }

    *ret = frame;
    return POOLMGR_OK;
}

int pm_gpu_frame_take(struct pm_buf *in, struct pm_gpu_frame *ret, struct poolmgr_error *err)
{
    const unsigned char *head = (const unsigned char *)in->data;
    size_t n;
    int r;

    if (in->n < PM_GPU_HEAD_BYTES)
        return 0;

    n = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (n > PM_GPU_FRAME_MAX)
        return pm_fail(err, POOLMGR_E_INVALID_REQUEST, "a frame has more than %d bytes",
                       PM_GPU_FRAME_MAX);
    if (in->n - PM_GPU_HEAD_BYTES < n)
        return 0;

    r = pm_gpu_frame_read(in->data + PM_GPU_HEAD_BYTES, n, ret, err);
    pm_buf_consume(in, PM_GPU_HEAD_BYTES + n);
    return r < 0 ? r : 1;
}
