/* SPDX-License-Identifier: Apache-2.0 */
/* Tools, the programs of engines, and which CUDA these were linked with. Programs are looked at, and not run. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "provision/elf.h"
#include "provision/gatherinner.h"
#include "provision/preflight.h"
#include "util/cleanup.h"
#include "util/str.h"

/* ---- CUDA ------------------------------------------------------------------------------------------- */

static bool read_file_at(void *ctx, uint64_t offset, void *to, size_t n)
{
    ssize_t got;

    if (offset > INT64_MAX)
        return false;
    do {
        got = pread(*(const int *)ctx, to, n, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)n;
}

static void needed_of(const char *root, const char *path, struct pm_strv *ret)
{
    pm_auto_free char *full = pm_xasprintf("%s%s", root, path);
    pm_auto_close int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct pm_elf_source source = {.read = read_file_at, .ctx = &fd};

    if (fd >= 0)
        (void)pm_elf_needed(&source, ret);
}

/* libcudart.so.12 is mostly a link to libcudart.so.12.8.90. */
static bool minor_of(const char *root, const char *folder, const char *library, unsigned *ret)
{
    pm_auto_free char *path = pm_xasprintf("%s%s/%s", root, folder, library);
    char target[256];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    const char *rest;

    if (n <= 0)
        return false;
    target[n] = '\0';
    rest = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
    return sscanf(rest, "libcudart.so.%*u.%u", ret) == 1;
}

/* Of one name: libcudart.so.12, or libcublas.so.12 of programs that have the runtime inside. */
static bool take_needed(const char *root, const char *beside, const char *name,
                        struct pm_engine_facts *ret)
{
    const char *folders[] = {beside, "/usr/local/cuda/lib64", "/opt/cuda/lib64",
                             "/usr/lib/x86_64-linux-gnu", "/usr/lib64"};
    unsigned major;

    if (sscanf(name, "libcudart.so.%u", &major) != 1 &&
        sscanf(name, "libcublas.so.%u", &major) != 1)
        return false;

    ret->cuda_major = major;
    for (size_t i = 0; i < PM_ARRAY_LEN(folders) && !ret->cuda_minor_known; i++)
        ret->cuda_minor_known = minor_of(root, folders[i], name, &ret->cuda_minor);
    return true;
}

static bool look_into(const char *root, const char *beside, const char *path,
                      struct pm_engine_facts *ret)
{
    struct pm_strv needed = {0};
    bool found = false;

    needed_of(root, path, &needed);
    for (size_t i = 0; i < needed.n && !found; i++)
        found = take_needed(root, beside, needed.items[i], ret);
    pm_strv_fini(&needed);
    return found;
}

bool pm_look_cuda(const char *root, const char *program, struct pm_engine_facts *ret)
{
    static const char *const beside[] = {"libggml-cuda.so", "../lib/libggml-cuda.so",
                                         "../lib64/libggml-cuda.so"};
    static const char *const installed[] = {
        "/usr/lib/x86_64-linux-gnu/ggml/backends0/libggml-cuda.so", "/usr/lib/libggml-cuda.so"};
    int n = (int)(strrchr(program, '/') ? strrchr(program, '/') - program : 0);
    pm_auto_free char *folder = pm_xstrndup(program, (size_t)n);

    if (look_into(root, folder, program, ret))
        return true;
    for (size_t i = 0; i < PM_ARRAY_LEN(beside); i++) {
        pm_auto_free char *path = pm_xasprintf("%s/%s", folder, beside[i]);

        if (look_into(root, folder, path, ret))
            return true;
    }
    for (size_t i = 0; i < PM_ARRAY_LEN(installed) && pm_str_starts(program, "/usr/bin/"); i++) {
        if (look_into(root, folder, installed[i], ret))
            return true;
    }
    return false;
}

/* "#define CUDA_VERSION 12080" */
static bool toolkit_in(const char *root, const char *header, struct pm_facts *facts)
{
    pm_auto_free char *text = pm_look_text(root, header);
    const char *line = text ? strstr(text, "#define CUDA_VERSION ") : NULL;
    unsigned version;

    if (!line || sscanf(line, "#define CUDA_VERSION %u", &version) != 1)
        return false;
    facts->toolkit_major = version / 1000;
    facts->toolkit_minor = version % 1000 / 10;
    return true;
}

static void look_at_toolkit(const char *root, struct pm_facts *facts)
{
    static const char *const headers[] = {"/usr/local/cuda/include/cuda.h",
                                          "/opt/cuda/include/cuda.h", "/usr/include/cuda.h"};

    for (size_t i = 0; i < PM_ARRAY_LEN(headers); i++) {
        if (toolkit_in(root, headers[i], facts))
            return;
    }
}

/* ---- programs --------------------------------------------------------------------------------------- */

static void look_at_engine(const struct pm_gather *gather, const struct pm_engine_facts *wanted,
                           struct pm_engine_facts *ret)
{
    pm_auto_free char *found = NULL;

    ret->name = pm_xstrdup(wanted->name);
    ret->program = pm_xstrdup(wanted->program);
    ret->state = wanted->state;
    if (wanted->state != PM_PROGRAM_MISSING)
        return;

    if (strchr(wanted->program, '/')) {
        if (pm_look_runnable(gather->root, wanted->program))
            ret->state = PM_PROGRAM_FINE;
        else if (pm_look_there(gather->root, wanted->program))
            ret->state = PM_PROGRAM_NOT_RUNNABLE;
    } else if ((found = pm_look_program(gather->root, gather->path, wanted->program))) {
        free(ret->program);
        ret->program = pm_take(found);
        ret->state = PM_PROGRAM_FINE;
    }
    if (ret->state == PM_PROGRAM_FINE)
        (void)pm_look_cuda(gather->root, ret->program, ret);
}

void pm_look_at_programs(const struct pm_gather *gather, struct pm_facts *facts)
{
    for (size_t i = 0; i < pm_n_tools; i++)
        facts->tools[i].path = pm_look_program(gather->root, gather->path, pm_tools[i].programs);

    facts->engines = pm_xalloc((gather->n_engines + 1) * sizeof(facts->engines[0]));
    for (size_t i = 0; i < gather->n_engines; i++)
        look_at_engine(gather, &gather->engines[i], &facts->engines[facts->n_engines++]);
    look_at_toolkit(gather->root, facts);
}
