/* SPDX-License-Identifier: Apache-2.0 */
/* What can be known of NVIDIA's driver without asking it: hardware, modules, nodes and their modes. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/gatherinner.h"
#include "util/cleanup.h"
#include "util/str.h"

/* The first word of digits and points: "… Kernel Module  535.54.03  Tue Jun 6 …". */
static bool version_in(const char *text, char *to, size_t size)
{
    for (const char *word = text; *word; word += strspn(word, " \t")) {
        size_t n = strcspn(word, " \t\n");

        if (n > 3 && strspn(word, "0123456789.") == n && memchr(word, '.', n)) {
            (void)snprintf(to, size, "%.*s", (int)n, word);
            return true;
        }
        word += n;
        if (*word == '\n')
            break;
    }
    return false;
}

static void look_at_modules(const char *root, struct pm_driver_facts *ret)
{
    pm_auto_free char *text = pm_look_text(root, "/proc/driver/nvidia/version");

    ret->nouveau = pm_look_there(root, "/sys/module/nouveau");
    ret->nvidia = pm_look_there(root, "/sys/module/nvidia") || text;
    if (!pm_look_line(root, "/sys/module/nvidia/version", ret->module_version,
                      sizeof(ret->module_version)) &&
        text)
        (void)version_in(text, ret->module_version, sizeof(ret->module_version));
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

static bool look_at_node(const char *root, const char *path, struct pm_driver_facts *ret)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);
    struct stat status;

    if (stat(full, &status) < 0)
        return false;
    if (!ret->denied[0] && faccessat(AT_FDCWD, full, R_OK | W_OK, AT_EACCESS) < 0) {
        (void)pm_str_copy(ret->denied, sizeof(ret->denied), path);
        pm_look_name(root, "/etc/group", status.st_gid, ret->denied_group,
                     sizeof(ret->denied_group));
    }
    return true;
}

/* "nvidia0", and not "nvidiactl" or "nvidia-uvm". */
static bool is_gpu_node(const char *name)
{
    return pm_str_starts(name, "nvidia") && isdigit((unsigned char)name[strlen("nvidia")]);
}

static void look_at_gpu_nodes(const char *root, struct pm_driver_facts *ret)
{
    pm_auto_free char *path = pm_xasprintf("%s/dev", root);
    DIR *folder = opendir(path);
    struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        char node[sizeof("/dev/") + sizeof(entry->d_name)];

        (void)snprintf(node, sizeof(node), "/dev/%s", entry->d_name);
        if (is_gpu_node(entry->d_name) && look_at_node(root, node, ret))
            ret->n_nodes++;
    }
    if (folder)
        (void)closedir(folder);
}

void pm_look_at_driver(const struct pm_gather *gather, struct pm_driver_facts *ret)
{
    const char *root = gather->root;
    pm_auto_free char *modprobe = pm_look_program(root, gather->path, "nvidia-modprobe");

    if (!modprobe)
        modprobe = pm_look_program(root, "/usr/bin:/usr/sbin:/sbin", "nvidia-modprobe");
    pm_gpu_hardware(root, &ret->hardware);
    look_at_modules(root, ret);
    ret->windows = pm_look_there(root, "/dev/dxg");
    ret->has_control_node = look_at_node(root, "/dev/nvidiactl", ret);
    ret->has_uvm_node = look_at_node(root, "/dev/nvidia-uvm", ret);
    look_at_gpu_nodes(root, ret);
    ret->has_modprobe = modprobe != NULL;
    ret->persistenced = pm_look_there(root, "/run/nvidia-persistenced/socket");
}

char *pm_find_pool_probe(void)
{
    static const char *const beside[] = {"pool-probe", "../bin/pool-probe", "../gpu/pool-probe",
                                         "../libexec/poolmgr/pool-probe",
                                         "../lib/poolmgr/pool-probe"};
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (n <= 0)
        return NULL;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    for (size_t i = 0; i < PM_ARRAY_LEN(beside); i++) {
        pm_auto_free char *path = pm_xasprintf("%s/%s", self, beside[i]);

        if (access(path, X_OK) == 0)
            return pm_take(path);
    }
    return NULL;
}
