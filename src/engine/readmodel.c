/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/readmodel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/internal.h"
#include "util/str.h"

static long read_at(void *ctx, uint64_t offset, void *to, size_t n)
{
    ssize_t r;

    do
        r = pread(*(const int *)ctx, to, n, (off_t)offset);
    while (r < 0 && errno == EINTR);

    return r < 0 ? -errno : r;
}

/* The open files of one model. */
struct shards {
    int fds[PM_MODEL_SHARDS_MAX];
    struct pm_gguf_source sources[PM_MODEL_SHARDS_MAX];
    size_t n;
};

static void shards_free(struct shards *shards)
{
    for (size_t i = 0; i < shards->n; i++)
        (void)close(shards->fds[i]);
    free(shards);
}

static int add_shard(struct shards *shards, const char *path, struct poolmgr_error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int *place = &shards->fds[shards->n];
    struct stat status;

    if (fd < 0)
        return pm_fail_errno(err, POOLMGR_E_MODEL_MISSING, errno, "%s cannot be read", path);

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        (void)close(fd);
        return pm_fail(err, POOLMGR_E_MODEL_MISSING, "%s is not a file", path);
    }

    *place = fd;
    shards->sources[shards->n++] =
        (struct pm_gguf_source){.size = (uint64_t)status.st_size, .read = read_at, .ctx = place};
    return POOLMGR_OK;
}

static int add_others(struct shards *shards, const char *first, uint64_t n,
                      struct poolmgr_error *err)
{
    if (n > PM_MODEL_SHARDS_MAX)
        return pm_fail(err, POOLMGR_E_MODEL_UNSUPPORTED, "%s has %" PRIu64 " shards", first, n);

    for (uint64_t i = 1; i < n; i++) {
        pm_auto_free char *path = pm_model_shard_path(first, i, n);
        int r;

        if (!path)
            return pm_fail(err, POOLMGR_E_MODEL_CORRUPT,
                           "%s is one of %" PRIu64 " shards, and not named as the first of them",
                           first, n);
        r = add_shard(shards, path, err);
        if (r < 0)
            return r;
    }

    return POOLMGR_OK;
}

static int read_shards(struct shards *shards, const char *path, struct pm_model **ret,
                       struct poolmgr_error *err)
{
    struct pm_gguf gguf;
    int r;

    r = add_shard(shards, path, err);
    if (r < 0)
        return r;

    r = pm_gguf_read(&shards->sources[0], &gguf, err);
    if (r < 0)
        return pm_wrap(err, r, "%s", path);

    r = add_others(shards, path, gguf.n_shards, err);
    if (r < 0)
        return r;

    r = pm_model_read(shards->sources, shards->n, ret, err);
    return r < 0 ? pm_wrap(err, r, "%s", path) : r;
}

int pm_engine_read_model(const char *ref, struct pm_model **ret, struct poolmgr_error *err)
{
    const char *path = pm_model_path(ref);
    struct shards *shards = pm_xalloc(sizeof(*shards));
    int r = read_shards(shards, path ? path : ref, ret, err);

    shards_free(shards);
    return r;
}
