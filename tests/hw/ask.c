/* SPDX-License-Identifier: Apache-2.0 */
/* What NVML says of itself and of every device; wrong questions too. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw.h"

int hw_symbols(int argc, char **argv)
{
    if (!hw_nvml_open())
        return 3;
    hw_nvml_symbols();
    return 0;
}

static void tell_driver(unsigned n)
{
    char version[80] = "";
    int cuda = 0, r;

    hw_begin("driver");
    r = nvml.driver ? nvml.driver(version, sizeof(version)) : 13;
    hw_number("version_code", r);
    hw_text("version", version);
    r = nvml.cuda ? nvml.cuda(&cuda) : 13;
    hw_number("cuda_code", r);
    hw_number("cuda", cuda);
    hw_number("count", n);
    hw_end();
}

/* One value that the library may refuse: `key` is told where it was given, `key_code` always. */
static void number(const char *key, int code, long long value)
{
    char name[64];

    snprintf(name, sizeof(name), "%s_code", key);
    hw_number(name, code);
    if (code == 0)
        hw_number(key, value);
}

static void tell_identity(hw_device device)
{
    struct hw_pci pci = {0};
    char text[96] = "";
    int r;

    r = nvml.uuid(device, text, sizeof(text));
    number("uuid_length", r, (long long)strlen(text));
    hw_text("uuid", text);
    text[0] = '\0';
    if (nvml.name && nvml.name(device, text, sizeof(text)) == 0)
        hw_text("name", text);
    r = nvml.pci(device, &pci);
    number("pci_domain", r, pci.domain);
    if (r)
        return;
    hw_number("pci_bus", pci.bus);
    hw_number("pci_device", pci.device);
    hw_number("pci_id", pci.id);
    hw_number("pci_subsystem", pci.subsystem);
    hw_text("pci_bus_id", pci.bus_id);
    hw_text("pci_legacy", pci.legacy);
}

static void tell_state(hw_device device)
{
    struct hw_utilisation util = {0};
    struct hw_temperature heat = {.version = HW_TEMPERATURE};
    unsigned degrees = 0, power = 0, now = 0, pending = 0, most = 0;
    unsigned long long ecc = 0;
    int major = 0, minor = 0, mode = 0, r;

    r = nvml.capability ? nvml.capability(device, &major, &minor) : 13;
    number("cc_major", r, major);
    number("cc_minor", r, minor);
    r = nvml.compute_mode ? nvml.compute_mode(device, &mode) : 13;
    number("compute_mode", r, mode);
    r = nvml.mig_mode ? nvml.mig_mode(device, &now, &pending) : 13;
    number("mig_now", r, now);
    number("mig_pending", r, pending);
    r = nvml.mig_max ? nvml.mig_max(device, &most) : 13;
    number("mig_max", r, most);
    r = nvml.utilisation ? nvml.utilisation(device, &util) : 13;
    number("busy_percent", r, util.gpu);
    number("memory_busy_percent", r, util.memory);
    r = nvml.temperature ? nvml.temperature(device, 0, &degrees) : 13;
    number("degrees", r, degrees);
    r = nvml.temperature_v ? nvml.temperature_v(device, &heat) : 13;
    number("degrees_v", r, heat.degrees);
    r = nvml.power ? nvml.power(device, &power) : 13;
    number("milliwatts", r, power);
    r = nvml.ecc ? nvml.ecc(device, 1, 1, &ecc) : 13;
    number("ecc_aggregate", r, (long long)ecc);
    r = nvml.ecc ? nvml.ecc(device, 1, 0, &ecc) : 13;
    number("ecc_volatile", r, (long long)ecc);
}

/* Both memory calls, as close together as it goes. */
static void tell_memory(unsigned index, hw_device device)
{
    struct hw_memory_v2 v2 = {.version = HW_MEMORY_V2};
    struct hw_memory v1 = {0};
    int r1 = nvml.memory(device, &v1), r2 = nvml.memory_v2 ? nvml.memory_v2(device, &v2) : 13;

    hw_begin("memory");
    hw_number("index", index);
    hw_number("v1_code", r1);
    hw_size("v1_total", v1.total);
    hw_size("v1_free", v1.free);
    hw_size("v1_used", v1.used);
    hw_number("v2_code", r2);
    hw_size("v2_total", v2.total);
    hw_size("v2_reserved", v2.reserved);
    hw_size("v2_free", v2.free);
    hw_size("v2_used", v2.used);
    hw_end();
}

