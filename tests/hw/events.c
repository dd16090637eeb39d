/* SPDX-License-Identifier: Apache-2.0 */
/* Events, how exactly their wait waits, MIG, NVLink and the way between GPUs: asked once. */
#include <stdlib.h>

#include "hw.h"

static void tell_waits(hw_device device)
{
    static const unsigned waits[] = {0, 1, 10, 100, 500};
    unsigned long long mask = 0, wanted = 0xc10a;
    void *set = NULL;
    int r = nvml.event_types ? nvml.event_types(device, &mask) : 13;

    hw_begin("event_types");
    hw_number("code", r);
    hw_size("mask", mask);
    hw_end();
    if (r || !nvml.set_create || !nvml.event_register || !nvml.event_wait || !nvml.set_free)
        return;
    r = nvml.set_create(&set);
    hw_begin("register");
    hw_number("create_code", r);
    if (r == 0) {
        hw_size("asked", mask & wanted);
        hw_number("code", nvml.event_register(device, mask & wanted, set));
        if (~mask & wanted) /* what is not supported is refused */
            hw_number("unsupported_code", nvml.event_register(device, ~mask & wanted, set));
    }
    hw_end();
    for (size_t i = 0; r == 0 && i < sizeof(waits) / sizeof(waits[0]); i++) {
        struct hw_event event = {0};
        uint64_t begun = hw_now_ns();
        int code = nvml.event_wait(set, &event, waits[i]);

        hw_begin("wait");
        hw_number("asked_ms", waits[i]);
        hw_number("code", code);
        hw_real("took_ms", (double)(hw_now_ns() - begun) / 1e6);
        hw_end();
    }
    if (r == 0)
        (void)nvml.set_free(set);
}

static void tell_slot(hw_device device, unsigned slot)
{
    struct hw_attributes attributes = {0};
    struct hw_memory memory = {0};
    hw_device child = NULL;
    char uuid[96] = "";
    unsigned gi = 0, ci = 0;
    int r = nvml.mig_by_index(device, slot, &child);

    hw_begin("mig_slot");
    hw_number("slot", slot);
    hw_number("code", r);
    if (r == 0) {
        (void)nvml.uuid(child, uuid, sizeof(uuid));
        hw_text("uuid", uuid);
        hw_number("gi_code", nvml.gi ? nvml.gi(child, &gi) : 13);
        hw_number("gi", gi);
        hw_number("ci_code", nvml.ci ? nvml.ci(child, &ci) : 13);
        hw_number("ci", ci);
        hw_number("attributes_code", nvml.attributes ? nvml.attributes(child, &attributes) : 13);
        hw_size("memory_mb", attributes.memory_mb);
        hw_number("memory_code", nvml.memory(child, &memory));
        hw_size("total", memory.total);
        hw_size("free", memory.free);
    }
    hw_end();
}

static void tell_mig(hw_device device)
{
    unsigned now = 0, pending = 0, most = 0;
    int mode = nvml.mig_mode ? nvml.mig_mode(device, &now, &pending) : 13;
    int slots = nvml.mig_max ? nvml.mig_max(device, &most) : 13;

    hw_begin("mig");
    hw_number("mode_code", mode);
    hw_number("now", now);
    hw_number("pending", pending);
    hw_number("max_code", slots);
    hw_number("max", most);
    hw_end();
    for (unsigned slot = 0; slots == 0 && nvml.mig_by_index && slot < most && slot < 16; slot++)
        tell_slot(device, slot);
}

static void tell_links(hw_device device)
{
    for (unsigned link = 0; nvml.link && link < 18; link++) {
        int state = -1, r = nvml.link(device, link, &state);

        hw_begin("nvlink");
        hw_number("link", link);
        hw_number("code", r);
        hw_number("state", state);
        hw_end();
    }
}

static void tell_ways(hw_device device, unsigned index)
{
    unsigned n = 0;

    if (!nvml.ancestor || nvml.count(&n) != 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        hw_device other = NULL;
        int level = -1, r;

        if (nvml.by_index(i, &other) != 0)
            continue;
        r = nvml.ancestor(device, other, &level);
        hw_begin("way");
        hw_number("from", index);
        hw_number("to", i);
        hw_number("code", r);
        hw_number("level", level);
        hw_end();
    }
}

/* events INDEX */
int hw_events(int argc, char **argv)
{
    unsigned index = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    hw_device device;

    if (!hw_nvml_start())
        return 3;
    device = hw_nvml_device(index);
    if (!device)
        return 3;
    tell_waits(device);
    tell_mig(device);
    tell_links(device);
    tell_ways(device, index);
    hw_begin("end");
    hw_end();
    return 0;
}
