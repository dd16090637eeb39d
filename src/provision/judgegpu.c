/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs: is there one, does its driver work, may we use it, is the driver new enough. What stands first in the way is
 * told and not what follows from it: of a GPU that nouveau holds nobody needs to read that it has no nodes either.
 */
#include <stdio.h>
#include <string.h>

#include "provision/judge.h"
#include "util/cleanup.h"
#include "util/str.h"

/* Hardware is there, or whoever was asked knew of a driver. */
static bool has_nvidia(const struct pm_driver_facts *driver)
{
    return driver->hardware.n[PM_VENDOR_NVIDIA] > 0 || driver->windows ||
           (driver->asked != PM_ASKED_NOBODY &&
            (driver->asked != PM_ASKED_ANSWERED || driver->snapshot.node != PM_NODE_NONE));
}

static unsigned n_of_others(const struct pm_driver_facts *driver)
{
    return driver->hardware.n[PM_VENDOR_AMD] + driver->hardware.n[PM_VENDOR_INTEL];
}

/* Whole ones: of the bus where it can be seen, else of the driver. */
static unsigned n_nvidia(const struct pm_driver_facts *driver)
{
    unsigned n = 0;

    for (size_t i = 0; i < driver->snapshot.n; i++)
        n += driver->snapshot.gpus[i].is.slot < 0;
    return driver->hardware.n[PM_VENDOR_NVIDIA] > n ? driver->hardware.n[PM_VENDOR_NVIDIA] : n;
}

static void judge_hardware(struct pm_judging *j)
{
    const struct pm_driver_facts *driver = &j->facts->driver;
    unsigned n = n_nvidia(driver), n_others = n_of_others(driver);
    char value[16], others[64] = "";

    (void)snprintf(value, sizeof(value), "%u", n + n_others);
    if (n_others > 0)
        (void)snprintf(others, sizeof(others), "%s%u of AMD or Intel, which %s not managed yet",
                       n > 0 ? ", and " : "", n_others, n_others == 1 ? "is" : "are");
    if (j->needs->wants_gpu && !has_nvidia(driver))
        (void)pm_judge_say(j, PM_CHECK_GPU, PM_FOUND_GPU_MISSING, NULL, value,
                           "pools want a GPU of NVIDIA, and there is none%s%s",
                           n_others > 0 ? "; " : "", others);
    else if (n > 0)
        (void)pm_judge_say(j, PM_CHECK_GPU, PM_FOUND_NOTHING, NULL, value, "%u of NVIDIA%s", n,
                           others);
    else if (n_others > 0 || !has_nvidia(driver))
        (void)pm_judge_say(j, PM_CHECK_GPU, PM_FOUND_NOTHING, NULL, value, "%s",
                           n_others > 0 ? others : "none: pools run on the CPU");
    else /* and none of them is a reason for the CPU (LOAD-5) */
        (void)pm_judge_say(j, PM_CHECK_GPU, PM_FOUND_NOTHING, NULL, value,
                           "none that a driver tells of");
}

/* ---- the driver ------------------------------------------------------------------------------------- */

static const char *driver_version(const struct pm_driver_facts *driver)
{
    return driver->snapshot.driver[0] ? driver->snapshot.driver : driver->module_version;
}

/* No module: what is missing for one? */
static void judge_unloaded(struct pm_judging *j)
{
    const struct pm_driver_facts *driver = &j->facts->driver;
    bool has_library = driver->asked == PM_ASKED_ANSWERED &&
                       driver->snapshot.node != PM_NODE_NO_LIBRARY &&
                       driver->snapshot.node != PM_NODE_NONE;

    if (driver->nouveau)
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_NOUVEAU_LOADED, NULL, "nouveau",
                           "nouveau drives the GPU, and CUDA needs NVIDIA's driver");
    else if (has_library)
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_NOT_LOADED, NULL, NULL,
                           "the module nvidia is not loaded");
    else if (driver->asked == PM_ASKED_SILENT) /* its library is there, and hangs */
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_SILENT, NULL, NULL,
                           "pool-probe had no answer of the driver in time");
    else
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_MISSING, NULL, NULL,
                           "there is a GPU of NVIDIA and no driver of it");
}