static void ask_name(unsigned index, const char *how, const char *text, hw_device want,
                     int (*by)(const char *, hw_device *))
{
    hw_device found = NULL;

    if (!by)
        return;
    hw_begin("lookup");
    hw_number("index", index);
    hw_text("how", how);
    hw_text("asked", text);
    hw_number("code", by(text, &found));
    hw_number("same", found == want);
    hw_end();
}

static void ask_names(unsigned index, hw_device device)
{
    struct hw_pci pci = {0};
    char uuid[96] = "", text[96];

    if (nvml.uuid(device, uuid, sizeof(uuid)) != 0 || strlen(uuid) < 12)
        return;
    ask_name(index, "full", uuid, device, nvml.by_uuid);
    snprintf(text, sizeof(text), "%.12s", uuid);
    ask_name(index, "prefix", text, device, nvml.by_uuid);
    snprintf(text, sizeof(text), "%s", uuid + 4);
    ask_name(index, "bare", text, device, nvml.by_uuid);
    snprintf(text, sizeof(text), "%s", uuid);
    for (char *c = text + 4; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    ask_name(index, "upper", text, device, nvml.by_uuid);
    snprintf(text, sizeof(text), "%s", uuid);
    text[strlen(text) - 1] = text[strlen(text) - 1] == '0' ? '1' : '0';
    ask_name(index, "wrong", text, device, nvml.by_uuid);
    if (nvml.pci(device, &pci) == 0) {
        ask_name(index, "pci", pci.bus_id, device, nvml.by_pci);
        ask_name(index, "pci_legacy", pci.legacy, device, nvml.by_pci);
    }
}

static void ask_tags(unsigned index, hw_device device)
{
    static const uint32_t memory[] = {HW_MEMORY_V2, 0, 0x02000020, 0x01000028, 0x03000028, 40};
    static const uint32_t lists[] = {HW_LIST, 0, 0x01000010, 0x02000018};
    static const uint32_t heats[] = {HW_TEMPERATURE, 0, 0x01000008};
    char rows[64 * 32];

    for (size_t i = 0; nvml.memory_v2 && i < sizeof(memory) / sizeof(memory[0]); i++) {
        struct hw_memory_v2 v2 = {.version = memory[i]};

        hw_begin("tag");
        hw_number("index", index);
        hw_text("call", "memory_v2");
        hw_size("tag", memory[i]);
        hw_number("right", i == 0);
        hw_number("code", nvml.memory_v2(device, &v2));
        hw_end();
    }
    for (size_t i = 0; nvml.row_list && i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct hw_list list = {.version = lists[i], .count = 64, .rows = rows};

        hw_begin("tag");
        hw_number("index", index);
        hw_text("call", "row_list");
        hw_size("tag", lists[i]);
        hw_number("right", i == 0);
        hw_number("code", nvml.row_list(device, &list));
        hw_end();
    }
    for (size_t i = 0; nvml.temperature_v && i < sizeof(heats) / sizeof(heats[0]); i++) {
        struct hw_temperature heat = {.version = heats[i]};

        hw_begin("tag");
        hw_number("index", index);
        hw_text("call", "temperature_v");
        hw_size("tag", heats[i]);
        hw_number("right", i == 0);
        hw_number("code", nvml.temperature_v(device, &heat));
        hw_end();
    }
}

int hw_ask(int argc, char **argv)
{
    unsigned n = 0;

    if (!hw_nvml_start())
        return 3;
    if (nvml.count(&n) != 0)
        n = 0;
    tell_driver(n);
    for (unsigned i = 0; i < n; i++) {
        hw_device device = hw_nvml_device(i);

        if (!device)
            continue;
        hw_begin("device");
        hw_number("index", i);
        tell_identity(device);
        tell_state(device);
        hw_end();
        for (int again = 0; again < 5; again++)
            tell_memory(i, device);
        ask_names(i, device);
        ask_tags(i, device);
    }
    hw_begin("end");
    hw_end();
    return 0;
}
