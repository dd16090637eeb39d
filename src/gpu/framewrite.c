/* SPDX-License-Identifier: Apache-2.0 */
/* What is unknown is not written. pool-probe needs no library for this. */
#include <inttypes.h>
#include <string.h>

#include "gpu/frame.h"
#include "gpu/gpu.h"
#include "util/jsontext.h"

static void put_text(struct pm_buf *out, const char *name, const char *text)
{
    pm_buf_addf(out, ",\"%s\":", name);
    pm_json_quote(out, text, strlen(text));
}

static void put_number(struct pm_buf *out, const char *name, int64_t number)
{
    if (number != PM_GPU_UNKNOWN)
        pm_buf_addf(out, ",\"%s\":%" PRId64, name, number);
}

static void put_bytes(struct pm_buf *out, const char *name, uint64_t bytes)
{
    pm_buf_addf(out, ",\"%s\":%" PRIu64, name, bytes < INT64_MAX ? bytes : (uint64_t)INT64_MAX);
}

static void put_true(struct pm_buf *out, const char *name, bool is)
{
    if (is)
        pm_buf_addf(out, ",\"%s\":true", name);
}

static void put_processes(struct pm_buf *out, const struct pm_gpu_seen *gpu)
{
    pm_buf_adds(out, ",\"processes\":[");
    for (size_t i = 0; i < gpu->n_processes; i++) {
        const struct pm_gpu_process *process = &gpu->processes[i];

        pm_buf_addf(out, "%s{\"pid\":%d", i > 0 ? "," : "", process->pid);
        if (process->bytes_known)
            put_bytes(out, "bytes", process->bytes);
        pm_buf_adds(out, "}");
    }
    pm_buf_adds(out, "]");
}

static void put_identity(struct pm_buf *out, const struct pm_gpu *is)
{
    pm_buf_adds(out, "{\"id\":");
    pm_json_quote(out, is->id, strlen(is->id));
    put_text(out, "vendor", pm_vendor_name(is->vendor));
    put_number(out, "index", is->index);
    put_number(out, "slot", is->slot);
    put_number(out, "gi", is->gi);
    put_number(out, "ci", is->ci);
    put_text(out, "pci", is->pci);
    put_true(out, "mig_mode", is->mig_mode);
    put_true(out, "hidden", is->hidden);
    put_true(out, "unhealthy", is->unhealthy);
    put_true(out, "prohibited", is->prohibited);
}

static void put_gpu(struct pm_buf *out, const struct pm_gpu_seen *gpu)
{
    put_identity(out, &gpu->is);
    put_text(out, "name", gpu->name);
    put_text(out, "state", pm_device_state_name(gpu->state));
    put_text(out, "text", gpu->text);
    put_bytes(out, "total_bytes", gpu->total_bytes);
    if (gpu->free_known)
        put_bytes(out, "free_bytes", gpu->free_bytes);
    if (gpu->driver_bytes > 0)
        put_bytes(out, "driver_bytes", gpu->driver_bytes);
    if (gpu->cc_major > 0)
        pm_buf_addf(out, ",\"compute_capability\":[%d,%d]", gpu->cc_major, gpu->cc_minor);
    put_number(out, "compute_mode", gpu->compute_mode);
    put_true(out, "mig_pending", gpu->mig_pending);
    put_processes(out, gpu);
    put_true(out, "processes_complete", gpu->processes_complete);
    put_number(out, "temperature_c", gpu->temperature_c);
    put_number(out, "power_mw", gpu->power_mw);
    put_number(out, "utilisation_percent", gpu->utilisation_percent);
    put_number(out, "memory_percent", gpu->memory_percent);
    put_number(out, "ecc_uncorrected", gpu->n_ecc_uncorrected);
    put_number(out, "remap_pending", gpu->remap_pending);
    put_number(out, "remap_failed", gpu->remap_failed);
    put_number(out, "recovery", gpu->recovery);
    pm_buf_adds(out, "}");
}

void pm_gpu_write_snapshot(struct pm_buf *out, const struct pm_gpu_snapshot *snapshot)
{
    pm_buf_adds(out, "{\"kind\":\"snapshot\"");
    put_text(out, "node", pm_node_state_name(snapshot->node));
    put_text(out, "text", snapshot->text);
    put_text(out, "driver", snapshot->driver);
    put_number(out, "cuda", snapshot->cuda_version);
    pm_buf_adds(out, ",\"gpus\":[");
    for (size_t i = 0; i < snapshot->n; i++) {
        pm_buf_adds(out, i > 0 ? "," : "");
        put_gpu(out, &snapshot->gpus[i]);
    }
    pm_buf_adds(out, "]}");
}

void pm_gpu_write_event(struct pm_buf *out, const struct pm_gpu_event *event)
{
    pm_buf_adds(out, "{\"kind\":\"event\"");
    put_text(out, "what", pm_gpu_event_names[event->kind]);
    put_text(out, "id", event->id);
    put_number(out, "xid", event->xid);
    put_number(out, "gi", event->gi);
    put_number(out, "ci", event->ci);
    put_number(out, "recovery", event->recovery);
    pm_buf_adds(out, "}");
}

void pm_gpu_write_heartbeat(struct pm_buf *out)
{
    pm_buf_adds(out, "{\"kind\":\"heartbeat\"}");
}
