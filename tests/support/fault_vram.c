/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of GPUs that are not there (tests/fake-nvml), taken as llama.cpp does: on the devices that CUDA_VISIBLE_DEVICES
 * shows and in its order, layer by layer as -ngl, -sm, -mg and -ts say; weights first, then the cache of -c tokens, then
 * what computing needs. It stays taken until the process ends.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../fake-nvml/fake.h"
#include "fault.h"

#define LAYERS_MAX 512
#define MIB        1048576.0

struct target {
    int gpu, slot;
    uint64_t weights, kv; /* of the layers that are its */
    bool used;
};

struct wishes {
    const char *visible, *split, *mode, *layers, *context, *main_gpu;
    bool on_cpu, talks;
};

static struct fake_state *state;
static struct target targets[FAKE_GPUS_MAX];
static int n_targets;

/* ---- what was asked for ----------------------------------------------------------------------------- */

static bool is_option(const char *word, const char *names)
{
    char padded[64];

    (void)snprintf(padded, sizeof(padded), " %s ", word);
    return strstr(names, padded) != NULL;
}

static struct wishes read_wishes(int argc, char **argv)
{
    struct wishes wishes = {.visible = getenv("CUDA_VISIBLE_DEVICES"), .mode = "layer"};

    for (int i = 1; i + 1 < argc; i++) {
        const char *value = argv[i + 1];

        if (is_option(argv[i], " -ts --tensor-split "))
            wishes.split = value;
        else if (is_option(argv[i], " -sm --split-mode "))
            wishes.mode = value;
        else if (is_option(argv[i], " -mg --main-gpu "))
            wishes.main_gpu = value;
        else if (is_option(argv[i], " -ngl --gpu-layers --n-gpu-layers "))
            wishes.layers = value;
        else if (is_option(argv[i], " -ot --override-tensor "))
            wishes.layers = "0"; /* the tests put all of them on the host */
        else if (is_option(argv[i], " -c --ctx-size "))
            wishes.context = value;
        else if (is_option(argv[i], " -dev --device "))
            wishes.on_cpu = strcmp(value, "none") == 0;
        else if (is_option(argv[i], " -lv --verbosity --log-verbosity "))
            wishes.talks = atoi(value) >= 4;
    }
    return wishes;
}

static void add_target(int gpu, int slot)
{
    if (n_targets < FAKE_GPUS_MAX)
        targets[n_targets++] = (struct target){.gpu = gpu, .slot = slot};
}

/* As CUDA reads it: the first item that names nothing ends the list. */
static void find_targets(const char *visible)
{
    char *text, *rest = NULL;
    int gpu, slot;

    if (!visible) {
        for (int i = 0; i < state->n_gpus; i++)
            add_target(i, -1);
        return;
    }

    text = strdup(visible);
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (!fake_find(state, word, &gpu, &slot))
            break;
        add_target(gpu, slot);
    }
    free(text);
}

/* ---- who gets which layer --------------------------------------------------------------------------- */

/* Where each device's part ends, as a share of all layers on devices: by -ts, or by what is free. */
static void read_split(const char *text, float *ends)
{
    float sum = 0;
    char *at = text ? strdup(text) : NULL, *rest = at;

    for (int i = 0; i < n_targets; i++) {
        if (!text)
            sum += (float)fake_free_bytes(state, targets[i].gpu, targets[i].slot);
        else if (*rest)
            sum += strtof(rest, &rest);
        if (text && *rest)
            rest++;
        ends[i] = sum;
    }
    for (int i = 0; i < n_targets; i++)
        ends[i] /= sum;
    free(at);
}

static int target_of(int item, int n_items, const float *ends)
{
    float at = (float)item / (float)n_items;
    int i = 0;

    while (i < n_targets - 1 && ends[i] <= at)
        i++;
    return i;
}

/* Part i of n of a number of bytes, so that the parts sum up to it. */
static uint64_t part(uint64_t bytes, int i, int n)
{
    return bytes * (uint64_t)(i + 1) / (uint64_t)n - bytes * (uint64_t)i / (uint64_t)n;
}