static void judge_mismatch(struct pm_judging *j)
{
    const struct pm_driver_facts *driver = &j->facts->driver;

    (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_MISMATCH, NULL, driver_version(driver),
                       "the module is of %s, the library of %s",
                       driver->module_version[0] ? driver->module_version : "another version",
                       driver->snapshot.driver[0] ? driver->snapshot.driver : "another");
}

static void judge_loaded(struct pm_judging *j)
{
    const struct pm_driver_facts *driver = &j->facts->driver;
    const struct pm_gpu_snapshot *snapshot = &driver->snapshot;
    unsigned cuda = snapshot->cuda_version > 0 ? (unsigned)snapshot->cuda_version : 0;

    if (driver->module_version[0] && snapshot->driver[0] &&
        strcmp(driver->module_version, snapshot->driver) != 0)
        judge_mismatch(j);
    else if (cuda > 0)
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_NOTHING, NULL, driver_version(driver),
                           "driver %s, for CUDA up to %u.%u", driver_version(driver), cuda / 1000,
                           cuda % 1000 / 10);
    else
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_NOTHING, NULL, driver_version(driver),
                           "driver %s", driver_version(driver));
}

static void judge_answer(struct pm_judging *j)
{
    const struct pm_gpu_snapshot *snapshot = &j->facts->driver.snapshot;
    const char *version = driver_version(&j->facts->driver);
    const char *text = snapshot->text;

    switch (snapshot->node) {
    case PM_NODE_OK: judge_loaded(j); break;
    case PM_NODE_NONE:
    case PM_NODE_NO_LIBRARY:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_LIBRARY_MISSING, NULL, version,
                           "the module is loaded, and libnvidia-ml.so.1 is not there%s%s",
                           text[0] ? ": " : "", text);
        break;
    case PM_NODE_STUB_LIBRARY:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_LIBRARY_STUB, NULL, version,
                           "libnvidia-ml.so.1 is a stub to link with%s%s", text[0] ? ": " : "",
                           text);
        break;
    case PM_NODE_NO_DRIVER:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_NOT_LOADED, NULL, version,
                           "the driver does not answer as one%s%s", text[0] ? ": " : "", text);
        break;
    case PM_NODE_MISMATCH: judge_mismatch(j); break;
    case PM_NODE_BLOCKED:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_BLOCKED, NULL, version,
                           "the system keeps the GPUs from us%s%s", text[0] ? ": " : "", text);
        break;
    case PM_NODE_UNRESPONSIVE:
    case PM_NODE_STATE_COUNT:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_SILENT, NULL, version,
                           "the driver does not answer%s%s", text[0] ? ": " : "", text);
        break;
    }
}

/* No module is loaded, and nobody says that another driver is there. */
static bool is_unloaded(const struct pm_driver_facts *driver)
{
    enum pm_node_state node = driver->snapshot.node;

    if (driver->nvidia || driver->windows)
        return false;
    return driver->asked != PM_ASKED_ANSWERED || node == PM_NODE_NONE ||
           node == PM_NODE_NO_LIBRARY || node == PM_NODE_NO_DRIVER;
}

static void judge_driver(struct pm_judging *j)
{
    const struct pm_driver_facts *driver = &j->facts->driver;
    const char *version = driver->module_version;

    if (is_unloaded(driver)) {
        judge_unloaded(j);
        return;
    }
    switch (driver->asked) {
    case PM_ASKED_NOBODY:
    case PM_ASKED_MISSING:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_PROBE_MISSING, NULL, version,
                           "pool-probe is not there: what the driver says of its GPUs is unknown");
        break;
    case PM_ASKED_SILENT:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_DRIVER_SILENT, NULL, version,
                           "pool-probe had no answer of the driver in time");
        break;
    case PM_ASKED_FAILED:
        (void)pm_judge_say(j, PM_CHECK_DRIVER, PM_FOUND_PROBE_FAILED, NULL, version,
                           "pool-probe gave no answer: %s", driver->asked_text);
        break;
    case PM_ASKED_ANSWERED: judge_answer(j); break;
    }
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

