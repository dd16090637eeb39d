/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x66616b65

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the file --------------------------------------------------------------------------------------- */

static struct fake_state *map(int fd)
{
    void *memory = mmap(NULL, sizeof(struct fake_state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    (void)close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

struct fake_state *fake_open(const char *path)
{
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    struct fake_state *state;
    struct stat stat;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &stat) < 0 || stat.st_size != (off_t)sizeof(*state)) {
        (void)close(fd);
        return NULL;
    }

    state = map(fd);
    if (state && (state->magic != MAGIC || state->size != sizeof(*state))) {
        (void)munmap(state, sizeof(*state));
        return NULL;
    }
    return state;
}

static void init_gpu(struct fake_gpu *gpu, int i, uint64_t size)
{
    gpu->bus = 0x10 + (unsigned)i * 0x10;
    (void)snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%08x-0000-4000-8000-%012x", 0xfa000000 + i,
                   (unsigned)i);
    (void)snprintf(gpu->name, sizeof(gpu->name), "NVIDIA Fake %d", i);
    gpu->total = size;
    gpu->reserved = size / 64;
    gpu->cc_major = 8;
    gpu->cc_minor = 9;
    gpu->recovery = 0;
    gpu->temperature = 40;
    gpu->power_mw = 30000;
    gpu->event_types = 0x8 | 0x2 | 0x100 | 0x4000 | 0x8000;
}

static void init_state(struct fake_state *state, int n, uint64_t size)
{
    pthread_mutexattr_t shared;

    state->size = sizeof(*state);
    (void)pthread_mutexattr_init(&shared);
    (void)pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    (void)pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    (void)pthread_mutex_init(&state->lock, &shared);
    state->n_gpus = n;
    for (int i = 0; i < n; i++)
        init_gpu(&state->gpus[i], i, size);
    state->row_bytes = 24;
    strcpy(state->driver, "580.65.06");
    state->cuda_version = 13000;
    state->magic = MAGIC;
}

