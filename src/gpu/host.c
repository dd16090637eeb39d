/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory: a control group limits what is below it, so all from our own up to the top are asked, and the one that
 * leaves least counts. Where a container does not see the top, its mount begins at its own group; mountinfo says so.
 *
 * Hardware: NVIDIA's is known by its class on the PCI bus, which needs no driver; AMD's and Intel's by what their
 * drivers, which are part of the kernel, say of it.
 */
#include "gpu/host.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"
#include "util/str.h"

#define TEXT_MAX (1024 * 1024)
#define V1_NO_LIMIT                                                                                \
    (UINT64_C(1) << 62)     /* what v1 shows for none is the largest number of whole pages */
#define GROUPS_MAX       64 /* one in the other */
#define NVIDIA_VENDOR    "0x10de"
#define AMD_VENDOR       "0x1002"
#define INTEL_VENDOR     "0x8086"
#define DISPLAY_CLASS    "0x0300" /* VGA */
#define DISPLAY_3D_CLASS "0x0302" /* a GPU without a screen */

static const char *root_of(const char *root)
{
    return root ? root : "";
}

/* The caller's; NULL: it cannot be read. */
static char *read_text(const char *path)
{
    char *text = NULL;

    return pm_read_file(path, TEXT_MAX, &text, NULL, NULL) < 0 ? NULL : text;
}

/* Whether the file begins with the word; blanks and line ends behind it do not count. */
static bool file_says(const char *folder, const char *name, const char *word)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", folder, name), *text = read_text(path);

    return text && pm_str_starts(text, word);
}

/* ---- memory ----------------------------------------------------------------------------------------- */

/* "Name   123 …" at the beginning of a line. */
static bool find_number(const char *text, const char *name, uint64_t *ret)
{
    size_t n = strlen(name);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == '\t'))
            return sscanf(line + n, "%" SCNu64, ret) == 1;
    }
    return false;
}

struct group_names {
    const char *limit, *used, *cache, *active;
};
static const struct group_names v1_names = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                            "total_inactive_file", "total_active_file"};
static const struct group_names v2_names = {"memory.max", "memory.current", "inactive_file",
                                            "active_file"};

static bool read_number(const char *folder, const char *name, uint64_t *ret)
{
    pm_auto_free char *path = pm_xasprintf("%s/%s", folder, name), *text = read_text(path);

    return text && sscanf(text, "%" SCNu64, ret) == 1; /* "max" is none */
}

static uint64_t left_of(const struct pm_host_memory *memory)
{
    if (memory->limit_bytes == UINT64_MAX)
        return UINT64_MAX;
    return memory->limit_used_bytes < memory->limit_bytes
               ? memory->limit_bytes - memory->limit_used_bytes
               : 0;
}

static void ask_group(const char *folder, const struct group_names *names,
                      struct pm_host_memory *memory)
{
    pm_auto_free char *path = pm_xasprintf("%s/memory.stat", folder), *stat = NULL;
    struct pm_host_memory here = {0};

    if (!read_number(folder, names->limit, &here.limit_bytes) || here.limit_bytes >= V1_NO_LIMIT ||
        !read_number(folder, names->used, &here.limit_used_bytes) ||
        left_of(&here) >= left_of(memory))
        return;

    stat = read_text(path);
    if (stat) {
        (void)find_number(stat, names->cache, &here.limit_cache_bytes);
        (void)find_number(stat, names->active, &here.limit_file_bytes);
    }
    here.limit_file_bytes += here.limit_cache_bytes;
    memory->limit_bytes = here.limit_bytes;
    memory->limit_used_bytes = here.limit_used_bytes;
    memory->limit_cache_bytes = here.limit_cache_bytes;
    memory->limit_file_bytes = here.limit_file_bytes;
}

