/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the model there and whole, before an engine is started for it: an engine that loads 40 GB to find the last
 * tensor missing wastes minutes, and says so in words of its own. What cannot be judged here (a family whose files
 * we do not read) is left to the engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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

/* ---- files of several parts -------------------------------------------------------------------------- */

#define SHARD_DIGITS 5 /* as llama-gguf-split writes them */

static bool read_shard_number(const char *text, unsigned *ret)
{
    *ret = 0;
    for (int i = 0; i < SHARD_DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

/* "…-00001-of-00003.gguf": the first of so many; 0: it is one file. */
static unsigned count_shards(const char *path)
{
    static const char tail[] = "-00001-of-00003.gguf";
    size_t n = strlen(path), n_tail = strlen(tail);
    unsigned first, count;

    if (n < n_tail || strcmp(path + n - 5, ".gguf") != 0)
        return 0;
    path += n - n_tail;
    if (path[0] != '-' || !read_shard_number(path + 1, &first) ||
        memcmp(path + 6, "-of-", 4) != 0 || !read_shard_number(path + 10, &count))
        return 0;
    return first == 1 && count <= PM_MODEL_SHARDS_MAX ? count : 0;
}

bool pm_engine_shard(const char *path, unsigned i, char *to, size_t size)
{
    unsigned count = count_shards(path);
    size_t n = strlen(path);

    if (i >= (count > 0 ? count : 1) || n >= size)
        return false;
    (void)pm_str_copy(to, size, path);
    if (count > 0)
        (void)snprintf(to + n - strlen("00001-of-00003.gguf"), size - n, "%05u-of-%05u.gguf", i + 1,
                       count);
    return true;
}

/* ---- GGUF --------------------------------------------------------------------------------------------- */

static int explain(const char *path, int r, struct poolmgr_error *err)
{
    if (r == POOLMGR_OK)
        return r;
    (void)pm_wrap(err, r, "%s", path);
    return pm_error_hint(err, r, "%s",
                         r == POOLMGR_E_MODEL_CORRUPT
                             ? "copy or download it again; it is tried again as soon as it changes"
                             : "get it in a form that the engine reads");
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

    *ret_size = source.size;
    return explain(path, pm_gguf_read(&source, &gguf, err), err);
}

/* The parts of a model, opened. */
struct parts {
    unsigned n;
    int *fds;
    struct pm_gguf_source *sources;
    uint64_t bytes;
};

static void close_parts(struct parts *parts)
{
    for (unsigned i = 0; i < parts->n; i++)
        (void)close(parts->fds[i]);
    free(parts->fds);
    free(parts->sources);
}

static int open_parts(const char *path, struct parts *parts, struct poolmgr_error *err)
{
    unsigned count = count_shards(path);
    char part[PATH_MAX];

    parts->fds = pm_xalloc((count + 1) * sizeof(*parts->fds));
    parts->sources = pm_xalloc((count + 1) * sizeof(*parts->sources));
    while (pm_engine_shard(path, parts->n, part, sizeof(part))) {
        struct pm_gguf_source *source = &parts->sources[parts->n];
        int r = open_model(part, &parts->fds[parts->n], &source->size, err);

        if (r < 0)
            return r;
        source->read = read_at;
        source->ctx = &parts->fds[parts->n++];
        parts->bytes += source->size;
    }
    if (parts->n == 0)
        return pm_fail(err, POOLMGR_E_MODEL_MISSING, "%.200s… is longer than a path may be", path);
    return POOLMGR_OK;
}

/* The main one, all its parts. */
static int read_model(const char *path, struct pm_model **ret, uint64_t *ret_size,
                      struct poolmgr_error *err)
{
    struct parts parts = {0};
    int r;

    r = open_parts(path, &parts, err);
    if (r == POOLMGR_OK)
        r = explain(path, pm_model_read(parts.sources, parts.n, ret, err), err);
    *ret_size = parts.bytes;
    close_parts(&parts);
    return r;
}

int pm_engine_read_model(const char *ref, struct pm_model **ret, struct poolmgr_error *err)
{
    const char *path = pm_model_path(ref);
    uint64_t size;

    return read_model(path ? path : ref, ret, &size, err);
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

/* ret_model NULL: it is not the main one. */
static int check_ref(const struct pm_engine_spec *engine, const char *ref,
                     struct pm_model **ret_model, uint64_t *sum, struct poolmgr_error *err)
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

    if (!reads_gguf(engine))
        r = check_there(path, &size, err);
    else if (ret_model)
        r = read_model(path, ret_model, &size, err);
    else
        r = check_gguf(path, &size, err);
    *sum += size;
    return r;
}

int pm_engine_check_model(const struct pm_engine_spec *engine, const struct pm_pool_spec *pool,
                          struct pm_model **ret_model, uint64_t *ret_size,
                          struct poolmgr_error *err)
{
    const char *refs[3] = {pool->model.main, pool->model.mmproj, pool->model.draft};
    pm_auto(pm_model_unref) struct pm_model *model = NULL;
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
        r = refs[i] ? check_ref(engine, refs[i], i == 0 ? &model : NULL, &sum, err) : POOLMGR_OK;
        if (r < 0)
            return r;
    }

    for (i = 0; i < pool->model.lora.n; i++) {
        r = check_ref(engine, pool->model.lora.items[i], NULL, &sum, err);
        if (r < 0)
            return r;
    }

    *ret_model = pm_take(model);
    *ret_size = sum;
    return POOLMGR_OK;
}
