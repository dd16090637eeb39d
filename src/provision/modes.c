/* SPDX-License-Identifier: Apache-2.0 */
/* How engines and models come to a machine, which tools each way takes, and which ways a configuration goes. */
#include <string.h>

#include "provision/preflight.h"
#include "provision/start.h"
#include "util/cleanup.h"

const struct pm_mode_row pm_modes[PM_MODE_COUNT] = {
    [PM_MODE_EXTERNAL] = {"external", "engines that somebody else runs: nothing but us"},
    [PM_MODE_BINARY] = {"binary", "engines by their path, or fetched by url and sha256"},
    [PM_MODE_CONTAINER] = {"container", "engines in containers, by image: podman or docker"},
    [PM_MODE_PACKAGE] = {"package", "engines that the distribution's packages bring"},
    [PM_MODE_SOURCE] = {"source", "engines that are built here from source"},
    [PM_MODE_MODELS] = {"models", "models that are fetched: the tools of their places"},
};

bool pm_mode_by_name(const char *name, enum pm_mode *ret)
{
    for (unsigned i = 0; i < PM_MODE_COUNT; i++) {
        if (strcmp(pm_modes[i].name, name) == 0) {
            *ret = (enum pm_mode)i;
            return true;
        }
    }
    return false;
}

#define CONTAINER PM_MODE_BIT(PM_MODE_CONTAINER)
#define SOURCE    PM_MODE_BIT(PM_MODE_SOURCE)
#define MODELS    PM_MODE_BIT(PM_MODE_MODELS)

/* The general advice, and then Debian's, Fedora's and Arch's. */
#define INSTALL(other, debian, fedora, arch)                                                       \
    {                                                                                              \
        [PM_DISTRO_OTHER] = (other), [PM_DISTRO_DEBIAN] = (debian), [PM_DISTRO_FEDORA] = (fedora), \
        [PM_DISTRO_ARCH] = (arch)                                                                  \
    }

const struct pm_tool pm_tools[] = {
    {"git", "git", "fetches sources", SOURCE, 0, false, NULL,
     INSTALL("install git", "apt install git", "dnf install git", "pacman -S git")},
    {"cmake", "cmake", "plans a build", SOURCE, 0, false, NULL,
     INSTALL("install cmake", "apt install cmake", "dnf install cmake", "pacman -S cmake")},
    {"make", "make ninja", "runs a build", SOURCE, 0, false, NULL,
     INSTALL("install make", "apt install make", "dnf install make", "pacman -S make")},
    {"gcc", "gcc cc clang", "compiles C", SOURCE, 0, false, NULL,
     INSTALL("install gcc", "apt install gcc", "dnf install gcc", "pacman -S gcc")},
    {"g++", "g++ c++ clang++", "compiles C++", SOURCE, 0, false, NULL,
     INSTALL("install g++", "apt install g++", "dnf install gcc-c++", "pacman -S gcc")},
    {"pkg-config", "pkg-config pkgconf", "finds libraries", SOURCE, 0, false, NULL,
     INSTALL("install pkg-config", "apt install pkg-config", "dnf install pkgconf-pkg-config",
             "pacman -S pkgconf")},
    {"nvcc", "nvcc", "compiles for NVIDIA's GPUs", SOURCE, 0, true, NULL,
     INSTALL("install NVIDIA's CUDA toolkit", "apt install nvidia-cuda-toolkit",
             "dnf install cuda-toolkit (NVIDIA's repository)", "pacman -S cuda")},
    {"podman", "podman docker", "runs containers", CONTAINER, 0, false, NULL,
     INSTALL("install podman", "apt install podman", "dnf install podman", "pacman -S podman")},
    {"nvidia-ctk", "nvidia-ctk", "gives containers NVIDIA's GPUs", CONTAINER, 0, true, NULL,
     INSTALL("install NVIDIA's container toolkit",
             "apt install nvidia-container-toolkit (NVIDIA's repository)",
             "dnf install nvidia-container-toolkit (NVIDIA's repository)",
             "pacman -S nvidia-container-toolkit")},
    {"hf", "hf huggingface-cli", "looks around at Hugging Face", 0, MODELS, false, NULL,
     INSTALL("pipx install huggingface_hub", "apt install pipx && pipx install huggingface_hub",
             "dnf install pipx && pipx install huggingface_hub",
             "pacman -S python-huggingface-hub")},
    {"aws", "aws", "fetches models of S3", 0, MODELS, false, "s3:",
     INSTALL("install the AWS command line", "apt install awscli", "dnf install awscli2",
             "pacman -S aws-cli-v2")},
    {"oras", "oras", "fetches models of registries", 0, MODELS, false, "oci:",
     INSTALL("install oras, https://oras.land",
             "install oras, https://oras.land: Debian has no package",
             "install oras, https://oras.land: Fedora has no package", "pacman -S oras")},
};
const size_t pm_n_tools = PM_ARRAY_LEN(pm_tools);

