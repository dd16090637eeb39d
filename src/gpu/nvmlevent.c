/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread does nothing but wait: what an event means is asked by the thread that looks, so that only one of them
 * talks with the devices. It waits long, since the driver wakes it.
 */
#include "gpu/nvmlevent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "util/str.h"

#define WAIT_MS 60000
#define WANTED                                                                                     \
    (PM_NVML_EVENT_XID | PM_NVML_EVENT_ECC | PM_NVML_EVENT_MIG | PM_NVML_EVENT_UNAVAILABLE |       \
     PM_NVML_EVENT_RECOVERY)

void pm_nvml_events_open(struct pm_nvml_events *events, const struct pm_nvml *nvml)
{
    int fds[2];

    *events = (struct pm_nvml_events){.nvml = nvml, .read_fd = -1, .write_fd = -1};
    if (!nvml->event_wait || !nvml->register_events ||
        PM_NVML_CALL(nvml, set_create, &events->set) != PM_NVML_OK || pipe2(fds, O_CLOEXEC) < 0)
        return;

    events->read_fd = fds[0];
    events->write_fd = fds[1];
    (void)fcntl(events->read_fd, F_SETFL, O_NONBLOCK);
}

static void *wait_for_ever(void *argument)
{
    const struct pm_nvml_events *events = argument;
    static const struct timespec a_second = {.tv_sec = 1};

    for (;;) {
        struct pm_nvml_event event = {.gi = PM_NVML_NONE, .ci = PM_NVML_NONE};
        int code = events->nvml->event_wait(events->set, &event, WAIT_MS);

        if (code == PM_NVML_OK) {
            while (write(events->write_fd, &event, sizeof(event)) < 0 && errno == EINTR)
                ;
        } else if (code != PM_NVML_TIMEOUT) {
            (void)nanosleep(&a_second, NULL); /* a lost GPU says so again and again */
        }
    }
    return NULL;
}

static bool watch_one(const struct pm_nvml_events *events, pm_nvml_device device)
{
    unsigned long long supported = WANTED;

    if (events->nvml->event_types && events->nvml->event_types(device, &supported) != PM_NVML_OK)
        return false;

    supported &= WANTED;
    return supported != 0 &&
           events->nvml->register_events(device, supported, events->set) == PM_NVML_OK;
}

void pm_nvml_events_watch(struct pm_nvml_events *events, struct pm_look *look)
{
    bool any = false;

    if (events->read_fd < 0)
        return;

    for (size_t i = 0; i < look->n; i++) {
        struct pm_look_gpu *gpu = &look->gpus[i];

        if (gpu->watched || gpu->code != PM_NVML_OK)
            continue;
        gpu->watched = true; /* asked once: who cannot tell now, cannot later */
        any = watch_one(events, gpu->handle) || any;
    }

    /* Behind all of them: what comes for one that is not registered yet would be lost. */
    if (any && !events->runs && pthread_create(&events->thread, NULL, wait_for_ever, events) == 0) {
        events->runs = true;
        (void)pthread_detach(events->thread);
    }
}

static const struct {
    uint64_t bit;
    enum pm_gpu_event_kind kind;
} kinds[] = {
    {PM_NVML_EVENT_XID, PM_GPU_EVENT_XID},
    {PM_NVML_EVENT_ECC, PM_GPU_EVENT_ECC},
    {PM_NVML_EVENT_MIG, PM_GPU_EVENT_MIG},
    {PM_NVML_EVENT_UNAVAILABLE, PM_GPU_EVENT_UNAVAILABLE},
    {PM_NVML_EVENT_RECOVERY, PM_GPU_EVENT_RECOVERY},
};

static int instance_of(uint32_t id)
{
    return id == PM_NVML_NONE ? PM_GPU_UNKNOWN : (int)(id & 0x7fffffff);
}

static bool translate(const struct pm_nvml_event *event, const struct pm_look *look,
                      struct pm_gpu_event *ret)
{
    const struct pm_look_gpu *gpu = NULL;
    size_t kind = 0;

    for (size_t i = 0; i < look->n && !gpu; i++)
        gpu = look->gpus[i].handle == event->device ? &look->gpus[i] : NULL;
    while (kind < PM_ARRAY_LEN(kinds) && !(event->type & kinds[kind].bit))
        kind++;
    if (!gpu || kind == PM_ARRAY_LEN(kinds))
        return false;

    *ret = (struct pm_gpu_event){
        .kind = kinds[kind].kind, .gi = instance_of(event->gi), .ci = instance_of(event->ci)};
    (void)pm_str_copy(ret->id, sizeof(ret->id), gpu->is.is.id);
    if (ret->kind == PM_GPU_EVENT_XID)
        ret->xid = (int)(event->data & 0x7fffffff);
    ret->recovery = pm_look_recovery(look, event->device);
    return true;
}

bool pm_nvml_events_take(struct pm_nvml_events *events, const struct pm_look *look,
                         struct pm_gpu_event *ret)
{
    struct pm_nvml_event event;

    /* Less than a page at once: a pipe gives it whole. */
    return events->read_fd >= 0 &&
           read(events->read_fd, &event, sizeof(event)) == (ssize_t)sizeof(event) &&
           translate(&event, look, ret);
}
