/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what pool-probe says, taken frame by frame, and as one frame's JSON: refused with a reason, or within all
 * limits, and written again it is read as the same.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gpu/gpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_frame(struct pm_buf *out, const struct pm_gpu_frame *frame)
{
    if (frame->kind == PM_GPU_FRAME_SNAPSHOT)
        pm_gpu_write_snapshot(out, &frame->snapshot);
    else if (frame->kind == PM_GPU_FRAME_EVENT)
        pm_gpu_write_event(out, &frame->event);
    else
        pm_gpu_write_heartbeat(out);
}

static void check_limits(const struct pm_gpu_snapshot *snapshot)
{
    size_t n_processes = 0;

    assert(snapshot->node < PM_NODE_STATE_COUNT && snapshot->n <= PM_GPUS_MAX);
    assert(strlen(snapshot->text) <= PM_GPU_TEXT_MAX);
    for (size_t i = 0; i < snapshot->n; i++) {
        const struct pm_gpu_seen *gpu = &snapshot->gpus[i];

        n_processes += gpu->n_processes;
        assert(gpu->is.vendor < PM_VENDOR_COUNT && gpu->state < PM_DEVICE_STATE_COUNT);
        assert(gpu->is.id[0] != '\0' && pm_gpu_find(snapshot, gpu->is.id) == gpu);
    }
    assert(n_processes <= PM_GPU_PROCESSES_MAX);
}

static void check(const struct pm_gpu_frame *frame)
{
    struct pm_buf once = {0}, twice = {0};
    struct pm_gpu_frame again;

    check_limits(&frame->snapshot);
    write_frame(&once, frame);
    if (once.n <= PM_GPU_FRAME_MAX) { /* escaped it may be larger */
        assert(pm_gpu_frame_read(once.data, once.n, &again, NULL) == POOLMGR_OK);
        assert(again.kind == frame->kind);
        assert(pm_gpu_snapshot_same(&again.snapshot, &frame->snapshot));
        write_frame(&twice, &again);
        assert(once.n == twice.n && memcmp(once.data, twice.data, once.n) == 0);
        pm_gpu_frame_fini(&again);
    }
    pm_buf_fini(&once);
    pm_buf_fini(&twice);
}

static void as_stream(const uint8_t *data, size_t size)
{
    struct poolmgr_error err = {0};
    struct pm_buf in = {0};
    struct pm_gpu_frame frame;
    size_t at = 0;
    int r = 0;

    while (at < size && r >= 0) { /* in pieces, as a socket gives them */
        size_t n = 1 + data[at] % 97;

        n = n < size - at ? n : size - at;
        pm_buf_add(&in, data + at, n);
        at += n;
        while ((r = pm_gpu_frame_take(&in, &frame, &err)) == 1) {
            check(&frame);
            pm_gpu_frame_fini(&frame);
        }
    }
    if (r < 0)
        assert(err.code == POOLMGR_E_INVALID_REQUEST && err.message[0] != '\0');
    pm_buf_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct poolmgr_error err = {0};
    struct pm_gpu_frame frame;

    as_stream(data, size);
    if (pm_gpu_frame_read((const char *)data, size, &frame, &err) < 0) {
        assert(err.code == POOLMGR_E_INVALID_REQUEST && err.message[0] != '\0');
        return 0;
    }
    check(&frame);
    pm_gpu_frame_fini(&frame);
    return 0;
}
