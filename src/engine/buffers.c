/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines are found by what stands in them, not by the function that prints them, which is called otherwise from build
 * to build:
 *
 *   using device RPC1 (127.0.0.1:50153) (unknown id) - 24105 MiB free
 *   load_tensors: offloaded 7/7 layers to GPU
 *   load_tensors:   CPU_Mapped model buffer size =     0.11 MiB
 *   llm_load_tensors:      CUDA0 buffer size =  4095.05 MiB                (before 2025)
 *   llama_kv_cache: RPC0[127.0.0.1:50153] KV buffer size =     0.75 MiB
 *   sched_reserve:      CUDA0 compute buffer size =     4.68 MiB
 *
 * Weights and caches of one device are told in pieces and summed. Compute buffers are told again when a context
 * reserves again: the last value counts, and contexts (a draft model has its own) are summed. RPC devices all call
 * their buffers RPC0: the endpoint tells them apart.
 */
#include "engine/buffers.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/str.h"

#define MIB_MAX                                                                                    \
    1e7 /* ten TiB: what is more is no size of a buffer, and sums stay far from their end */

/* ---- devices ------------------------------------------------------------------------------------------ */

static struct pm_buffers_of *add_device(struct pm_buffers *buffers, const char *name,
                                        const char *where)
{
    struct pm_buffers_of *device;

    if (buffers->n_devices == PM_SHARES_MAX)
        return NULL;
    device = &buffers->devices[buffers->n_devices++];
    *device = (struct pm_buffers_of){0};
    (void)pm_str_copy(device->name, sizeof device->name, name);
    (void)pm_str_copy(device->where, sizeof device->where, where);
    return device;
}

static struct pm_buffers_of *find_device(struct pm_buffers *buffers, const char *name,
                                         const char *where)
{
    for (size_t i = 0; i < buffers->n_devices; i++) {
        struct pm_buffers_of *device = &buffers->devices[i];

        if (where[0] ? strcmp(device->where, where) == 0 : strcmp(device->name, name) == 0)
            return device;
    }
    return NULL;
}

/* The host's have many names: CPU, CPU_Mapped, CPU_REPACK, CUDA_Host. A device's ends with its number. */
static bool is_host(const char *name)
{
    size_t n = strlen(name);

    return n == 0 || pm_str_starts(name, "CPU") || !isdigit((unsigned char)name[n - 1]);
}

/* "RPC0[127.0.0.1:50152]" */
static struct pm_buffers_of *owner_of(struct pm_buffers *buffers, char *buffer)
{
    char *where = strchr(buffer, '['), *end = where ? strchr(where, ']') : NULL;
    struct pm_buffers_of *device;

    if (where)
        *where++ = '\0';
    if (end)
        *end = '\0';
    if (!where && is_host(buffer))
        return &buffers->host;
    device = find_device(buffers, buffer, where ? where : "");
    return device ? device : add_device(buffers, buffer, where ? where : "");
}

/* "RPC1 (127.0.0.1:50153) (unknown id) - …"; of CUDA the first brackets hold a name that devices may share. */
static void read_device(struct pm_buffers *buffers, const char *text)
{
    char name[64], where[64] = "";
    int n = 0;

    if (sscanf(text, "%63s (%63[^)])%n", name, where, &n) < 1)
        return;
    if (!pm_str_starts(name, "RPC"))
        where[0] = '\0';
    if (!find_device(buffers, name, where))
        (void)add_device(buffers, name, where);
}

/* ---- lines -------------------------------------------------------------------------------------------- */

static bool read_mib(const char *text, uint64_t *ret)
{
    double mib;
    char unit[4];

    if (sscanf(text, "%15lf %3s", &mib, unit) != 2 || strcmp(unit, "MiB") != 0 || !(mib >= 0) ||
        mib > MIB_MAX)
        return false;
    *ret = (uint64_t)(mib * 1048576 + 0.5);
    return true;
}

/* The word that ends before text[*n); *n goes before it. */
static const char *last_word(const char *text, size_t *n, size_t *ret_length)
{
    size_t end, begin;

    for (end = *n; end > 0 && text[end - 1] == ' '; end--)
        ;
    for (begin = end; begin > 0 && text[begin - 1] != ' '; begin--)
        ;
    *n = begin;
    *ret_length = end - begin;
    return text + begin;
}

static bool is_word(const char *word, size_t n, const char *text)
{
    return strlen(text) == n && memcmp(word, text, n) == 0;
}

static void add_compute(struct pm_buffers_of *to, uint64_t bytes)
{
    to->compute_bytes += bytes - to->context_compute_bytes;
    to->context_compute_bytes = bytes;
}

