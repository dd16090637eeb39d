/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../fake-nvml/fake.h"

#define N_HOLDERS 64
#define N_XIDS    64

static struct machine {
    struct {
        int pid, gpu;
        uint64_t bytes, dead_ms;
    } holders[N_HOLDERS];
    uint64_t n_xids;
    unsigned xids[N_XIDS];
} * own;
static struct fake_state *theirs; /* of FAKE_NVML */

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text ? atol(text) : otherwise;
}

bool machine_lies(const char *word)
{
    const char *text = getenv("FAKE_GPU_LIES"), *at = text;
    size_t n = strlen(word);

    for (; at && (at = strstr(at, word)); at += n)
        if ((at == text || at[-1] == ',') && (at[n] == '\0' || at[n] == ','))
            return true;
    return false;
}

bool machine_open(void)
{
    const char *path = getenv("FAKE_GPU");
    int fd;

    if (own || theirs)
        return true;
    theirs = fake_open(getenv("FAKE_NVML"));
    fd = path && !theirs ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return theirs != NULL;
    if (ftruncate(fd, sizeof(*own)) == 0)
        own = mmap(NULL, sizeof(*own), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (own == MAP_FAILED)
        own = NULL;
    return own != NULL;
}

int machine_count(void)
{
    return theirs ? theirs->n_gpus : (int)setting("FAKE_GPU_COUNT", 1);
}

void machine_uuid(int gpu, char uuid[96])
{
    if (theirs)
        snprintf(uuid, 96, "%.95s", theirs->gpus[gpu].uuid);
    else
        snprintf(uuid, 96, "GPU-%08x-0a0b-4c4d-8e8f-0123456789ab", (unsigned)(0xf00d0000 + gpu));
}

uint64_t machine_total(int gpu)
{
    return theirs ? theirs->gpus[gpu].total : FAKE_TOTAL;
}

static bool dead(int pid)
{
    char path[64], text[256] = "";
    FILE *f;
    const char *end;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (!f)
        return true;
    (void)!fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    end = strrchr(text, ')');
    return end && (end[2] == 'Z' || end[2] == 'X');
}

uint64_t machine_used(int gpu)
{
    uint64_t sum = 0, now_ms = hw_now_ns() / 1000000;

    for (int i = 0; i < N_HOLDERS; i++) {
        if (!own->holders[i].pid || own->holders[i].gpu != gpu)
            continue;
        if (dead(own->holders[i].pid) && !machine_lies("release")) {
            if (!own->holders[i].dead_ms)
                own->holders[i].dead_ms = now_ms;
            if (now_ms - own->holders[i].dead_ms >= (uint64_t)setting("FAKE_GPU_LAG", 0)) {
                memset(&own->holders[i], 0, sizeof(own->holders[i]));
                continue;
            }
        }
        sum += own->holders[i].bytes;
    }
    return sum;
}

uint64_t machine_free(int gpu)
{
    uint64_t bytes;

    if (!theirs)
        return FAKE_TOTAL - FAKE_RESERVED - machine_used(gpu);
    fake_lock(theirs);
    bytes = fake_free_bytes(theirs, gpu, -1);
    fake_unlock(theirs);
    return bytes;
}

/* Theirs gives all back at once only, so what stays is taken anew. */
static int hold_theirs(int gpu, int64_t more)
{
    static uint64_t held;
    bool ok;

    fake_lock(theirs);
    if (more < 0)
        fake_give(theirs, gpu, getpid());
    ok = fake_take(theirs, gpu, -1, getpid(), more < 0 ? held - (uint64_t)-more : (uint64_t)more);
    fake_unlock(theirs);
    if (ok)
        held += (uint64_t)more;
    return ok ? 0 : 2;
}

int machine_hold(int gpu, int64_t more)
{
    int pid = getpid(), mine = -1;

    if (theirs)
        return hold_theirs(gpu, more);
    for (int i = 0; i < N_HOLDERS; i++)
        if (own->holders[i].pid == pid || (mine < 0 && !own->holders[i].pid))
            mine = i;
    if (mine < 0 || (more > 0 && (uint64_t)more > machine_free(gpu)))
        return 2;
    own->holders[mine].pid = pid;
    own->holders[mine].gpu = gpu;
    own->holders[mine].bytes += (uint64_t)more;
    return 0;
}

void machine_holders(int gpu, void (*see)(void *ctx, int pid, uint64_t bytes), void *ctx)
{
    for (int i = 0; i < N_HOLDERS; i++)
        if (own->holders[i].pid && own->holders[i].gpu == gpu && !dead(own->holders[i].pid))
            see(ctx, own->holders[i].pid, own->holders[i].bytes);
}

void machine_xid(int gpu, unsigned xid)
{
    struct fake_event event = {.gpu = gpu, .type = 8, .data = xid, .gi = ~0u, .ci = ~0u};

    if (theirs) {
        fake_lock(theirs);
        fake_tell(theirs, &event);
        fake_unlock(theirs);
        return;
    }
    own->xids[own->n_xids % N_XIDS] = xid;
    own->n_xids++;
}

uint64_t machine_n_xids(void)
{
    return own->n_xids;
}

unsigned machine_xid_at(uint64_t i)
{
    return own->xids[i % N_XIDS];
}
