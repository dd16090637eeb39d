/* SPDX-License-Identifier: Apache-2.0 */
/* How long NVML takes: each call many times, init and shutdown a thousand times, eight threads at once. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw.h"

#define MAX_CALLS   20000
#define MAX_THREADS 64

static hw_device device;
static uint64_t took[MAX_CALLS];

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void tell_times(uint64_t *ns, size_t n)
{
    if (n == 0)
        return;
    qsort(ns, n, sizeof(*ns), compare);
    hw_real("p50_us", (double)ns[n / 2] / 1e3);
    hw_real("p99_us", (double)ns[n * 99 / 100] / 1e3);
    hw_real("max_us", (double)ns[n - 1] / 1e3);
}

/* ---- the calls, without arguments ------------------------------------------------------------------- */

static char text[96];
static unsigned u;
static int i1, i2;

static int call_count(void)
{
    return nvml.count(&u);
}
static int call_handle(void)
{
    hw_device d;
    return nvml.by_index(0, &d);
}
static int call_uuid(void)
{
    return nvml.uuid(device, text, sizeof(text));
}
static int call_pci(void)
{
    struct hw_pci pci;
    return nvml.pci(device, &pci);
}
static int call_memory(void)
{
    struct hw_memory m;
    return nvml.memory(device, &m);
}
static int call_memory_v2(void)
{
    struct hw_memory_v2 m = {.version = HW_MEMORY_V2};
    return nvml.memory_v2(device, &m);
}
static int call_rows(void)
{
    char rows[64 * 32];
    unsigned n = 64;
    return nvml.rows_v3(device, &n, rows);
}
static int call_list(void)
{
    char rows[64 * 32];
    struct hw_list list = {.version = HW_LIST, .count = 64, .rows = rows};

    return nvml.row_list(device, &list);
}
static int call_mig(void)
{
    unsigned pending;
    return nvml.mig_mode(device, &u, &pending);
}
static int call_mode(void)
{
    return nvml.compute_mode(device, &i1);
}
static int call_capability(void)
{
    return nvml.capability(device, &i1, &i2);
}
static int call_utilisation(void)
{
    struct hw_utilisation util;
    return nvml.utilisation(device, &util);
}
static int call_temperature(void)
{
    return nvml.temperature(device, 0, &u);
}
static int call_power(void)
{
    return nvml.power(device, &u);
}
static int call_ecc(void)
{
    unsigned long long n;
    return nvml.ecc(device, 1, 1, &n);
}
static int call_field(void)
{
    struct hw_field field = {.id = 230};
    return nvml.fields(device, 1, &field);
}
static int call_driver(void)
{
    char version[80];
    return nvml.driver(version, sizeof(version));
}

static const struct {
    const char *name;
    int (*call)(void);
    size_t needs; /* of struct hw_nvml */
} calls[] = {
#define CALL(name, needed)                                                                         \
    {                                                                                              \
#name, call_##name, offsetof(struct hw_nvml, needed)                                       \
    }
    CALL(count, count),
    CALL(handle, by_index),
    CALL(uuid, uuid),
    CALL(pci, pci),
    CALL(memory, memory),
    CALL(memory_v2, memory_v2),
    CALL(rows, rows_v3),
    CALL(list, row_list),
    CALL(mig, mig_mode),
    CALL(mode, compute_mode),
    CALL(capability, capability),
    CALL(utilisation, utilisation),
    CALL(temperature, temperature),
    CALL(power, power),
    CALL(ecc, ecc),
    CALL(field, fields),
    CALL(driver, driver),
};

static bool is_there(size_t offset)
{
    void *pointer;

    memcpy(&pointer, (char *)&nvml + offset, sizeof(pointer));
    return pointer != NULL;
}

/* pace MS: each call for so long, or MAX_CALLS times. */
int hw_pace(int argc, char **argv)
{
    uint64_t limit_ns = (argc > 1 ? strtoull(argv[1], NULL, 10) : 500) * UINT64_C(1000000);

    if (!hw_nvml_start())
        return 3;
    device = hw_nvml_device(0);
    for (size_t i = 0; device && i < sizeof(calls) / sizeof(calls[0]); i++) {
        uint64_t begun = hw_now_ns(), now = begun;
        int r = 0, code = 0;
        size_t n = 0;

        if (!is_there(calls[i].needs))
            continue;
        while (n < MAX_CALLS && now - begun < limit_ns) {
            uint64_t before = hw_now_ns();

            r = calls[i].call();
            now = hw_now_ns();
            took[n++] = now - before;
            if (r)
                code = r;
        }
        hw_begin("pace");
        hw_text("call", calls[i].name);
        hw_number("code", code);
        hw_size("n", n);
        tell_times(took, n);
        hw_end();
    }
    return 0;
}

/* ---- a thousand inits -------------------------------------------------------------------------------- */

static long rss_kb(void)
{
    long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f || fscanf(f, "%ld %ld", &all, &resident) != 2)
        resident = -1;
    if (f)
        fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* How many descriptors are open; with `tell` each is told but the standard ones. */