/* Beside it, and renamed: nobody maps half of one. */
bool fake_create(const char *path, int n, uint64_t size)
{
    char beside[PATH_MAX];
    struct fake_state *state;
    int fd;

    (void)snprintf(beside, sizeof(beside), "%s.%d", path, getpid());
    fd = open(beside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (n < 0 || n > FAKE_GPUS_MAX || fd < 0 || ftruncate(fd, sizeof(*state)) < 0)
        return false;

    state = map(fd);
    if (!state)
        return false;
    init_state(state, n, size);
    (void)munmap(state, sizeof(*state));
    return rename(beside, path) == 0;
}

void fake_lock(struct fake_state *state)
{
    if (pthread_mutex_lock(&state->lock) == EOWNERDEAD)
        (void)pthread_mutex_consistent(&state->lock);
}

void fake_unlock(struct fake_state *state)
{
    (void)pthread_mutex_unlock(&state->lock);
}

/* ---- devices ---------------------------------------------------------------------------------------- */

static uint64_t address_of(const struct fake_gpu *gpu)
{
    return (uint64_t)gpu->domain << 32 | gpu->bus << 8 | gpu->device;
}

static int by_number(const struct fake_state *state, int number)
{
    for (int i = 0; i < state->n_gpus; i++) {
        int before = 0;

        for (int k = 0; k < state->n_gpus; k++)
            before += address_of(&state->gpus[k]) < address_of(&state->gpus[i]);
        if (before == number)
            return i;
    }
    return -1;
}

bool fake_find(struct fake_state *state, const char *name, int *ret_gpu, int *ret_slot)
{
    size_t n = strlen(name);

    *ret_slot = -1;
    if (isdigit((unsigned char)name[0])) {
        const char *colon = strchr(name, ':');

        *ret_gpu = by_number(state, atoi(name));
        if (colon)
            *ret_slot = atoi(colon + 1);
        return *ret_gpu >= 0 && *ret_slot < FAKE_SLOTS;
    }

    for (int i = 0; n > 4 && i < state->n_gpus; i++) {
        *ret_gpu = i;
        if (strncasecmp(state->gpus[i].uuid, name, n) == 0)
            return true;
        for (int slot = 0; slot < FAKE_SLOTS; slot++) {
            const struct fake_slot *is = &state->gpus[i].slots[slot];

            if (is->used && strncasecmp(is->uuid, name, n) == 0) {
                *ret_slot = slot;
                return true;
            }
        }
    }
    return false;
}

/* ---- memory ----------------------------------------------------------------------------------------- */

/* State and start time of a process; false: there is none. */
static bool read_process(int pid, char *ret_state, uint64_t *ret_started)
{
    char path[64], text[1024];
    char *at;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    at = strrchr(text, ')');
    return at && sscanf(at + 1,
                        " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                        "%*s %lu",
                        ret_state, ret_started) == 2;
}

bool fake_is_alive(const struct fake_holding *holding)
{
    uint64_t started;
    char state;

    if (!holding->is_ours)
        return true;
    return read_process(holding->pid, &state, &started) && state != 'Z' && state != 'X' &&
           started == holding->started;
}

static void return_what_is_due(struct fake_state *state)
{
    uint64_t now = now_ms();

    for (struct fake_holding *it = state->holdings; it < state->holdings + FAKE_HOLDINGS_MAX;
         it++) {
        if (it->pid == 0)
            continue;
        if (it->dead_ms == 0 && !fake_is_alive(it))
            it->dead_ms = now;
        if (it->dead_ms > 0 && now - it->dead_ms >= state->lag_ms)
            memset(it, 0, sizeof(*it));
    }
}

uint64_t fake_free_bytes(struct fake_state *state, int gpu, int slot)
{
    const struct fake_gpu *is = &state->gpus[gpu];
    uint64_t size = slot < 0 ? is->total - is->reserved : is->slots[slot].total, used = 0;

    return_what_is_due(state);
    for (const struct fake_holding *it = state->holdings; it < state->holdings + FAKE_HOLDINGS_MAX;
         it++) {
        if (it->pid != 0 && it->gpu == gpu && (slot < 0 || it->slot == slot))
            used += it->bytes;
    }
    return used < size ? size - used : 0;
}

bool fake_take(struct fake_state *state, int gpu, int slot, int pid, uint64_t bytes)
{
    struct fake_holding *row = NULL;
    char process_state;

    if (fake_free_bytes(state, gpu, slot) < bytes)
        return false;

    for (struct fake_holding *it = state->holdings; it < state->holdings + FAKE_HOLDINGS_MAX;
         it++) {
        if (it->pid == pid && it->gpu == gpu && it->slot == slot && it->dead_ms == 0) {
            it->bytes += bytes;
            return true;
        }
        if (it->pid == 0 && !row)
            row = it;
    }
    if (!row)
        return false;

    *row = (struct fake_holding){.gpu = gpu, .slot = slot, .bytes = bytes};
    row->is_ours = read_process(pid, &process_state, &row->started);
    __atomic_store_n(&row->pid, pid,
                     __ATOMIC_RELEASE); /* last: whoever is killed here has nothing */
    return true;
}

void fake_give(struct fake_state *state, int gpu, int pid)
{
    for (struct fake_holding *it = state->holdings; it < state->holdings + FAKE_HOLDINGS_MAX;
         it++) {
        if (it->pid == pid && (gpu < 0 || it->gpu == gpu))
            memset(it, 0, sizeof(*it));
    }
}

/* ---- events and rules ------------------------------------------------------------------------------- */

void fake_tell(struct fake_state *state, const struct fake_event *event)
{
    uint32_t serial = state->event_serial + 1;

    state->events[serial % FAKE_EVENTS] = *event;
    state->events[serial % FAKE_EVENTS].serial = serial;
    __atomic_store_n(&state->event_serial, serial, __ATOMIC_SEQ_CST);
    (void)syscall(SYS_futex, &state->event_serial, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

struct fake_rule *fake_rule(struct fake_state *state, const char *call, bool make)
{
    struct fake_rule *row = NULL;

    for (struct fake_rule *it = state->rules; it < state->rules + FAKE_RULES_MAX; it++) {
        if (strcmp(it->call, call) == 0)
            return it;
        if (it->call[0] == '\0' && !row)
            row = it;
    }
    if (!make || !row)
        return NULL;

    (void)snprintf(row->call, sizeof(row->call), "%s", call);
    return row;
}