/* The group at `path` below the mount, and all above it. */
static void ask_groups(const char *mount, const char *path, const struct group_names *names,
                       struct pm_host_memory *memory)
{
    pm_auto_free char *folder = pm_xasprintf("%s%s", mount, strcmp(path, "/") == 0 ? "" : path);

    for (int i = 0; i < GROUPS_MAX; i++) {
        char *end;

        ask_group(folder, names, memory);
        end = strrchr(folder, '/');
        if (strlen(folder) <= strlen(mount) || !end)
            return;
        *end = '\0';
    }
}

static bool lists(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = words; (at = strstr(at, word)); at += n) {
        if ((at == words || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
            return true;
    }
    return false;
}

/* Our own group in the hierarchy of memory: of v1 "4:memory:/path", of v2 "0::/path". The caller's; NULL: none. */
static char *own_group(const char *text, bool v2)
{
    pm_auto_free char *copy = pm_xstrdup(text);
    char *rest = NULL;

    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!path)
            continue;
        *path++ = '\0';
        if (v2 ? strcmp(controllers, ":") == 0 : lists(controllers + 1, "memory"))
            return pm_xstrdup(path);
    }
    return NULL;
}

/* The part of a group's path that is below the mount's own root; "/": the mount itself. */
static const char *below(const char *path, const char *mount_root)
{
    size_t n = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);

    if (strncmp(path, mount_root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return "/";
    return path[n] ? path + n : "/";
}

/* One line of mountinfo: "36 35 98:0 ROOT POINT options … - TYPE source superoptions". */
static void ask_mount(const char *root, char *line, const char *cgroups,
                      struct pm_host_memory *memory)
{
    pm_auto_free char *path = NULL, *mount = NULL;
    char mount_root[1024], point[1024], type[32], options[512];
    char *rest = strstr(line, " - ");
    bool v2;

    if (!rest || sscanf(line, "%*s %*s %*s %1023s %1023s", mount_root, point) != 2 ||
        sscanf(rest, " - %31s %*s %511s", type, options) != 2)
        return;

    v2 = strcmp(type, "cgroup2") == 0;
    if (!v2 && (strcmp(type, "cgroup") != 0 || !lists(options, "memory")))
        return;

    path = own_group(cgroups, v2);
    if (!path)
        return;
    mount = pm_xasprintf("%s%s", root, point);
    ask_groups(mount, below(path, mount_root), v2 ? &v2_names : &v1_names, memory);
}

static void ask_control_groups(const char *root, struct pm_host_memory *memory)
{
    pm_auto_free char *cgroup_path = pm_xasprintf("%s/proc/self/cgroup", root);
    pm_auto_free char *mount_path = pm_xasprintf("%s/proc/self/mountinfo", root);
    pm_auto_free char *cgroups = read_text(cgroup_path), *mounts = read_text(mount_path);
    char *rest = NULL;

    if (!cgroups || !mounts)
        return;
    for (char *line = strtok_r(mounts, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        ask_mount(root, line, cgroups, memory);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t free_of(const struct pm_host_memory *memory)
{
    struct pm_host_memory without_files = *memory;

    without_files.limit_used_bytes -= less(memory->limit_file_bytes, memory->limit_used_bytes);
    return less(memory->available_bytes, left_of(&without_files));
}

int pm_host_memory(const char *root, struct pm_host_memory *ret, struct poolmgr_error *err)
{
    pm_auto_free char *path = pm_xasprintf("%s/proc/meminfo", root_of(root)), *text = NULL;
    struct pm_host_memory memory = {.limit_bytes = UINT64_MAX};
    uint64_t total_kib, available_kib;
    int r = pm_read_file(path, TEXT_MAX, &text, NULL, err);

    if (r < 0)
        return pm_wrap(err, POOLMGR_E_INTERNAL, "the machine's memory is not known");
    if (!find_number(text, "MemTotal:", &total_kib) ||
        !find_number(text, "MemAvailable:", &available_kib) || total_kib > UINT64_MAX / 1024 ||
        available_kib > UINT64_MAX / 1024)
        return pm_fail(err, POOLMGR_E_INTERNAL, "%s does not say MemTotal and MemAvailable", path);

    memory.total_bytes = total_kib * 1024;
    memory.available_bytes = available_kib * 1024;
    ask_control_groups(root_of(root), &memory);
    memory.capacity_bytes = less(left_of(&memory), memory.available_bytes);
    memory.most_bytes = less(memory.total_bytes, memory.limit_bytes);
    memory.free_bytes = free_of(&memory);
    *ret = memory;
    return POOLMGR_OK;
}

/* ---- hardware --------------------------------------------------------------------------------------- */

/* How many entries of a folder are, by `is`. */
static unsigned count(const char *folder, bool (*is)(const char *path, const char *name))
{
    DIR *entries = opendir(folder);
    struct dirent *entry;
    unsigned n = 0;

    if (!entries)
        return 0;
    while ((entry = readdir(entries))) {
        pm_auto_free char *path = pm_xasprintf("%s/%s", folder, entry->d_name);

        n += entry->d_name[0] != '.' && is(path, entry->d_name);
    }
    (void)closedir(entries);
    return n;
}

static bool is_nvidia(const char *path, const char *name)
{
    (void)name;
    return file_says(path, "vendor", NVIDIA_VENDOR) &&
           (file_says(path, "class", DISPLAY_CLASS) || file_says(path, "class", DISPLAY_3D_CLASS));
}

static bool is_any(const char *path, const char *name)
{
    (void)path;
    (void)name;
    return true;
}

/* "card0", and not "card0-HDMI-A-1". */
static bool is_card(const char *name)
{
    if (!pm_str_starts(name, "card") || !name[4])
        return false;
    for (name += 4; *name; name++) {
        if (!isdigit((unsigned char)*name))
            return false;
    }
    return true;
}

/* Of memory that is a part of the machine's own nobody knows a maker. */
static bool is_amd(const char *path, const char *name)
{
    pm_auto_free char *total = pm_xasprintf("%s/device/mem_info_vram_total", path);

    return is_card(name) && file_says(path, "device/vendor", AMD_VENDOR) &&
           access(total, R_OK) == 0 && !file_says(path, "device/mem_info_vram_vendor", "unknown");
}

/* What is part of the processor sits on the first bus. */
static bool is_intel(const char *path, const char *name)
{
    pm_auto_free char *uevent = pm_xasprintf("%s/device/uevent", path), *text = NULL;

    if (!is_card(name) || !file_says(path, "device/vendor", INTEL_VENDOR))
        return false;

    text = read_text(uevent);
    return text && strstr(text, "PCI_SLOT_NAME=") && !strstr(text, "PCI_SLOT_NAME=0000:00:");
}

void pm_gpu_hardware(const char *root, struct pm_gpu_hardware *ret)
{
    pm_auto_free char *pci = pm_xasprintf("%s/sys/bus/pci/devices", root_of(root));
    pm_auto_free char *drm = pm_xasprintf("%s/sys/class/drm", root_of(root));
    pm_auto_free char *driver = pm_xasprintf("%s/proc/driver/nvidia/gpus", root_of(root));
    pm_auto_free char *windows = pm_xasprintf("%s/dev/dxg", root_of(root));
    unsigned n = count(pci, is_nvidia), n_driver = count(driver, is_any);

    memset(ret, 0, sizeof(*ret));
    if (n_driver > n) /* a container may hide the bus */
        n = n_driver;
    if (n == 0 && access(windows, F_OK) == 0)
        n = 1; /* Linux inside of Windows: the bus is not ours, the library knows more */
    ret->n[PM_VENDOR_NVIDIA] = n;
    ret->n[PM_VENDOR_AMD] = count(drm, is_amd);
    ret->n[PM_VENDOR_INTEL] = count(drm, is_intel);
}