static int descriptors(bool tell, int *ret_inheritable)
{
    DIR *folder = opendir("/proc/self/fd");
    int n = 0, inheritable = 0;

    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        int fd = atoi(entry->d_name), flags;
        char path[64], where[256];
        ssize_t length;

        if (entry->d_name[0] == '.' || fd == dirfd(folder) || fd < 3)
            continue;
        n++;
        flags = fcntl(fd, F_GETFD);
        inheritable += flags >= 0 && !(flags & FD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        length = readlink(path, where, sizeof(where) - 1);
        if (!tell)
            continue;
        where[length > 0 ? length : 0] = '\0';
        hw_begin("descriptor");
        hw_text("path", where);
        hw_number("inheritable", flags >= 0 && !(flags & FD_CLOEXEC));
        hw_end();
    }
    if (folder)
        closedir(folder);
    *ret_inheritable = inheritable;
    return n;
}

static int threads_running(void)
{
    DIR *folder = opendir("/proc/self/task");
    int n = 0;

    for (struct dirent *entry; folder && (entry = readdir(folder));)
        n += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return n;
}

/* inits N MS: init and shutdown N times, or for so long. */
int hw_inits(int argc, char **argv)
{
    size_t want = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000, n = 0;
    uint64_t limit_ns = (argc > 2 ? strtoull(argv[2], NULL, 10) : 20000) * UINT64_C(1000000);
    int inheritable = 0, at_open = 0, inheritable_open = 0, before, after, code = 0, threads = 0;
    int after_1 = -1, after_10 = -1;
    uint64_t begun = hw_now_ns(), first_ns = 0;
    long rss_first = 0, rss_before = rss_kb();

    if (!hw_nvml_open())
        return 3;
    before = descriptors(false, &inheritable);
    while (n < want && n < MAX_CALLS && hw_now_ns() - begun < limit_ns && code == 0) {
        uint64_t start = hw_now_ns();

        code = nvml.init();
        if (code)
            break;
        if (n == 0) {
            hw_device d = NULL;
            struct hw_memory m;

            first_ns = hw_now_ns() - start;
            if (nvml.by_index(0, &d) == 0)
                (void)nvml.memory(d, &m); /* some descriptors are opened at the first question */
            at_open = descriptors(true, &inheritable_open);
            threads = threads_running();
        }
        code = nvml.shutdown();
        took[n++] = hw_now_ns() - start;
        if (n == 1)
            after_1 = descriptors(false, &inheritable);
        if (n == 10) {
            after_10 = descriptors(false, &inheritable);
            rss_first = rss_kb();
        }
    }
    after = descriptors(false, &inheritable);
    hw_begin("inits");
    hw_size("n", n);
    hw_size("wanted", want);
    hw_number("code", code);
    hw_real("first_us", (double)first_ns / 1e3);
    hw_real("all_ms", (double)(hw_now_ns() - begun) / 1e6);
    tell_times(took, n);
    hw_number("descriptors_before", before);
    hw_number("descriptors_open", at_open);
    hw_number("descriptors_open_inheritable", inheritable_open);
    hw_number("descriptors_after_1", after_1);
    hw_number("descriptors_after_10", after_10);
    hw_number("descriptors_after", after);
    hw_number("descriptors_after_inheritable", inheritable);
    hw_number("threads_open", threads);
    hw_number("rss_before_kb", rss_before);
    hw_number("rss_after_10_kb", rss_first);
    hw_number("rss_after_kb", rss_kb());
    hw_end();
    return 0;
}

/* ---- threads at once --------------------------------------------------------------------------------- */

struct work {
    pthread_t thread;
    uint64_t until_ns, max_ns;
    size_t n, n_failed, n_wrong;
    int code;
};

static uint64_t total_bytes;

static void *keep_asking(void *data)
{
    struct work *work = data;

    while (hw_now_ns() < work->until_ns) {
        struct hw_memory m = {0};
        char rows[64 * 32];
        unsigned n = 64;
        uint64_t before = hw_now_ns(), ns;
        int r = nvml.memory(device, &m);

        work->n_wrong += r == 0 && (m.total != total_bytes || m.free > m.total);
        if (r == 0 && nvml.rows_v3)
            r = nvml.rows_v3(device, &n, rows);
        ns = hw_now_ns() - before;
        if (ns > work->max_ns)
            work->max_ns = ns;
        work->n++;
        if (r) {
            work->n_failed++;
            work->code = r;
        }
    }
    return NULL;
}

/* threads N MS */
int hw_threads(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 8;
    uint64_t ms = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
    static struct work works[MAX_THREADS];
    struct work sum = {0};
    struct hw_memory m = {0};

    if (!hw_nvml_start())
        return 3;
    device = hw_nvml_device(0);
    if (!device || nvml.memory(device, &m) != 0)
        return 3;
    total_bytes = m.total;
    if (n > MAX_THREADS)
        n = MAX_THREADS;
    for (size_t i = 0; i < n; i++) {
        works[i].until_ns = hw_now_ns() + ms * UINT64_C(1000000);
        if (pthread_create(&works[i].thread, NULL, keep_asking, &works[i]) != 0)
            return 4;
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(works[i].thread, NULL);
        sum.n += works[i].n;
        sum.n_failed += works[i].n_failed;
        sum.n_wrong += works[i].n_wrong;
        if (works[i].code)
            sum.code = works[i].code;
        if (works[i].max_ns > sum.max_ns)
            sum.max_ns = works[i].max_ns;
    }
    hw_begin("threads");
    hw_size("threads", n);
    hw_size("n", sum.n);
    hw_size("failed", sum.n_failed);
    hw_size("wrong", sum.n_wrong);
    hw_number("code", sum.code);
    hw_real("max_us", (double)sum.max_ns / 1e3);
    hw_end();
    return 0;
}
