/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the model there and whole, before an engine is started for it: an engine that loads 40 GB to find the last
 * tensor missing wastes minutes, and says so in words of its own. What cannot be judged here (a family whose files
 * we do not read) is left to the engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/internal.h"
#include "plan/gguf.h"
#include "util/cleanup.h"

const char *pm_model_path(const char *ref)
{
    if (pm_str_starts(ref, "file:"))
        ref += strlen("file:");

    if (pm_str_starts(ref, "//"))
        ref += strspn(ref, "/") - 1; /* file:///x */

    return ref[0] == '/' ? ref : NULL;
}

static long read_at(void *ctx, uint64_t offset, void *to, size_t n)
{
    ssize_t r;

    do
        r = pread(*(const int *)ctx, to, n, (off_t)offset);
    while (r < 0 && errno == EINTR);

    return r < 0 ? -errno : r;
}

static int missing(const char *path, int errno_value, struct poolmgr_error *err)
{
    if (errno_value == ENOENT || errno_value == ENOTDIR) {
        (void)pm_fail(err, POOLMGR_E_MODEL_MISSING, "%s does not exist", path);
        return pm_error_hint(err, POOLMGR_E_MODEL_MISSING,
                             "put the file there; it is tried again as soon as it is whole");
    }

    /* Ours to mend, not the file's: it is tried again by the clock. */
    if (errno_value == EMFILE || errno_value == ENFILE || errno_value == ENOMEM)
        return pm_fail_errno(err, POOLMGR_E_INTERNAL, errno_value, "%s cannot be opened", path);

    (void)pm_fail_errno(err, POOLMGR_E_MODEL_MISSING, errno_value, "%s cannot be read", path);
    return pm_error_hint(err, POOLMGR_E_MODEL_MISSING,
                         "let the daemon's user read it, then: poolctl reset POOL");
}

static int open_model(const char *path, int *ret_fd, uint64_t *ret_size, struct poolmgr_error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    pm_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0)
        return missing(path, errno, err);

    if (!S_ISREG(status.st_mode))
        return pm_fail(err, POOLMGR_E_MODEL_MISSING, "%s is %s, not a file", path,
                       S_ISDIR(status.st_mode) ? "a folder" : "a device or a pipe");

    *ret_size = (uint64_t)status.st_size;
    *ret_fd = pm_take_fd(&fd);
    return POOLMGR_OK;
}

static int check_gguf(const char *path, uint64_t *ret_size, struct poolmgr_error *err)
{
    pm_auto_close int fd = -1;
    struct pm_gguf_source source = {.read = read_at, .ctx = &fd};
    struct pm_gguf gguf;
    int r;

    r = open_model(path, &fd, &source.size, err);
    if (r < 0)
        return r;

    r = pm_gguf_read(&source, &gguf, err);
    if (r < 0) {
        (void)pm_wrap(err, r, "%s", path);
        return pm_error_hint(
            err, r, "%s",
            r == POOLMGR_E_MODEL_CORRUPT
                ? "copy or download it again; it is tried again as soon as it changes"
                : "get it in a form that the engine reads");
    }

    *ret_size = source.size;
    return POOLMGR_OK;
}

static int check_there(const char *path, uint64_t *ret_size, struct poolmgr_error *err)
{
    struct stat status;

    if (stat(path, &status) < 0 || access(path, R_OK) < 0)
        return missing(path, errno, err);

    *ret_size = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
    return POOLMGR_OK;
}

static bool reads_gguf(const struct pm_engine_spec *engine)
{
    return engine->family == PM_FAMILY_LLAMA_CPP;
}

static int check_ref(const struct pm_engine_spec *engine, const char *ref, uint64_t *sum,
                     struct poolmgr_error *err)
{
    const char *path = pm_model_path(ref);
    uint64_t size = 0;
    int r;

    if (!path && !reads_gguf(engine))
        return POOLMGR_OK; /* a name that the command understands */

    if (!path) {
        (void)pm_fail(err, POOLMGR_E_MODEL_MISSING,
                      "%s is not a local file, and models are not downloaded yet", ref);
        return pm_error_hint(err, POOLMGR_E_MODEL_MISSING,
                             "download the GGUF yourself and give its path as model");
    }

    r = reads_gguf(engine) ? check_gguf(path, &size, err) : check_there(path, &size, err);
    *sum += size;
    return r;
}

int pm_engine_check_model(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                          uint64_t *ret_size, struct poolmgr_error *err)
{
    const char *refs[3] = {pool->model.main, pool->model.mmproj, pool->model.draft};
    uint64_t sum = 0;
    size_t i;
    int r;

    if (!pm_adapter(engine->family))
        return pm_fail(err, POOLMGR_E_UNSUPPORTED,
                       "engine '%s': only the families llama.cpp and command are built so far",
                       engine->name);

    if (!pool->model.main && reads_gguf(engine))
        return pm_fail(err, POOLMGR_E_MODEL_MISSING, "pool '%s' has no model", pool->id);

    for (i = 0; i < PM_ARRAY_LEN(refs); i++) {
        r = refs[i] ? check_ref(engine, refs[i], &sum, err) : POOLMGR_OK;
        if (r < 0)
            return r;
    }

    for (i = 0; i < pool->model.lora.n; i++) {
        r = check_ref(engine, pool->model.lora.items[i], &sum, err);
        if (r < 0)
            return r;
    }

    *ret_size = sum;
    return POOLMGR_OK;
}