/* How many layers, the output among them, are on devices. */
static int share_out(const struct wishes *wishes, int n_layers, uint64_t weights, uint64_t kv)
{
    float ends[FAKE_GPUS_MAX];
    int n_all = n_layers + 1, asked = wishes->layers ? atoi(wishes->layers) : n_all, first;

    if (wishes->layers && (asked < 0 || asked > n_all || strcmp(wishes->layers, "all") == 0))
        asked = n_all;
    if (strcmp(wishes->mode, "none") == 0) {
        targets[0] = targets[wishes->main_gpu ? atoi(wishes->main_gpu) % n_targets : 0];
        n_targets = 1;
    }
    read_split(n_targets > 1 ? wishes->split : NULL, ends);
    first = n_all - asked;
    for (int i = first; i < n_all; i++) {
        struct target *target = &targets[target_of(i - first, asked, ends)];

        target->used = true;
        target->weights += part(weights, i, n_all);
        if (i < n_layers)
            target->kv += part(kv, i, n_layers);
    }
    return asked;
}

/* ---- taking ----------------------------------------------------------------------------------------- */

static void fail(int device, uint64_t bytes, const char *what)
{
    fprintf(stderr,
            "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating %.2f MiB on device %d: "
            "cudaMalloc failed: out of memory\n"
            "E alloc_tensor_range: failed to allocate CUDA%d buffer of size %llu\n"
            "E llama_model_load: error loading model: unable to allocate CUDA%d %s\n"
            "E srv    load_model: failed to load model\n",
            (double)bytes / MIB, device, device, (unsigned long long)bytes, device, what);
    exit(1);
}

static void take(int device, uint64_t bytes, const char *what)
{
    bool taken;

    if (bytes == 0)
        return;
    fake_lock(state);
    taken = fake_take(state, targets[device].gpu, targets[device].slot, getpid(), bytes);
    fake_unlock(state);
    if (!taken)
        fail(device, bytes, what);
}

static void take_weights(void)
{
    int n_steps = (int)fault_number("vram:steps", 4);

    for (int step = 0; step < n_steps; step++) {
        for (int i = 0; i < n_targets; i++)
            take(i, part(targets[i].weights, step, n_steps), "buffer");
        fault_sleep_ms(fault_number("vram:step", 0));
    }
}

/* In llama.cpp's words and columns. */
static void say(const char *who, const char *format, int device, uint64_t bytes)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "CUDA%d", device);
    fprintf(stderr, "I %s: ", who);
    fprintf(stderr, format, name, (double)bytes / MIB);
}

static void say_weights(int n_offloaded, int n_layers, uint64_t weights)
{
    uint64_t left = weights;

    fprintf(stderr, "I load_tensors: offloaded %d/%d layers to GPU\n", n_offloaded, n_layers + 1);
    for (int i = 0; i < n_targets; i++) {
        left -= targets[i].weights;
        if (targets[i].used)
            say("load_tensors", "%12s model buffer size = %8.2f MiB\n", i, targets[i].weights);
    }
    fprintf(stderr, "I load_tensors: %12s model buffer size = %8.2f MiB\n", "CPU_Mapped",
            (double)left / MIB);
}

void fault_vram_load(int argc, char **argv)
{
    struct wishes wishes = read_wishes(argc, argv);
    uint64_t weights = (uint64_t)fault_number("vram:weights", 0);
    uint64_t kv_token = (uint64_t)fault_number("vram:kv", 0);
    uint64_t compute = (uint64_t)fault_number("vram:compute", 0);
    uint64_t kv = kv_token * (uint64_t)(wishes.context ? atoi(wishes.context) : 4096);
    int n_layers = (int)fault_number("vram:layers", 32), n_offloaded = 0;

    state = fake_open(getenv("FAKE_NVML"));
    if (!state || weights == 0 || n_layers < 1 || n_layers > LAYERS_MAX)
        return;

    fake_lock(state);
    find_targets(wishes.on_cpu ? "-1" : wishes.visible);
    if (n_targets > 0)
        n_offloaded = share_out(&wishes, n_layers, weights, kv);
    fake_unlock(state);

    for (int i = 0; i < n_targets; i++) {
        if (targets[i].used)
            take(i, (uint64_t)fault_number("vram:context", 0), "context");
    }
    take_weights();
    if (wishes.talks)
        say_weights(n_offloaded, n_layers, weights);
    for (int i = 0; i < n_targets; i++) {
        take(i, targets[i].kv, "KV buffer");
        if (wishes.talks && targets[i].kv > 0)
            say("llama_kv_cache", "%10s KV buffer size = %8.2f MiB\n", i, targets[i].kv);
    }
    for (int i = 0; i < n_targets; i++) {
        if (!targets[i].used)
            continue;
        take(i, compute, "compute buffer");
        if (wishes.talks)
            say("sched_reserve", "%10s compute buffer size = %8.2f MiB\n", i, compute);
    }
}