static void judge_nodes(struct pm_judging *j)
{
    const struct pm_driver_facts *driver = &j->facts->driver;
    unsigned n = n_nvidia(driver);
    pm_auto_free char *group = NULL;
    char value[32];

    if (!driver->nvidia || driver->windows)
        return;

    (void)snprintf(value, sizeof(value), "%u of %u", driver->n_nodes, n);
    if (!driver->has_control_node || driver->n_nodes == 0) {
        (void)pm_judge_say(j, PM_CHECK_DEVICE_NODES, PM_FOUND_NODES_MISSING, NULL, value,
                           "/dev has %s",
                           driver->has_control_node ? "no node of a GPU" : "no /dev/nvidiactl");
    } else if (driver->denied[0]) {
        group = pm_xasprintf("%s %s", driver->denied_group, j->facts->user.name);
        (void)pm_judge_say(j, PM_CHECK_DEVICE_NODES, PM_FOUND_NODES_DENIED, group, value,
                           "%s may not open %s, which is of the group %s", j->facts->user.name,
                           driver->denied, driver->denied_group);
    } else if (!driver->has_uvm_node && !driver->has_modprobe) {
        (void)pm_judge_say(j, PM_CHECK_DEVICE_NODES, PM_FOUND_UVM_MISSING, NULL, value,
                           "/dev/nvidia-uvm is not there, and no nvidia-modprobe makes it");
    } else {
        (void)pm_judge_say(j, PM_CHECK_DEVICE_NODES, PM_FOUND_NOTHING, NULL, value, "%s",
                           driver->n_nodes < n ? "the others are not given to us"
                                               : "each GPU has a node that we may open");
    }
}

/* ---- devices ---------------------------------------------------------------------------------------- */

static const struct {
    enum pm_device_state state;
    enum pm_finding finding;
} states[] = {
    {PM_DEVICE_UNKNOWN, PM_FOUND_DEVICE_UNKNOWN},
    {PM_DEVICE_DENIED, PM_FOUND_DEVICE_DENIED},
    {PM_DEVICE_MISMATCH, PM_FOUND_DEVICE_BLOCKED},
    {PM_DEVICE_BLOCKED, PM_FOUND_DEVICE_BLOCKED},
    {PM_DEVICE_RESET_REQUIRED, PM_FOUND_DEVICE_RESET_REQUIRED},
    {PM_DEVICE_LOST, PM_FOUND_DEVICE_LOST},
};

static enum pm_finding finding_of(const struct pm_gpu_seen *gpu)
{
    if (gpu->mig_pending && (gpu->state == PM_DEVICE_OK || gpu->state == PM_DEVICE_UNKNOWN))
        return PM_FOUND_MIG_PENDING; /* why nothing is known of it */
    for (size_t i = 0; i < PM_ARRAY_LEN(states); i++) {
        if (states[i].state == gpu->state)
            return states[i].finding;
    }
    if (gpu->is.prohibited)
        return PM_FOUND_COMPUTE_PROHIBITED;
    return gpu->remap_pending == 1 ? PM_FOUND_REMAP_PENDING : PM_FOUND_NOTHING;
}

static void judge_device(struct pm_judging *j, const struct pm_gpu_seen *gpu)
{
    enum pm_finding finding = finding_of(gpu);
    char total[32], free_text[32], memory[96] = "", index[16];

    (void)snprintf(index, sizeof(index), "%u", gpu->is.index);
    (void)pm_format_bytes(total, sizeof(total), gpu->total_bytes);
    (void)pm_format_bytes(free_text, sizeof(free_text), gpu->free_bytes);
    if (gpu->free_known && gpu->total_bytes > 0)
        (void)snprintf(memory, sizeof(memory), ", %s of %s free", free_text, total);
    if (finding == PM_FOUND_NOTHING)
        (void)pm_judge_say(j, PM_CHECK_DEVICE, finding, NULL, gpu->is.id, "GPU %u%s, %s%s%s",
                           gpu->is.index, gpu->is.slot >= 0 ? ", an instance of it" : "",
                           gpu->name[0] ? gpu->name : "without a name", memory,
                           gpu->is.mig_mode ? ", in MIG mode: its instances are used" : "");
    else
        (void)pm_judge_say(j, PM_CHECK_DEVICE, finding, index, gpu->is.id, "GPU %u, %s: %s",
                           gpu->is.index, gpu->name[0] ? gpu->name : "without a name",
                           gpu->text[0] ? gpu->text : pm_findings[finding].when);
}