/* ---- what a configuration needs --------------------------------------------------------------------- */

static enum pm_mode mode_of(const struct pm_engine_spec *engine)
{
    enum pm_mode mode;

    if (engine->family == PM_FAMILY_EXTERNAL)
        return PM_MODE_EXTERNAL;
    if (engine->mode && pm_mode_by_name(engine->mode, &mode))
        return mode;
    return engine->image ? PM_MODE_CONTAINER : PM_MODE_BINARY;
}

static bool tells(const struct pm_strv *args, const char *word)
{
    return pm_strv_contains(args, word);
}

static void need_model(const char *ref, struct pm_needs *ret)
{
    if (!ref || ref[0] == '/' || pm_str_starts(ref, "file:"))
        return;

    ret->modes |= PM_MODE_BIT(PM_MODE_MODELS);
    ret->fetches = true;
    for (size_t i = 0; i < pm_n_tools; i++) {
        if (pm_tools[i].scheme && pm_str_starts(ref, pm_tools[i].scheme))
            ret->tools |= 1u << i;
    }
}

static void need_pool(const struct pm_config *config, const struct pm_pool_spec *pool,
                      struct pm_needs *ret)
{
    const struct pm_engine_spec *engine = pool->runs;

    if (!engine || engine->family == PM_FAMILY_EXTERNAL)
        return;

    if (pm_pool_where(pool) == PM_WHERE_GPU)
        ret->wants_gpu = true;
    if (engine->url || engine->image)
        ret->fetches = true;
    if (tells(&engine->args, "--mlock") || tells(&pool->args, "--mlock"))
        ret->locks_memory = true;
    ret->n_threads += pool->n_replicas * (pool->n_slots + PM_ENGINE_THREADS);
    ret->log_bytes += pool->n_replicas * config->engine_log.n_files * config->engine_log.max_bytes;
    need_model(pool->model.main, ret);
    need_model(pool->model.mmproj, ret);
    need_model(pool->model.draft, ret);
}

/* RUN/instances/<pool>.<n>/engine.sock, with an n of as many digits as the configuration's own check allows for. */
static size_t longest_socket(const struct pm_config *config)
{
    size_t longest = strlen(config->runtime_dir) + strlen("/control.sock");

    for (size_t i = 0; i < config->n_pools; i++) {
        size_t n = strlen(config->runtime_dir) + strlen("/instances/") +
                   strlen(config->pools[i]->id) + strlen(".1234567890/engine.sock");

        longest = n > longest ? n : longest;
    }
    return longest;
}

void pm_needs_of(const struct pm_config *config, enum pm_mode mode, struct pm_needs *ret)
{
    *ret = (struct pm_needs){
        .wants_gpu = config->gpu_only,
        .engines = true,
        .n_connections = config->limits.connections,
        .core_dumps = config->core_dumps,
        .socket_path_n = longest_socket(config),
    };

    for (size_t i = 0; i < config->n_pools; i++) {
        if (config->pools[i]->runs)
            ret->modes |= PM_MODE_BIT(mode_of(config->pools[i]->runs));
        need_pool(config, config->pools[i], ret);
    }
    for (size_t i = 0; config->n_pools == 0 && i < config->n_engines; i++)
        ret->modes |= PM_MODE_BIT(mode_of(config->engines[i]));
    if (mode == PM_MODE_COUNT)
        return;

    ret->modes = PM_MODE_BIT(mode);
    ret->engines = mode == PM_MODE_BINARY || mode == PM_MODE_PACKAGE;
    if (mode == PM_MODE_CONTAINER || mode == PM_MODE_SOURCE || mode == PM_MODE_MODELS)
        ret->fetches = true;
}