/* `n`: where " buffer size = " begins. */
static void read_size(struct pm_buffers *buffers, const char *line, size_t n, uint64_t bytes)
{
    static const char *const kinds[] = {"model", "KV", "RS", "compute", "output"};
    size_t length, kind = 0;
    const char *word = last_word(line, &n, &length);
    struct pm_buffers_of *to;
    char name[128];

    while (kind < PM_ARRAY_LEN(kinds) && !is_word(word, length, kinds[kind]))
        kind++;
    if (kind < PM_ARRAY_LEN(kinds))
        word = last_word(line, &n, &length);
    else
        kind = 0; /* old builds name the device alone, and only for weights */
    if (length == 0 || word[length - 1] == ':' || length >= sizeof name)
        return;

    (void)snprintf(name, sizeof name, "%.*s", (int)length, word);
    to = owner_of(buffers, name);
    if (!to)
        return;
    switch (kind) {
    case 0:
        to->weights_bytes += bytes;
        buffers->knows_weights = true;
        break;
    case 1: to->kv_bytes += bytes; break;
    case 2: to->recurrent_bytes += bytes; break;
    case 3:
        add_compute(to, bytes);
        buffers->knows_compute = true;
        break;
    default: break; /* the output buffer is the host's, and small */
    }
}

static void begin_context(struct pm_buffers *buffers)
{
    for (size_t i = 0; i < buffers->n_devices; i++)
        buffers->devices[i].context_compute_bytes = 0;
    buffers->host.context_compute_bytes = 0;
}

static void read_layers(struct pm_buffers *buffers, const char *text)
{
    unsigned n, of;

    if (sscanf(text, "%5u/%5u layers", &n, &of) != 2 || n > of || buffers->knows_layers)
        return; /* the first model is the pool's; a draft comes after it */
    buffers->n_offloaded = n;
    buffers->n_layers = of;
    buffers->knows_layers = true;
}

static void read_line(struct pm_buffers *buffers, const char *line)
{
    static const char size[] = " buffer size = ", device[] = ": using device ",
                      layers[] = ": offloaded ";
    const char *at;
    uint64_t bytes;

    if ((at = strstr(line, size))) {
        if (read_mib(at + sizeof size - 1, &bytes))
            read_size(buffers, line, (size_t)(at - line), bytes);
    } else if ((at = strstr(line, device))) {
        read_device(buffers, at + sizeof device - 1);
    } else if ((at = strstr(line, layers))) {
        read_layers(buffers, at + sizeof layers - 1);
    } else if (strstr(line, ": constructing llama_context")) {
        begin_context(buffers);
    }
}

void pm_buffers_feed(struct pm_buffers *buffers, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n') {
            buffers->line[buffers->n_line] = '\0';
            read_line(buffers, buffers->line);
            buffers->n_line = 0;
        } else if (buffers->n_line < sizeof buffers->line - 1) {
            buffers->line[buffers->n_line++] = data[i] ? data[i] : '?';
        }
    }
}

/* ---- files -------------------------------------------------------------------------------------------- */

static bool feed_file(struct pm_buffers *buffers, int fd, uint64_t from, uint64_t *left)
{
    char data[65536];
    ssize_t n;

    while (*left > 0) {
        n = pread(fd, data, *left < sizeof data ? (size_t)*left : sizeof data, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        pm_buffers_feed(buffers, data, (size_t)n);
        from += (uint64_t)n;
        *left -= (uint64_t)n;
    }
    return true;
}

static int open_log(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
}

int pm_buffers_read(const char *path, uint64_t from, struct pm_buffers *ret,
                    struct poolmgr_error *err)
{
    pm_auto_close int fd = open_log(path);
    pm_auto_free char *former_path = pm_xasprintf("%s.1", path);
    uint64_t left = PM_BUFFERS_FILE_MAX;
    struct stat status;

    *ret = (struct pm_buffers){0};
    if (fd < 0 || fstat(fd, &status) < 0)
        return pm_fail_errno(err, POOLMGR_E_NOT_FOUND, errno, "%s", path);

    if ((uint64_t)status.st_size < from) {
        pm_auto_close int former = open_log(former_path);

        if (former >= 0)
            (void)feed_file(ret, former, from, &left);
        from = 0;
    }
    if (!feed_file(ret, fd, from, &left))
        return pm_fail_errno(err, POOLMGR_E_NOT_FOUND, errno, "%s", path);
    return POOLMGR_OK;
}

bool pm_buffers_on_host(const struct pm_buffers *buffers)
{
    for (size_t i = 0; i < buffers->n_devices; i++) {
        if (buffers->devices[i].weights_bytes > 0)
            return false;
    }
    return buffers->knows_weights;
}