static void judge_devices(struct pm_judging *j)
{
    const struct pm_gpu_snapshot *snapshot = &j->facts->driver.snapshot;

    for (size_t i = 0; i < snapshot->n; i++)
        judge_device(j, &snapshot->gpus[i]);
}

/* In a container its socket is the host's, and not to be seen. */
static void judge_persistence(struct pm_judging *j)
{
    const struct pm_driver_facts *driver = &j->facts->driver;

    if (driver->snapshot.n == 0 || driver->windows || j->facts->container.kind[0])
        return;
    if (driver->persistenced)
        (void)pm_judge_say(j, PM_CHECK_PERSISTENCE, PM_FOUND_NOTHING, NULL, "on",
                           "nvidia-persistenced keeps the driver's state");
    else
        (void)pm_judge_say(j, PM_CHECK_PERSISTENCE, PM_FOUND_PERSISTENCE_OFF, NULL, "off",
                           "nvidia-persistenced does not run: with no engine up the driver may "
                           "forget the GPU, and the next start waits for it");
}

/* ---- what is built for CUDA ------------------------------------------------------------------------- */

struct built {
    const char *what;
    unsigned major, minor;
    bool minor_known;
};

static void judge_built(struct pm_judging *j, const struct built *built)
{
    const char *driver = driver_version(&j->facts->driver);
    const char *least = pm_cuda_least_driver(built->major);
    const char *own = built->minor_known ? pm_cuda_own_driver(built->major, built->minor) : NULL;
    char cuda[24];

    if (built->minor_known)
        (void)snprintf(cuda, sizeof(cuda), "%u.%u", built->major, built->minor);
    else
        (void)snprintf(cuda, sizeof(cuda), "%u", built->major);
    if (!driver[0] || !least)
        (void)pm_judge_say(j, PM_CHECK_CUDA, PM_FOUND_NOTHING, NULL, cuda,
                           "%s is built for CUDA %s; %s", built->what, cuda,
                           least ? "the driver's version is not known"
                                 : "which driver that needs is not known");
    else if (pm_version_compare(driver, least) < 0)
        (void)pm_judge_say(j, PM_CHECK_CUDA, PM_FOUND_DRIVER_OLD, least, cuda,
                           "driver %s is older than CUDA %s of %s needs (%s)", driver, cuda,
                           built->what, least);
    else if (own && pm_version_compare(driver, own) < 0)
        (void)pm_judge_say(j, PM_CHECK_CUDA, PM_FOUND_DRIVER_BEHIND, own, cuda,
                           "driver %s is older than the one of CUDA %s (%s): code that %s compiles "
                           "at its start does not run",
                           driver, cuda, own, built->what);
    else
        (void)pm_judge_say(j, PM_CHECK_CUDA, PM_FOUND_NOTHING, NULL, cuda,
                           "%s is built for CUDA %s, and driver %s is new enough (%s)", built->what,
                           cuda, driver, own ? own : least);
}

static void judge_cuda(struct pm_judging *j)
{
    const struct pm_facts *facts = j->facts;

    for (size_t i = 0; i < facts->n_engines; i++) {
        const struct pm_engine_facts *engine = &facts->engines[i];
        pm_auto_free char *what = pm_xasprintf("engine '%s'", engine->name);
        struct built built = {what, engine->cuda_major, engine->cuda_minor,
                              engine->cuda_minor_known};

        if (engine->cuda_major > 0)
            judge_built(j, &built);
    }
    if ((j->needs->modes & PM_MODE_BIT(PM_MODE_SOURCE)) && facts->toolkit_major > 0) {
        struct built built = {"what the CUDA toolkit builds", facts->toolkit_major,
                              facts->toolkit_minor, true};

        judge_built(j, &built);
    }
}

void pm_judge_gpu(struct pm_judging *j)
{
    judge_hardware(j);
    if (!has_nvidia(&j->facts->driver))
        return;
    judge_driver(j);
    judge_nodes(j);
    judge_devices(j);
    judge_persistence(j);
    judge_cuda(j);
}
